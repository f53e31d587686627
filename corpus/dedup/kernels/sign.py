"""Texts -> n-gram hashes, MinHash signatures, hashes of the text.

Texts come as `bpe.texts.Utf8`: their bytes as they lie in Arrow's memory, and offsets. `scratch` belongs to the call,
so that threads share nothing that is written to. The minima of 112 permutations are kept in registers while the n-grams
of a text pass by; all other loops are over arrays that stay in the first cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint32, uint64

from bpe.kernels.memory import load64, trailing_zeros
from corpus.dedup.kernels import kernel
from corpus.text.kernels.blocks import (
    BLOCK,
    LANES,
    VECTORS,
    end_block,
    lower_minima,
    lower_vector,
    move_block,
    plain_block,
    word_bits,
)
from corpus.text.kernels.mixing import MULTIPLIER, _mix64
from corpus.text.kernels.words import _text_at, _word_hashes

_TEXT_MULTIPLIERS = tuple(
    np.uint64(m) for m in (0x9E3779B97F4A7C15, 0xC4CEB9FE1A85EC53, 0xFF51AFD7ED558CCD, 0xBF58476D1CE4E5B9)
)


class Permutations(NamedTuple):
    """x -> (a * x + b) mod 2^32 for each permutation, filled up with zeros to whole vectors; room for the minima."""

    a: Any  # uint32[m]
    b: Any  # uint32[m]
    minima: Any  # uint32[m]


@kernel
def _mix32(x: Any) -> Any:
    """MurmurHash3's 32-bit finalizer, which datasketch's affine32 scheme applies to every input hash."""
    x = uint32(x ^ (x >> uint32(16)))
    x = uint32(x * uint32(0x85EBCA6B))
    x = uint32(x ^ (x >> uint32(13)))
    x = uint32(x * uint32(0xC2B2AE35))
    return uint32(x ^ (x >> uint32(16)))


@kernel
def _ngram_hashes(words: Any, count: Any, ngram: Any, sums: Any, out: Any) -> Any:
    """Write a 32-bit hash of each `ngram`-gram of `words[:count]` to `out`; returns how many.

    The n-gram's hash is the polynomial sum of words[j + k] * multiplier^(n - 1 - k), mixed. A text with fewer words
    is one n-gram, of all its words; a text without words has none.
    """
    if count == 0:
        return int64(0)
    width = min(ngram, count)
    size = count - width + 1
    for base in range(0, size, sums.size):
        n = min(sums.size, size - base)
        first, hashes = words[base : base + n], out[base : base + n]  # indices from 0: these loops become vectors
        for j in range(n):
            sums[j] = first[j]
        for k in range(1, width):
            following = words[base + k : base + k + n]
            for j in range(n):
                sums[j] = sums[j] * MULTIPLIER + following[j]
        for j in range(n):
            hashes[j] = uint32(_mix64(sums[j]) >> uint64(32))
    return size


@kernel
def _minima(ngrams: Any, count: Any, permutations: Any) -> None:
    """minima[k] = min over n-gram hashes x of (a[k] * mix32(x) + b[k]) mod 2^32 (datasketch's affine32 scheme).

    `ngrams` is uint32; its hashes are mixed in place.
    """
    a, b, out = permutations.a, permutations.b, permutations.minima
    for j in range(count):
        ngrams[j] = _mix32(ngrams[j])
    out[:] = uint32(0xFFFFFFFF)
    values, size = int64(ngrams.ctypes.data), int64(VECTORS * LANES)
    at_a, at_b, at_out = int64(a.ctypes.data), int64(b.ctypes.data), int64(out.ctypes.data)
    k: Any = 0
    while k + size <= out.size:
        lower_minima(values, count, at_a + 4 * k, at_b + 4 * k, at_out + 4 * k)
        k += size
    while k < out.size:
        lower_vector(values, count, at_a + 4 * k, at_b + 4 * k, at_out + 4 * k)
        k += LANES


@kernel
def ngram_hashes(texts: Any, plain: Any, table: Any, ngram: int, scratch: Any, out: Any, ends: Any) -> None:
    """Write 32-bit hashes of each text's n-grams to `out` (uint32), in order, one text after the other.

    The hashes of text i are out[ends[i]:ends[i + 1]] (`ends` is int64).
    """
    n = int64(0)
    ends[0] = 0
    for text in range(texts.offsets.size - 1):
        p, end = _text_at(texts, text, scratch.copy)
        count = _word_hashes(plain, p, end, table, scratch)
        n += _ngram_hashes(scratch.words, count, ngram, scratch.sums, out[n:])
        ends[text + 1] = n


@kernel
def sign_texts(
    texts: Any, table: Any, ngram: int, permutations: Any, scratch: Any, ngrams: Any, signatures: Any, counts: Any
) -> None:
    """Write the signature (uint32[texts, num_perm]) and the number of n-grams (int32[texts]) of each text.

    `ngrams` (uint32, as long as `scratch.words`) is room for the n-grams of a text.
    """
    for text in range(counts.size):
        p, end = _text_at(texts, text, scratch.copy)
        count = _word_hashes(False, p, end, table, scratch)
        counts[text] = _ngram_hashes(scratch.words, count, ngram, scratch.sums, ngrams)
        _minima(ngrams, counts[text], permutations)
        signatures[text] = permutations.minima[: signatures.shape[1]]


@kernel
def _squeezed(p: Any, end: Any, target: Any) -> Any:
    """Write the text [p, end) at `target`, with ASCII letters in lower case and each run of ASCII white space as one
    space, without white space at both ends. Returns where the result ends; a block of spaces follows it.
    """
    d: Any = target
    before: Any = int64(1)  # whether a space comes before
    while p < end:
        n = min(end - p, BLOCK)
        plain_block(p, d)
        p += n
        spaces = ~word_bits(d)
        kept: Any = ~(spaces & (spaces << 1 | before))
        before = spaces >> (n - 1) & 1
        if kept == -1:
            d += n
            continue
        kept &= -1 if n == BLOCK else (1 << n) - 1
        block = d + 2 * BLOCK  # beyond the bytes that move down
        move_block(d, block)
        while kept:
            i = trailing_zeros(kept)
            move_block(block + i, d)
            run = kept + (1 << i)  # the lowest run of ones is cleared, and a one put after it
            d += trailing_zeros(run) - i
            kept &= run
    if d > target and before:
        d -= 1
    end_block(d)
    return d


@kernel
def text_hashes(texts: Any, scratch: Any, out: Any) -> None:
    """out[i] (uint64[texts, 2]) = 128 bits of hash of text i, squeezed.

    A step takes sixteen bytes, and each half of them goes into two of four lanes, so that a change anywhere reaches 128
    bits. The two lanes of a half shift by different numbers. If they shifted alike, a change of the highest bits would
    often leave the same trace in both, and a change in the next step could undo it in both at once. The last step is
    filled up with spaces; no squeezed text ends with a space.
    """
    m0, m1, m2, m3 = _TEXT_MULTIPLIERS
    for text in range(texts.offsets.size - 1):
        p, end = _text_at(texts, text, scratch.copy)
        q = int64(scratch.buffer.ctypes.data)
        stop = _squeezed(p, end, q)
        h0, h1, h2, h3 = m0, m1, m2, m3
        while q < stop:
            low, high = uint64(load64(q)), uint64(load64(q + 8))
            h0 = (h0 ^ low) * m0
            h1 = (h1 ^ low) * m1
            h2 = (h2 ^ high) * m2
            h3 = (h3 ^ high) * m3
            h0 ^= h0 >> uint64(32)
            h1 ^= h1 >> uint64(29)
            h2 ^= h2 >> uint64(32)
            h3 ^= h3 >> uint64(29)
            q += 16
        out[text, 0] = _mix64((_mix64(h0) ^ h2) * m3)
        out[text, 1] = _mix64((_mix64(h1) ^ h3) * m2)


@kernel
def unique_sorted(values: Any, ends: Any, unique_ends: Any) -> None:
    """Leave out repeats in each text's sorted values (uint32), and move the rest down to the front of the array."""
    n = int64(0)
    unique_ends[0] = 0
    for text in range(ends.size - 1):
        for i in range(ends[text], ends[text + 1]):
            value = values[i]
            if i == ends[text] or value != values[i - 1]:
                values[n] = value
                n += 1
        unique_ends[text + 1] = n
