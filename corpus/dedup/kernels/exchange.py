"""Keys and edges: band keys, radix partition, grouping of equal keys, union-find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint32, uint64

from corpus.dedup.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER, _mix64

_TEXT = np.uint64(0x74657874)  # is mixed into the keys of texts, as the number of its band is into other keys


@kernel
def band_keys(signatures: Any, rows: Any, keys: Any) -> None:
    """keys[i, band] (uint64) from the number of the band and its `rows` hashes of signatures[i] (uint32)."""
    for i in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            key = _mix64(uint64(band + 1))
            for column in range(band * rows, (band + 1) * rows):
                key = (key ^ uint64(signatures[i, column])) * MULTIPLIER
                key ^= key >> uint64(32)
            keys[i, band] = _mix64(key)


@kernel
def text_keys(hashes: Any, keys: Any) -> None:
    """keys[i] (uint64) from both halves of the hash of a text, hashes[i] (uint64[n, 2])."""
    for i in range(keys.size):
        keys[i] = _mix64(_mix64(hashes[i, 0] ^ _TEXT) ^ hashes[i, 1])


@kernel
def mix_in(keys: Any, salts: Any) -> None:
    """Mix salts[i] into keys[i] (both uint64): equal keys with different salts then differ. Salt 0 changes nothing."""
    for i in range(keys.size):
        if salts[i]:
            keys[i] = _mix64(keys[i] ^ salts[i])


@kernel
def partition(keys: Any, rows: Any, starts: Any, records: Any) -> None:
    """Copy keys and rows to `records` (uint32[n, 3]: key's low half, high half, row) by slot: a counting sort.

    The number of slots is a power of two 2^b, and the slot of a key is its b highest bits; order within a slot is kept.
    `starts` (int64[slots + 1], zeros) becomes the index in `records` at which each slot begins, and at last n.
    """
    shift = uint64(64)
    while 1 << (uint64(64) - shift) < starts.size - 1:
        shift -= uint64(1)
    for i in range(keys.size):
        starts[int64(keys[i] >> shift) + 1] += 1
    for slot in range(1, starts.size):
        starts[slot] += starts[slot - 1]
    ends = starts[:-1].copy()
    for i in range(keys.size):
        slot = int64(keys[i] >> shift)
        at = ends[slot]
        records[at, 0] = uint32(keys[i])
        records[at, 1] = uint32(keys[i] >> uint64(32))
        records[at, 2] = rows[i]
        ends[slot] = at + 1


@kernel
def copy_records(records: Any, out: Any) -> Any:
    """Copy records. Returns (highest row plus one, 0 without records; lowest, highest of the keys' high halves)."""
    rows = uint64(0)
    least, most = uint32(0xFFFFFFFF), uint32(0)
    for i in range(len(records)):
        out[i, 0] = records[i, 0]
        out[i, 1] = records[i, 1]
        out[i, 2] = records[i, 2]
        rows = max(rows, uint64(records[i, 2]) + uint64(1))
        least, most = min(least, records[i, 1]), max(most, records[i, 1])
    return rows, least, most


@kernel
def _key(records: Any, i: int) -> Any:
    return uint64(records[i, 0]) | uint64(records[i, 1]) << uint64(32)


@kernel
def repeated(records: Any, starts: Any, ends: Any, first_rows: Any, seen: Any, keys: Any, rows: Any) -> Any:
    """Copy the keys that may occur more than once to `keys`, and their rows to `rows`; returns how many there are.

    The records of file s are records[starts[s]:ends[s]], and its rows count from first_rows[s]. `seen` (uint64[words,
    2], words a power of two) is room for a filter: each key has a place with two bits, one for a key that was met, one
    for a second key. A key whose place was met only once occurs only once, so no repeated key is lost; some keys that
    occur once share a place with another key and stay.
    """
    bits = uint64(6)
    while 1 << (bits - uint64(6)) < len(seen):
        bits += uint64(1)
    shift = uint64(64) - bits
    seen[:] = 0
    for source in range(starts.size):
        for i in range(starts[source], ends[source]):
            place = (_key(records, i) * MULTIPLIER) >> shift
            word, bit = int64(place >> uint64(6)), uint64(1) << (place & uint64(63))
            seen[word, 1] |= seen[word, 0] & bit
            seen[word, 0] |= bit
    count = 0
    for source in range(starts.size):
        for i in range(starts[source], ends[source]):
            key = _key(records, i)
            place = (key * MULTIPLIER) >> shift
            keys[count] = key
            rows[count] = first_rows[source] + uint64(records[i, 2])
            count += int64((seen[int64(place >> uint64(6)), 1] >> (place & uint64(63))) & uint64(1))
    return count


@kernel
def star_edges(keys: Any, rows: Any, table: Any, edges: Any) -> Any:
    """Write (row of the first equal key, row) to `edges` (uint64[n, 2]) for each key that is not the first of its kind.

    Returns how many edges there are. `table` (int32[twice n or more, a power of two]) is room for a hash table; its
    empty entries are -1.
    """
    shift = uint64(64)
    while 1 << (uint64(64) - shift) < table.size:
        shift -= uint64(1)
    mask = table.size - 1
    table[:] = -1
    count = 0
    for i in range(keys.size):
        entry = int64((keys[i] * MULTIPLIER) >> shift)
        while table[entry] >= 0 and keys[table[entry]] != keys[i]:
            entry = (entry + 1) & mask
        if table[entry] < 0:
            table[entry] = i
        else:
            edges[count, 0] = rows[table[entry]]
            edges[count, 1] = rows[i]
            count += 1
    return count


@kernel
def _root(parent: Any, i: Any) -> Any:
    """The root of `i`. Path halving: each second row on the way comes to point at its grandparent."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def union_edges(parent: Any, edges: Any) -> None:
    """Join the two rows of each edge ([n, 2]).

    The lower root always becomes the root of both. So the result does not depend on the order of joins, and every root
    is the first row of its component.
    """
    for i in range(len(edges)):
        one, other = _root(parent, edges[i, 0]), _root(parent, edges[i, 1])
        parent[max(one, other)] = min(one, other)


@kernel
def flatten(parent: Any) -> None:
    """Point every row at its root; one pass is enough because a parent never comes after its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]
