"""Words of a text, MinHash signatures, band keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint32, uint64

from corpus.dedup.kernels import kernel
from corpus.dedup.kernels.mixing import MULTIPLIER, _mix64

# Classes of code points in the fold table; a positive entry is the code point to hash, and an entry of
# EXPAND or below stands for several: row EXPAND - entry of the expansion table.
SEPARATOR, MARK, NUMBER, EXPAND = 0, -1, -2, -3

_ZERO_DIGIT = np.uint64(ord("0"))


@kernel
def _mix32(x: Any) -> Any:
    """MurmurHash3's 32-bit finalizer, which datasketch's affine32 scheme applies to every input hash."""
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x85EBCA6B))
    x = uint32(x ^ (x >> uint32(13)))
    x = uint32(x * uint32(0xC2B2AE35))
    return uint32(x ^ (x >> uint32(16)))


@kernel
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


@kernel
def _after_digits(data: Any, i: int, end: int, fold: Any) -> Any:
    """Index of the first code point from `i` on that is no decimal digit."""
    while i < end:
        c, following = _code_point(data, i)
        if fold[c] != NUMBER:
            break
        i = following
    return i


@kernel
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


@kernel
def word_hashes(data: Any, i: int, end: int, fold: Any, expansions: Any, points: Any, out: Any) -> Any:
    """Write a 64-bit hash of each normalised word of `data[i:end]` to `out`; return how many.

    A word's hash is h = (h ^ c) * multiplier over its folded code points (FNV-1a with a better multiplier),
    mixed. `out` has room for (end - i) // 2 + 1 words: each takes a byte and a separator, and one slot is
    scratch.
    """
    count = 0
    h = MULTIPLIER
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
            h = MULTIPLIER if separator else (h ^ uint64(f)) * MULTIPLIER
            inside = not separator
        elif f == NUMBER:
            i = _after_number(data, i, end, fold, points)
            h = (h ^ _ZERO_DIGIT) * MULTIPLIER
            inside = True
        elif f <= EXPAND:
            row = expansions[EXPAND - f]
            for k in range(row[0]):
                h = (h ^ uint64(row[k + 1])) * MULTIPLIER
            inside = True
    if inside:
        out[count] = h
        count += 1
    for word in range(count):
        out[word] = _mix64(out[word])
    return count


@kernel
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
        h = h * MULTIPLIER + words[k]
        leaving *= MULTIPLIER
    out[0] = uint32(_mix64(h) >> uint64(32))
    for j in range(1, count - width + 1):
        h = h * MULTIPLIER + words[j + width - 1] - leaving * words[j - 1]
        out[j] = uint32(_mix64(h) >> uint64(32))
    return count - width + 1


@kernel
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


@kernel
def sign_texts(
    data: Any,
    offsets: Any,
    fold: Any,
    expansions: Any,
    points: Any,
    shingle: int,
    a: Any,
    b: Any,
    signatures: Any,
    counts: Any,
) -> None:
    """Signature and shingle count of each text `data[offsets[i]:offsets[i + 1]]`."""
    longest = 0
    for text in range(counts.size):
        longest = max(longest, offsets[text + 1] - offsets[text])
    words = np.empty(longest // 2 + 1, np.uint64)
    shingles = np.empty(longest // 2 + 1, np.uint32)
    for text in range(counts.size):
        found = word_hashes(data, offsets[text], offsets[text + 1], fold, expansions, points, words)
        counts[text] = shingle_hashes(words, found, shingle, shingles)
        minhash(shingles, counts[text], a, b, signatures[text])
