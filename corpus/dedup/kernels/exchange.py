"""Equal records, and what they join: radix partition, hash grouping, union-find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from corpus.dedup.kernels import kernel
from corpus.dedup.kernels.mixing import MULTIPLIER

# The last word of a record: its row below, its band above.
BAND_SHIFT = 48
_ROW_MASK = np.uint64((1 << BAND_SHIFT) - 1)


@kernel
def partition(records: Any, shift: Any, starts: Any, out: Any) -> None:
    """Copy `records` (uint64[n, words]) to `out` by bucket, in order within each: a counting sort.

    The bucket is records[i, 0] >> shift, modulo the number of buckets, a power of two. `starts` (int64[buckets + 1],
    zeros) becomes the index in `out` at which each bucket begins, and at last n.
    """
    mask = uint64(starts.size - 2)
    for i in range(len(records)):
        starts[int64((records[i, 0] >> shift) & mask) + 1] += 1
    for bucket in range(1, starts.size):
        starts[bucket] += starts[bucket - 1]
    ends = starts[:-1].copy()
    for i in range(len(records)):
        bucket = int64((records[i, 0] >> shift) & mask)
        for word in range(records.shape[1]):
            out[ends[bucket], word] = records[i, word]
        ends[bucket] += 1


@kernel
def star_edges(records: Any, starts: Any, table: Any, edges: Any) -> Any:
    """Write (row of the first equal record, row) to `edges` for each record that has one; return how many.

    Records are equal if all their words are, but for the row in the last one's low bits; equal ones are in one bucket
    of `starts`. `table` is room for a hash table, int32[twice the largest bucket, up to a power of two]; `edges` is
    flat and may hold 2n words. Empty entries are -1, others count records within the bucket.
    """
    count = 0
    last = records.shape[1] - 1
    for bucket in range(starts.size - 1):
        first, end = starts[bucket], starts[bucket + 1]
        bits = 1
        while 1 << bits < 2 * (end - first):
            bits += 1
        table[: 1 << bits] = -1
        for i in range(first, end):
            band = records[i, last] >> uint64(BAND_SHIFT)
            entry = int64(((records[i, 0] ^ band) * MULTIPLIER) >> uint64(64 - bits))
            while table[entry] >= 0 and not _equal(records, first + table[entry], i, last):
                entry = (entry + 1) % (1 << bits)
            if table[entry] < 0:
                table[entry] = i - first
            else:
                edges[2 * count] = records[first + table[entry], last] & _ROW_MASK
                edges[2 * count + 1] = records[i, last] & _ROW_MASK
                count += 1
    return count


@kernel
def _equal(records: Any, one: int, other: int, last: int) -> Any:
    equal = records[one, last] >> uint64(BAND_SHIFT) == records[other, last] >> uint64(BAND_SHIFT)
    for word in range(last):
        equal &= records[one, word] == records[other, word]
    return equal


@kernel
def _root(parent: Any, i: Any) -> Any:
    """Root of `i`; halves the path to it on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def union_edges(parent: Any, edges: Any) -> None:
    """Join the two rows of each edge ([n, 2]).

    The lower root always becomes the root of both, so the result does not depend on the order of joins, and
    every root is the first row of its component.
    """
    for i in range(len(edges)):
        one, other = _root(parent, edges[i, 0]), _root(parent, edges[i, 1])
        parent[max(one, other)] = min(one, other)


@kernel
def flatten(parent: Any) -> None:
    """Point every row at its root; one pass is enough because a parent never comes after its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]


@kernel
def component_sizes(root: Any, sizes: Any) -> None:
    """sizes[r] = rows whose root is r, so 0 for a row that is none; `sizes` comes in as zeros."""
    for i in range(root.size):
        sizes[root[i]] += 1
