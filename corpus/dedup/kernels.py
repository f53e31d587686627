"""The compiled loops of deduplication: words of a text, MinHash signatures, band keys, equal records, union-find.

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated. Every kernel releases
the GIL and is cached on disk. Integers are kept in explicit unsigned types, because Numba turns uint64
mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, njit, uint32, uint64

# Classes of code points in the fold table; a positive entry is the code point to hash, and an entry of
# EXPAND or below stands for several: row EXPAND - entry of the expansion table.
SEPARATOR, MARK, NUMBER, EXPAND = 0, -1, -2, -3

# 2^64 divided by the golden ratio, odd (Knuth, The Art of Computer Programming 3, section 6.4).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# The last word of a record: its row below, its band above.
BAND_SHIFT = 48
_ROW_MASK = np.uint64((1 << BAND_SHIFT) - 1)
_ZERO_DIGIT = np.uint64(ord("0"))


@njit(nogil=True, cache=True, inline="always")
def _mix64(x: Any) -> Any:
    """MurmurHash3's 64-bit finalizer: a bijection in which every input bit reaches every output bit."""
    x ^= x >> uint64(33)
    x *= uint64(0xFF51AFD7ED558CCD)
    x ^= x >> uint64(33)
    x *= uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> uint64(33))


@njit(nogil=True, cache=True, inline="always")
def _mix32(x: Any) -> Any:
    """MurmurHash3's 32-bit finalizer, which datasketch's affine32 scheme applies to every input hash."""
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x85EBCA6B))
    x = uint32(x ^ (x >> uint32(13)))
    x = uint32(x * uint32(0xC2B2AE35))
    return uint32(x ^ (x >> uint32(16)))


@njit(nogil=True, cache=True)
def _code_point(data: Any, i: int) -> Any:
    """(code point, next index) at `data[i]`, the lead byte of a valid UTF-8 sequence (Arrow checks
    strings).
    """
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, i + 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | np.int64(data[i + 1] & 0x3F), i + 2
    tail = np.int64(data[i + 1] & 0x3F) << 6 | np.int64(data[i + 2] & 0x3F)
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | tail, i + 3
    return (lead & 0x07) << 18 | tail << 6 | np.int64(data[i + 3] & 0x3F), i + 4


@njit(nogil=True, cache=True)
def _after_digits(data: Any, i: int, end: int, fold: Any) -> Any:
    """Index of the first code point from `i` on that is no decimal digit."""
    while i < end:
        c, following = _code_point(data, i)
        if fold[c] != NUMBER:
            break
        i = following
    return i


@njit(nogil=True, cache=True)
def _after_number(data: Any, i: int, end: int, fold: Any, points: Any) -> Any:
    """Index after digits and, once, a decimal point and more digits; `i` is just after the first digit."""
    i = _after_digits(data, i, end, fold)
    if i < end:
        c, fraction = _code_point(data, i)
        for point in points:
            if c == point:
                after = _after_digits(data, fraction, end, fold)
                return after if after > fraction else i
    return i


@njit(nogil=True, cache=True)
def word_hashes(data: Any, i: int, end: int, fold: Any, expansions: Any, points: Any, out: Any) -> Any:
    """Write a 64-bit hash of each normalised word of `data[i:end]` to `out`; return how many.

    A word's hash is h = (h ^ c) * multiplier over its folded code points (FNV-1a with a better multiplier),
    mixed. `out` has room for (end - i) // 2 + 1 words: each takes a byte and a separator, and one slot is
    scratch.
    """
    count = 0
    h = _MULTIPLIER
    inside = False
    while i < end:
        if data[i] < 0x80:
            f = fold[data[i]]
            i += 1
        else:
            c, i = _code_point(data, i)
            f = fold[c]
        if f >= 0:
            # Letters and separators without a branch between them: which comes next cannot be predicted.
            separator = f == SEPARATOR
            out[count] = h
            count += separator & inside
            h = _MULTIPLIER if separator else (h ^ uint64(f)) * _MULTIPLIER
            inside = not separator
        elif f == NUMBER:
            i = _after_number(data, i, end, fold, points)
            h = (h ^ _ZERO_DIGIT) * _MULTIPLIER
            inside = True
        elif f <= EXPAND:
            row = expansions[EXPAND - f]
            for k in range(row[0]):
                h = (h ^ uint64(row[k + 1])) * _MULTIPLIER
            inside = True
    if inside:
        out[count] = h
        count += 1
    for word in range(count):
        out[word] = _mix64(out[word])
    return count


