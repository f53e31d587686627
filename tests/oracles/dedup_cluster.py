"""Edges and components of a whole corpus by dictionaries in memory; the exchange through files must find these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from corpus.dedup import Config


def keys(row: dict[str, Any], config: Config) -> Iterator[tuple[object, ...]]:
    """The keys of a document, the text's hash and any bands of its words. Documents that share a key are joined."""
    dump = (row["dump"],) if config.per_dump else ()
    if config.exact:
        yield ("text", row["text_hash"], *dump)
    if config.minhash and row["shingles"]:
        width = 4 * config.rows
        for band in range(config.bands):
            yield (band, row["signature"][band * width : (band + 1) * width], *dump)


def band_key(minima: Sequence[int], band: int) -> int:
    """The key of a band: its number and hashes mixed by multiplications, with MurmurHash3's finalizer at the end."""
    key = _mix64(band + 1)
    for minimum in minima:
        key = (key ^ minimum) * 0x9E3779B97F4A7C15 % 2**64
        key ^= key >> 32
    return _mix64(key)


def edges(rows: Sequence[dict[str, Any]], config: Config) -> set[tuple[int, int]]:
    """(first document with a key, another with that key), for all keys."""
    first: dict[tuple[object, ...], int] = {}
    pairs = set()
    for number, row in enumerate(rows):
        for key in keys(row, config):
            if first.setdefault(key, number) != number:
                pairs.add((first[key], number))
    return pairs


def roots(count: int, joined: set[tuple[int, int]]) -> list[int]:
    """For each document the first document of its connected component: smaller labels spread until nothing changes."""
    label = list(range(count))
    moved = True
    while moved:
        moved = False
        for one, other in joined:
            low = min(label[one], label[other])
            moved |= label[one] != low or label[other] != low
            label[one] = label[other] = low
    return label


def _mix64(x: int) -> int:
    """MurmurHash3's 64-bit finalizer."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ x >> 33) * factor % 2**64
    return x ^ x >> 33
