"""Texts -> 64-bit hashes of their word n-grams, and which of those are in a table of them.

The hash of an n-gram rolls: to add a word and take one away is two multiplications, whatever n is. Nearly every n-gram
of a corpus is in no table, and one bit of a filter that fits into a cache says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint64

from corpus.decontaminate.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER, _mix64
from corpus.text.kernels.words import _text_at, _word_hashes

EMPTY = np.uint64(0)  # a place in the table that holds no hash; no n-gram has it


class HashTable(NamedTuple):
    """Numbered hashes, to be looked up: a filter that most other hashes fail, and a table of open addressing.

    The numbers of places and of bits are powers of two.
    """

    keys: Any  # uint64[places]: a hash, or EMPTY
    numbers: Any  # int64[places]: the number of the hash
    bits: Any  # uint64[bits / 64]: one bit is set for each hash


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
def rolling_hashes(texts: Any, characters: Any, ngram: int, scratch: Any, out: Any, ends: Any) -> None:
    """Write the hashes of each text's n-grams to `out` (uint64), in order, one text after the other.

    The hashes of text i are out[ends[i]:ends[i + 1]] (`ends` is int64). `texts` is a `bpe.texts.Utf8`.
    """
    n = int64(0)
    ends[0] = 0
    for text in range(texts.offsets.size - 1):
        p, end = _text_at(texts, text, scratch.copy)
        count = _word_hashes(False, p, end, characters, scratch)
        n += _rolling_hashes(scratch.words, count, ngram, out[n:])
        ends[text + 1] = n


@kernel
def fill(hashes: Any, table: Any) -> None:
    """Put hashes[i] (uint64), with the number i, into an empty HashTable."""
    keys, numbers, bits = table.keys, table.numbers, table.bits
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
def find(texts: Any, characters: Any, ngram: int, scratch: Any, hashes: Any, table: Any, matches: Any) -> Any:
    """Find the n-grams of texts whose hash is in a HashTable; returns how many there are.

    Each is a row of `matches` (int64[., 3]): the text, the number of its first word there, the number of the hash.
    `hashes` (uint64, as long as `scratch.words`) is room for the hashes of a text.
    """
    keys, numbers, bits = table.keys, table.numbers, table.bits
    n = int64(0)
    mask, last_bit = uint64(keys.size - 1), uint64(64 * bits.size - 1)
    for text in range(texts.offsets.size - 1):
        p, end = _text_at(texts, text, scratch.copy)
        words = _word_hashes(False, p, end, characters, scratch)
        count = _rolling_hashes(scratch.words, words, ngram, hashes)
        for j in range(count):
            bit = hashes[j] >> uint64(1) & last_bit
            if bits[bit >> uint64(6)] >> (bit & uint64(63)) & uint64(1) == 0:
                continue
            at = hashes[j] >> uint64(32) & mask
            while keys[at] != EMPTY and keys[at] != hashes[j]:
                at = (at + uint64(1)) & mask
            if keys[at] != EMPTY:
                matches[n, 0], matches[n, 1], matches[n, 2] = text, j, numbers[at]
                n += 1
    return n
