"""UTF-8 text -> its chunks (the text between white space) -> the words of each chunk -> totals over the words.

Two hash tables remember chunks and words. Each is int64[2^n, 4] with open addressing, and a row has a key, the size in
bytes, the place of the bytes, and a target: the place of a chunk's words, or the id of a word; a free row has the
target -1. The key of at most eight bytes is the bytes themselves, and they need no other comparison; the key of more
bytes is a hash, and the bytes are compared. A row is half a cache line, because this loop mostly waits for memory. Text
and remembered bytes end with eight zero bytes, because bytes are read eight at a time.

Most new chunks are simple; `corpus.filters.kernels.simple` splits them. The caller splits the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from bpe.kernels.memory import load8, load64, store8, store64, trailing_zeros
from corpus.filters.kernels import kernel

REAL, LETTER, TERMINAL, MARK = 1, 2, 4, 8  # bits of a word's traits; the bits above are its length in characters
LENGTH = 4  # the shift of the length
PADDING = 8  # zero bytes behind remembered bytes

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_MIXER = np.uint64(0xFF51AFD7ED558CCD)  # MurmurHash3's


@kernel
def white(p: Any) -> Any:
    """The number of bytes of the white space character at p; 0 if there is none. str.isspace() defines white space."""
    byte = load8(p)
    if byte <= 0x20:
        return int64(byte == 0x20 or 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x1F)
    if byte < 0xC2 or byte > 0xE3:
        return int64(0)
    second = load8(p + 1)
    if byte == 0xC2:
        return int64(2) if second == 0x85 or second == 0xA0 else int64(0)
    if byte < 0xE1:
        return int64(0)
    third = load8(p + 2)
    if byte == 0xE1:
        return int64(3) if second == 0x9A and third == 0x80 else int64(0)
    if byte == 0xE2:
        if second == 0x80:
            return int64(3) if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else int64(0)
        return int64(3) if second == 0x81 and third == 0x9F else int64(0)
    return int64(3) if second == 0x80 and third == 0x80 else int64(0)


@kernel
def after_chunk(p: Any, end: Any) -> Any:
    """The address of the first white space from p on; `end` if there is none."""
    while True:
        eight = uint64(load64(p))
        stops: Any = ((eight - uint64(0x21) * _ONES) & ~eight | eight) & _HIGH  # bytes below 0x21, or not ASCII
        if stops == uint64(0):
            p += 8
            continue
        p += trailing_zeros(stops) >> 3
        if p >= end:
            return end
        if white(p):
            return p
        byte = load8(p)
        p += 1 + int64(byte >= 0xC2) + int64(byte >= 0xE0) + int64(byte >= 0xF0)


@kernel
def key_of(p: Any, size: Any) -> Any:
    """The key of the `size` > 0 bytes at p."""
    if size <= 8:
        return uint64(load64(p)) & ~uint64(0) >> uint64(64 - 8 * size)
    key = uint64(size)
    last = p + size - 8
    while p < last:
        key = (key ^ uint64(load64(p))) * _MIXER
        key ^= key >> uint64(32)
        p += 8
    key = (key ^ uint64(load64(last))) * _MIXER
    return key ^ key >> uint64(29)


@kernel
def find(p: Any, size: Any, key: Any, rows: Any, mask: Any, letters: Any) -> Any:
    """The address of the row of the `size` bytes at p, or of the free row for them.

    `rows` is the address of a table with `mask` + 1 rows, `letters` the address of the bytes that it remembers.
    """
    slot = (key ^ uint64(size)) * _MULTIPLIER
    slot ^= slot >> uint64(32)
    while True:
        row = rows + 32 * int64(slot & uint64(mask))
        if load64(row + 24) < 0:
            return row
        if load64(row) == int64(key) and load64(row + 8) == size:
            if size <= 8:
                return row
            remembered = letters + load64(row + 16)
            at = int64(0)
            while at < size - 8 and load64(remembered + at) == load64(p + at):
                at += 8
            if at >= size - 8 and load64(remembered + size - 8) == load64(p + size - 8):
                return row
        slot += uint64(1)


@kernel
def put(row: Any, key: Any, size: Any, place: Any, target: Any) -> None:
    """Fill a free row."""
    store64(row, int64(key))
    store64(row + 8, size)
    store64(row + 16, place)
    store64(row + 24, target)


@kernel
def copy(p: Any, size: Any, to: Any) -> None:
    """Copy `size` bytes from p, with PADDING zero bytes behind them."""
    at = int64(0)
    while at < size:
        store64(to + at, load64(p + at))
        at += 8
    for i in range(PADDING):
        store8(to + size + i, 0)


@kernel
def rehash(rows: Any, wider: Any, mask: Any) -> None:
    """Copy every row of the table `rows` (int64[n, 4]) to the wider table at the address `wider`."""
    for at in range(rows.shape[0]):
        if rows[at, 3] >= 0:
            slot = (uint64(rows[at, 0]) ^ uint64(rows[at, 1])) * _MULTIPLIER
            slot ^= slot >> uint64(32)
            while load64(wider + 32 * int64(slot & uint64(mask)) + 24) >= 0:
                slot += uint64(1)
            for column in range(4):
                store64(wider + 32 * int64(slot & uint64(mask)) + 8 * column, rows[at, column])


@kernel
def count_words(places: Any, words: Any) -> Any:
    """The number of words of chunks.

    places int64[chunks]: the place of each chunk's words. words int32: the number of words at a place, then their ids.
    """
    total = int64(0)
    for chunk in range(places.size):
        total += words[places[chunk]]
    return total


@kernel
def gather(places: Any, words: Any, traits: Any, out: Any, totals: Any) -> None:
    """Write the id of each word of chunks to out[0], and its traits to out[1] (int32[2, words]).

    `places` and `words` are as in `count_words`; traits int32[ids]. totals (int64[3]) gets the number of words with
    more than symbols, their characters, and the number of words with a letter.
    """
    at, real, characters, letters = int64(0), int64(0), int64(0), int64(0)
    for chunk in range(places.size):
        place = places[chunk]
        for k in range(words[place]):
            word = words[place + 1 + k]
            bits = int64(traits[word])
            out[0, at], out[1, at] = word, bits
            at += 1
            real += bits & REAL
            characters += (bits >> LENGTH) * (bits & REAL)
            letters += (bits & LETTER) >> 1
    totals[0], totals[1], totals[2] = real, characters, letters


@kernel
def count_present(ids: Any, wanted: Any, enough: Any) -> Any:
    """How many of the different ids `wanted` are among `ids`; counting stops at `enough`."""
    present = int64(0)
    is_present = np.zeros(wanted.size, np.bool_)
    for i in range(ids.size):
        for k in range(wanted.size):
            if ids[i] == wanted[k] and not is_present[k]:
                is_present[k] = True
                present += 1
                if present >= enough:
                    return present
    return present


@kernel
def sentences(traits: Any) -> Any:
    """`corpus.filters.words.count_sentences` of words with these traits (int32[words])."""
    begun, ended = int64(traits.size > 0), False
    for i in range(traits.size):
        if traits[i] & TERMINAL:
            ended = True
        elif ended and not traits[i] & MARK:
            begun += 1
            ended = False
    return begun
