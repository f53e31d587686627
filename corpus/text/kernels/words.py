"""UTF-8 text -> folded words in a buffer, with a space between them -> a hash of each word.

Text is folded 64 bytes at a time, up to a byte that is a digit or not ASCII; from there one character at a time, until
eight bytes of ASCII follow. Both ways write the buffer alike, so that the hash of a word depends on its folded
characters alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint64

from bpe.kernels.memory import load8, load32, load64, store8, store16, store32, store64, trailing_zeros
from corpus.text.kernels import kernel
from corpus.text.kernels.blocks import BLOCK, end_block, fold_block, plain_block, population, word_bits
from corpus.text.kernels.mixing import MULTIPLIER

# An entry of a CharacterTable is kind << KIND | value. The value is a code point; for SEVERAL it is a row of the table
# `several`.
KIND = 24
ORDINARY, UNSPACED, BLANK, MARK, NUMBER, SEVERAL = range(6)

AT_ONCE = 8  # edges of words that are written at a time; a power of two
RUN = 4  # characters of a word in a script without spaces, at the most
GROWTH = 6  # bytes of folded words for a byte of text, at the most: RUN ideographs of 4 bytes and 2 spaces for 3 bytes

_SPACE, _ZERO = ord(" "), ord("0")
_VALUE = (1 << KIND) - 1
_LAST_CODE_POINT = 0x10FFFF
_HIGH_BITS = -0x7F7F7F7F7F7F7F80  # the highest bit of each of eight bytes
_WORD_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)  # odd; MurmurHash3's


class Scratch(NamedTuple):
    """Memory for one text at a time; the longest text of a call has n bytes."""

    copy: Any  # uint8[n + BLOCK]: a copy of a text that no whole block follows
    buffer: Any  # uint8[GROWTH * n + 4 * BLOCK]: the folded words
    edges: Any  # uint32[n + 2 + AT_ONCE]: where words begin and end in the buffer
    words: Any  # uint64[n // 2 + 1]: the hashes of the words
    sums: Any  # uint64[1024]: sums of n-grams that are hashed together


@kernel
def _text_at(texts: Any, text: Any, copy: Any) -> Any:
    """(first address, end) of one of `texts`, a `bpe.texts.Utf8`. A block after the end may be read, too: for that, a
    text at the end of the memory is copied.
    """
    start, end = texts.offsets[text], texts.offsets[text + 1]
    if end + BLOCK <= texts.content.size:
        p = int64(texts.content.ctypes.data)
        return p + start, p + end
    copy[: end - start] = texts.content[start:end]
    p = int64(copy.ctypes.data)
    return p, p + end - start


@kernel
def _decode(p: Any) -> Any:
    """(code point, next address) at p, the lead byte of a UTF-8 sequence.

    Readers of Parquet do not check that strings are UTF-8. Other bytes give some code point that is not beyond the
    last one, because code points are indices of a table.
    """
    lead = load8(p)
    if lead < 0x80:
        return lead, p + 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | load8(p + 1) & 0x3F, p + 2
    tail = (load8(p + 1) & 0x3F) << 6 | load8(p + 2) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | tail, p + 3
    return min((lead & 0x07) << 18 | tail << 6 | load8(p + 3) & 0x3F, _LAST_CODE_POINT), p + 4


@kernel
def _encode(code: Any, d: Any) -> Any:
    """Write a code point as UTF-8 at d; returns the next address. One byte more may be written."""
    if code < 0x80:
        store8(d, code)
        return d + 1
    if code < 0x800:
        store16(d, code >> 6 | 0xC0 | (code & 0x3F | 0x80) << 8)
        return d + 2
    tail = (code >> 6 & 0x3F | 0x80) << 8 | (code & 0x3F | 0x80) << 16
    if code < 0x10000:
        store32(d, code >> 12 | 0xE0 | tail)
        return d + 3
    store32(d, code >> 18 | 0xF0 | (code >> 12 & 0x3F | 0x80) << 8 | tail << 8)
    return d + 4


@kernel
def _add_character(entry: Any, word: Any, held: Any, d: Any) -> Any:
    """Write the character of an entry at d; returns (next address, word, held).

    In a script without spaces, `word` is the address of the word that ends at d, and `held` its number of characters.
    In ordinary text, `held` is 0.
    """
    if entry >> KIND != UNSPACED:
        if held:
            store8(d, _SPACE)
            d += 1
        return _encode(entry & _VALUE, d), word, int64(0)
    start = d + 1
    if held == RUN:
        word = _decode(word)[1]
        held -= 1
    length = d - word if held else int64(0)
    first, second = load64(word), load64(word + 8)
    store8(d, _SPACE)
    store64(start, first)
    store64(start + 8, second)
    return _encode(entry & _VALUE, start + length), start, held + 1


@kernel
def _after_digits(p: Any, end: Any, entries: Any) -> Any:
    """The address of the first character from p on that is not a digit."""
    while p < end:
        code, following = _decode(p)
        if load32(entries + 4 * code) >> KIND != NUMBER:
            break
        p = following
    return p


@kernel
def _after_number(p: Any, end: Any, entries: Any, points: Any, n_points: Any) -> Any:
    """The address after a number: digits, and once a decimal point and more digits. p is after the first digit."""
    p = _after_digits(p, end, entries)
    if p < end:
        code, fraction = _decode(p)
        for i in range(n_points):
            if load32(points + 4 * i) == code:
                after = _after_digits(fraction, end, entries)
                return after if after > fraction else p
    return p


@kernel
def _folded(plain: Any, p: Any, end: Any, entries: Any, several: Any, points: Any, n_points: Any, target: Any) -> Any:
    """Write the folded words of the text [p, end) at `target`; returns where they end.

    A block of spaces follows them. Up to a block after `end` is read, and up to GROWTH * (end - p) + 2 * BLOCK bytes
    are written.
    """
    d, word, held = target, target, int64(0)
    while p < end:
        if load64(p) & _HIGH_BITS == 0:
            if held:
                store8(d, _SPACE)
                d += 1
                held = int64(0)
            stops = plain_block(p, d) if plain else fold_block(p, d)
            n = min(trailing_zeros(stops), end - p)
            p += n
            d += n
            if n == BLOCK or p == end:
                continue
        code, p = _decode(p)
        if p > end:  # the text ends within a character: the next bytes belong to another text
            break
        entry = load32(entries + 4 * code)
        kind = entry >> KIND
        if kind <= UNSPACED:
            d, word, held = _add_character(entry, word, held, d)
        elif kind == BLANK:
            store8(d, _SPACE)
            d += 1
            held = int64(0)
        elif kind == NUMBER:
            p = _after_number(p, end, entries, points, n_points)
            d, word, held = _add_character(_ZERO, word, held, d)
        elif kind == SEVERAL:
            row = several + 20 * (entry & _VALUE)
            for i in range(load32(row)):
                d, word, held = _add_character(load32(row + 4 + 4 * i), word, held, d)
    end_block(d)
    return d


@kernel
def _word_edges(p: Any, end: Any, edges: Any) -> Any:
    """Write the start and the end of each word of the buffer [p, end) to `edges`, as uint32 offsets from p, in turn.

    Returns the number of words. Edges are written AT_ONCE at a time: a loop that ends after each one would be a branch
    that no processor can predict.
    """
    e: Any = edges
    offset: Any = int64(0)
    inside: Any = int64(0)
    while p <= end:
        bits = word_bits(p)
        changes = bits ^ (bits << 1 | inside)
        inside = bits >> 63 & 1
        count = population(changes)
        for _ in range(0, count, AT_ONCE):
            for i in range(AT_ONCE):
                store32(e + 4 * i, offset + trailing_zeros(changes))
                changes &= changes - 1
            e += 4 * AT_ONCE
        e -= 4 * (-count & (AT_ONCE - 1))
        offset += BLOCK
        p += BLOCK
    return (e - edges) >> 3


@kernel
def _word_hash(p: Any, n: Any) -> Any:
    """A 64-bit hash of the word of n >= 1 bytes at p. Each step takes eight bytes; the last eight end with the word.

    A word of less than eight bytes is shifted up, so that the bytes that follow it do not count.
    """
    unused = uint64(max(64 - 8 * n, 0))
    h = uint64(n) * MULTIPLIER
    last = p + max(n - 8, 0)
    while True:
        h = (h ^ uint64(load64(p)) << unused) * _WORD_MULTIPLIER
        h ^= h >> uint64(32)
        p += 8
        if p >= last:
            break
    h = (h ^ uint64(load64(last)) << unused) * MULTIPLIER
    return h ^ h >> uint64(32)


@kernel
def _word_hashes(plain: Any, p: Any, end: Any, table: Any, scratch: Any) -> Any:
    """Write the 64-bit hash of each word of the text [p, end) to `scratch.words`; returns how many."""
    entries, several = int64(table.entries.ctypes.data), int64(table.several.ctypes.data)
    points, n_points = int64(table.points.ctypes.data), table.points.size
    buffer, edges = int64(scratch.buffer.ctypes.data), int64(scratch.edges.ctypes.data)
    stop = _folded(plain, p, end, entries, several, points, n_points, buffer)
    count = _word_edges(buffer, stop, edges)
    for i in range(count):
        start = load32(edges + 8 * i)
        scratch.words[i] = _word_hash(buffer + start, load32(edges + 8 * i + 4) - start)
    return count
