"""Texts -> 64-bit hashes of their word n-grams, and which of those are in a table of them.

The hash of an n-gram rolls: a word more and one less are two multiplications, whatever n is. Nearly every n-gram of a
corpus is in no table, which one bit of a filter that fits into a cache tells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from corpus.decontaminate.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER, _mix64
from corpus.text.kernels.words import _text_at, _word_hashes

EMPTY = np.uint64(0)  # a place in the table that holds no hash; no n-gram has it


@kernel
def _rolling_hashes(words: Any, count: Any, ngram: Any, out: Any) -> Any:
    """Write a 64-bit hash of each `ngram`-gram of `words[:count]` to `out`; returns how many, 0 of fewer words.

    The hash is the polynomial sum of words[j + k] * multiplier^(n - 1 - k), mixed.
    """
    if count < ngram:
        return int64(0)
    power, rolled = uint64(1), uint64(0)
    for j in range(ngram):
        power *= MULTIPLIER
        rolled = rolled * MULTIPLIER + words[j]
    out[0] = _mix64(rolled) | uint64(1)
    for j in range(ngram, count):
        rolled = rolled * MULTIPLIER + words[j] - words[j - ngram] * power
        out[j - ngram + 1] = _mix64(rolled) | uint64(1)
    return count - ngram + 1


@kernel
def rolling_hashes(data: Any, offsets: Any, table: Any, ngram: int, scratch: Any, out: Any, ends: Any) -> None:
    """The hashes of each text's n-grams, in order, one text after the other; those of text i end at `ends[i + 1]`."""
    n = int64(0)
    ends[0] = 0
    for text in range(offsets.size - 1):
        p, end = _text_at(data, offsets, text, scratch.copy)
        count = _word_hashes(False, p, end, table, scratch)
        n += _rolling_hashes(scratch.words, count, ngram, out[n:])
        ends[text + 1] = n


@kernel
def fill(hashes: Any, keys: Any, numbers: Any, bits: Any) -> None:
    """Put hash i, of number i, into a table, `keys` and `numbers`, and a filter, `bits`; sizes are powers of two."""
    mask = uint64(keys.size - 1)
    for i in range(hashes.size):
        bit = hashes[i] >> uint64(1) & uint64(64 * bits.size - 1)
        bits[bit >> uint64(6)] |= uint64(1) << (bit & uint64(63))
        at = hashes[i] >> uint64(32) & mask
        while keys[at] != EMPTY:
            at = (at + uint64(1)) & mask
        keys[at] = hashes[i]
        numbers[at] = i


@kernel
def find(
    data: Any,
    offsets: Any,
    table: Any,
    ngram: int,
    scratch: Any,
    hashes: Any,
    keys: Any,
    numbers: Any,
    bits: Any,
    found: Any,
) -> Any:
    """Write a row of `found` for each n-gram that is in the table: text, number of its first word, number of the hash;
    returns how many. `hashes` is uint64, as long as `scratch.words`.
    """
    n = int64(0)
    mask, last_bit = uint64(keys.size - 1), uint64(64 * bits.size - 1)
    for text in range(offsets.size - 1):
        p, end = _text_at(data, offsets, text, scratch.copy)
        words = _word_hashes(False, p, end, table, scratch)
        count = _rolling_hashes(scratch.words, words, ngram, hashes)
        for j in range(count):
            bit = hashes[j] >> uint64(1) & last_bit
            if bits[bit >> uint64(6)] >> (bit & uint64(63)) & uint64(1) == 0:
                continue
            at = hashes[j] >> uint64(32) & mask
            while keys[at] != EMPTY and keys[at] != hashes[j]:
                at = (at + uint64(1)) & mask
            if keys[at] != EMPTY:
                found[n, 0], found[n, 1], found[n, 2] = text, j, numbers[at]
                n += 1
    return n
