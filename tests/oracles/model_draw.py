"""Filtering and drawing by their definitions, one token at a time, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence


def stretches(logits: Sequence[float], temperature: float, top_k: int, top_p: float) -> list[tuple[int, float, float]]:
    """(id, start, end): for each id that may be drawn, the stretch of [0, 1) whose numbers mean that id.

    The candidates are the `top_k` likeliest ids. Of these the likeliest remain, as many as needed for a share of
    `top_p` of the candidates' probability. The length of a stretch is the id's share of the remaining probability. The
    stretches lie in order of probability, or in order of ids without either filter.
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
    pieces, start = [], 0.0
    for token in kept:
        length = weight[token] / total / mass
        pieces.append((token, start, start + length))
        start += length
    return pieces
