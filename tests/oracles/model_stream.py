"""The split, the packed streams, their windows and the order of them, as Python lists and exact fractions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

from model.permutation import round_keys
from tests.oracles.model_permutation import permute_one


def place(id: str) -> Fraction:
    """Where in 0 .. 1 the hash of a document's id falls."""
    digest = hashlib.blake2b(id.encode(), digest_size=8, person=b"held-out").digest()
    return Fraction(sum(byte * 256**power for power, byte in enumerate(digest)), 2**64)


def held_out(ids: Sequence[str], fraction: float) -> list[bool]:
    """Which documents are never trained on."""
    places = [place(id) for id in ids]
    chosen = [each < Fraction(fraction) for each in places]
    if 0 < fraction < 1 and not any(chosen):
        chosen = [each == min(places) for each in places]
    elif 0 < fraction < 1 and all(chosen):
        chosen = [each != max(places) for each in places]
    return chosen


def packed(documents: Sequence[Sequence[int]], end_of_text: int) -> list[int]:
    stream: list[int] = []
    for document in documents:
        stream.extend(document)
        stream.append(end_of_text)
    return stream


def windows(stream: Sequence[int], context: int) -> list[tuple[list[int], list[int]]]:
    """(inputs, targets) of every whole window."""
    found = []
    start = 0
    while start + context + 1 <= len(stream):
        found.append((list(stream[start : start + context]), list(stream[start + 1 : start + context + 1])))
        start += context
    return found


def visited(count: int, seed: int, fingerprint: str, epochs: int) -> list[int]:
    """The windows, 0 .. count-1, in the order in which so many epochs visit them."""
    found = []
    for epoch in range(epochs):
        keys = [int(key) for key in round_keys(f"{seed} {epoch} {fingerprint}")]
        found += [permute_one(position, count, keys) for position in range(count)]
    return found
