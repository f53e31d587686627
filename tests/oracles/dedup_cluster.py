"""Clusters by comparing every document with every other and letting the smaller label spread until nothing moves."""

from __future__ import annotations

from collections.abc import Sequence


def roots(
    hashes: Sequence[bytes],
    bands: Sequence[Sequence[int]],
    shingles: Sequence[int],
    exact: bool,
    minhash: bool,
) -> list[int]:
    """For each document the first document of its connected component."""
    rows = range(len(hashes))
    label = list(rows)

    def alike(one: int, other: int) -> bool:
        same = exact and hashes[one] == hashes[other]
        worded = minhash and shingles[one] > 0 and shingles[other] > 0
        return same or (worded and any(a == b for a, b in zip(bands[one], bands[other], strict=True)))

    moved = True
    while moved:
        moved = False
        for one in rows:
            for other in rows:
                if label[other] < label[one] and alike(one, other):
                    label[one] = label[other]
                    moved = True
    return label
