"""The compiled loops of deduplication: words of a text, MinHash signatures, band keys, union-find.

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated. Every kernel releases
the GIL and is cached on disk. Integers are kept in explicit unsigned types, because Numba turns uint64
mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint32, uint64

# Classes of code points in the fold table; a positive entry is the code point to hash, and an entry of
# EXPAND or below stands for several: row EXPAND - entry of the expansion table.
SEPARATOR, MARK, NUMBER, EXPAND = 0, -1, -2, -3

# 2^64 divided by the golden ratio, odd (Knuth, The Art of Computer Programming 3, section 6.4).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
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
def _root(parent: Any, i: int) -> Any:
    """Root of `i`; halves the path to it on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def union_equal(parent: Any, members: Any, keys: Any) -> None:
    """Join members[i] and members[i + 1] wherever keys[i] == keys[i + 1] (sorted, [n, width]).

    The lower root always becomes the root of both, so the result does not depend on the order of joins, and
    every root is the first row of its component.
    """
    for i in range(members.size - 1):
        equal = True
        for k in range(keys.shape[1]):
            equal &= keys[i, k] == keys[i + 1, k]
        if equal:
            one, other = _root(parent, members[i]), _root(parent, members[i + 1])
            parent[max(one, other)] = min(one, other)


@njit(nogil=True, cache=True)
def flatten(parent: Any) -> None:
    """Point every row at its root; one pass is enough because a parent never comes after its child."""
    for i in range(parent.size):
        parent[i] = parent[parent[i]]