@njit(nogil=True, cache=True)
def shingle_hashes(words: Any, count: int, shingle: int, out: Any) -> Any:
    """Write a 32-bit hash of each `shingle`-gram of `words[:count]` to `out`; return how many.

    The n-gram's hash is the polynomial sum of words[j + k] * multiplier^(n - 1 - k), kept rolling, then
    mixed. A text with fewer words is one shingle, of all its words; a text without words has none.
    """
    if count == 0:
        return 0
    width = min(shingle, count)
    h = uint64(0)
    leaving = uint64(1)  # multiplier^width, the weight of the word that leaves the window
    for k in range(width):
        h = h * _MULTIPLIER + words[k]
        leaving *= _MULTIPLIER
    out[0] = uint32(_mix64(h) >> uint64(32))
    for j in range(1, count - width + 1):
        h = h * _MULTIPLIER + words[j + width - 1] - leaving * words[j - 1]
        out[j] = uint32(_mix64(h) >> uint64(32))
    return count - width + 1


@njit(nogil=True, cache=True)
def minhash(shingles: Any, count: int, a: Any, b: Any, out: Any) -> None:
    """out[k] = min over shingle hashes x of (a[k] * mix32(x) + b[k]) mod 2^32 (datasketch's affine32 scheme).

    All arrays are uint32. Four shingles go through the permutations together: one load and store of `out`
    for four.
    """
    out[:] = uint32(0xFFFFFFFF)
    j = 0
    while j + 4 <= count:
        x0, x1 = _mix32(shingles[j]), _mix32(shingles[j + 1])
        x2, x3 = _mix32(shingles[j + 2]), _mix32(shingles[j + 3])
        for k in range(out.size):
            low = min(uint32(a[k] * x0 + b[k]), uint32(a[k] * x1 + b[k]))
            high = min(uint32(a[k] * x2 + b[k]), uint32(a[k] * x3 + b[k]))
            out[k] = min(out[k], min(low, high))
        j += 4
    while j < count:
        x = _mix32(shingles[j])
        for k in range(out.size):
            out[k] = min(out[k], uint32(a[k] * x + b[k]))
        j += 1


@njit(nogil=True, cache=True)
def band_keys(signature: Any, rows: int, out: Any) -> None:
    """out[band] = a 64-bit hash of the band's `rows` minima: equal keys mean equal bands but for 1 pair in
    2^64.
    """
    for band in range(out.size):
        key = uint64(0)
        for k in range(band * rows, (band + 1) * rows):
            key = _mix64((key ^ uint64(signature[k])) * _MULTIPLIER)
        out[band] = key


@njit(nogil=True, cache=True)
def sign_texts(
    data: Any,
    offsets: Any,
    fold: Any,
    expansions: Any,
    points: Any,
    shingle: int,
    rows: int,
    a: Any,
    b: Any,
    signatures: Any,
    keys: Any,
    counts: Any,
) -> None:
    """Signature, band keys and shingle count of each text `data[offsets[i]:offsets[i + 1]]`."""
    longest = 0
    for text in range(counts.size):
        longest = max(longest, offsets[text + 1] - offsets[text])
    words = np.empty(longest // 2 + 1, np.uint64)
    shingles = np.empty(longest // 2 + 1, np.uint32)
    for text in range(counts.size):
        found = word_hashes(data, offsets[text], offsets[text + 1], fold, expansions, points, words)
        counts[text] = shingle_hashes(words, found, shingle, shingles)
        minhash(shingles, counts[text], a, b, signatures[text])
        band_keys(signatures[text], rows, keys[text])


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
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
            entry = int64(((records[i, 0] ^ band) * _MULTIPLIER) >> uint64(64 - bits))
            while table[entry] >= 0 and not _equal(records, first + table[entry], i, last):
                entry = (entry + 1) % (1 << bits)
            if table[entry] < 0:
                table[entry] = i - first
            else:
                edges[2 * count] = records[first + table[entry], last] & _ROW_MASK
                edges[2 * count + 1] = records[i, last] & _ROW_MASK
                count += 1
    return count


@njit(nogil=True, cache=True, inline="always")
def _equal(records: Any, one: int, other: int, last: int) -> Any:
    equal = records[one, last] >> uint64(BAND_SHIFT) == records[other, last] >> uint64(BAND_SHIFT)
    for word in range(last):
        equal &= records[one, word] == records[other, word]
    return equal


@njit(nogil=True, cache=True)
def _root(parent: Any, i: Any) -> Any:
    """Root of `i`; halves the path to it on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def union_edges(parent: Any, edges: Any) -> None:
    """Join the two rows of each edge ([n, 2]).

    The lower root always becomes the root of both, so the result does not depend on the order of joins, and
    every root is the first row of its component.
    """
    for i in range(len(edges)):
        one, other = _root(parent, edges[i, 0]), _root(parent, edges[i, 1])
        parent[max(one, other)] = min(one, other)


@njit(nogil=True, cache=True)
def flatten(parent: Any) -> None:
    """Point every row at its root; one pass is enough because a parent never comes after its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]


@njit(nogil=True, cache=True)
def component_sizes(root: Any, sizes: Any) -> None:
    """sizes[r] = rows whose root is r, so 0 for a row that is none; `sizes` comes in as zeros."""
    for i in range(root.size):
        sizes[root[i]] += 1
