"""Filtering and drawing by their definitions, one token at a time, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence


def stretches(logits: Sequence[float], temperature: float, top_k: int, top_p: float) -> list[tuple[int, float, float]]:
    """(id, from, to): the stretch of [0, 1) that means each id that may be drawn.

    The likeliest `top_k`; of these, in order, as many as it takes until their share of the top k's probability is
    `top_p`; each as long as its share of what is left. Without either filter they lie in the order of ids.
    """
    ids = list(range(len(logits)))
    filtered = 0 < top_k < len(logits) or top_p < 1
    if filtered:
        ids.sort(key=lambda token: -logits[token])
    if top_k:
        ids = ids[:top_k]
    highest = max(logits)
    weight = {token: math.exp((logits[token] - highest) / temperature) for token in ids}
    total = sum(weight.values())
    kept, mass = [], 0.0
    for token in ids:
        if kept and top_p < 1 and mass >= top_p:
            break
        kept.append(token)
        mass += weight[token] / total
    found, place = [], 0.0
    for token in kept:
        length = weight[token] / total / mass
        found.append((token, place, place + length))
        place += length
    return found
