"""Held-out documents, packed streams, windows and the order of windows, with Python lists and exact fractions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

from model.permutation import round_keys
from tests.oracles.model_permutation import permute_one


def hash_fraction(id: str) -> Fraction:
    """The hash of a document's id as a fraction of the hash's range."""
    digest = hashlib.blake2b(id.encode(), digest_size=8, person=b"held-out").digest()
    return Fraction(sum(byte * 256**power for power, byte in enumerate(digest)), 2**64)


def held_out(ids: Sequence[str], fraction: float) -> list[bool]:
    """Whether each document is held out, that is never trained on."""
    hashes = [hash_fraction(id) for id in ids]
    chosen = [own < Fraction(fraction) for own in hashes]
    if 0 < fraction < 1 and not any(chosen):
        chosen = [own == min(hashes) for own in hashes]
    elif 0 < fraction < 1 and all(chosen):
        chosen = [own != max(hashes) for own in hashes]
    return chosen


def packed(documents: Sequence[Sequence[int]], end_of_text: int) -> list[int]:
    """All documents with an end-of-text token after each."""
    stream: list[int] = []
    for document in documents:
        stream.extend(document)
        stream.append(end_of_text)
    return stream


def windows(stream: Sequence[int], context: int) -> list[tuple[list[int], list[int]]]:
    """The inputs and targets of every complete window."""
    pairs = []
    start = 0
    while start + context + 1 <= len(stream):
        pairs.append((list(stream[start : start + context]), list(stream[start + 1 : start + context + 1])))
        start += context
    return pairs


def visited(count: int, seed: int, fingerprint: str, epochs: int) -> list[int]:
    """The numbers of the windows, 0 to count - 1, in the order in which `epochs` epochs visit them."""
    numbers = []
    for epoch in range(epochs):
        keys = [int(key) for key in round_keys(f"{seed} {epoch} {fingerprint}")]
        numbers += [permute_one(position, count, keys) for position in range(count)]
    return numbers
