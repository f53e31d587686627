"""A text -> the words of its chunks; new chunks of the simplest kinds are split without leaving the compiled loop.

Nine of ten new chunks are simple: letters or digits, with at most a bracket or quotation mark before them and one mark
behind them; two words with a hyphen; or a word with a possessive. This is a second writing of what
`corpus.filters.words` does with such chunks, and tests compare the two. Exceptions (such as "don't") cannot be new,
because the tables have all of them from the beginning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64

from bpe.kernels.memory import load8, load64
from corpus.filters.kernels import kernel
from corpus.filters.kernels.chunks import LENGTH, LETTER, PADDING, REAL, after_chunk, copy, find, key_of, put, white

ALPHA, SMALL = 1, 2  # bits of `Tables.letters_of`
LEARNT = 4096  # most chunks that one call learns
LONGEST = 64  # most bytes of a chunk that is learnt here
MOST_WORDS = 6  # most words of such a chunk

# The words with the first ids, in this order.
FIRST = (",", ";", ":", "!", "?", ")", '"', ".", "(", "-", "'s", "'S", "’s", "’S")
_MARKS = np.frombuffer(b',;:!?)"', np.uint8)  # the marks that may stand behind a word; FIRST begins with them
_QUOTE, _STOP, _BRACKET, _HYPHEN, _POSSESSIVE = 6, 7, 8, 9, 10


class Tables(NamedTuple):
    """The hash tables of chunks and words (see `kernels.chunks`), and how much of their arrays is used.

    chunk_rows     int64[2^n, 4]: the rows of chunks
    chunk_letters  uint8: the bytes of chunks
    words          int32: for each chunk, the number of its words, then their ids
    id_rows        int64[2^n, 4]: the rows of words
    id_letters     uint8: the bytes of words
    traits         int32[ids]: the length of each word, and bits of `kernels.chunks`
    letters_of     uint8[0x800]: ALPHA and SMALL of each code point
    used           int64[5]: the numbers of chunks, bytes of chunks, places in `words`, ids, bytes of words
    """

    chunk_rows: Any
    chunk_letters: Any
    words: Any
    id_rows: Any
    id_letters: Any
    traits: Any
    letters_of: Any
    used: Any


@kernel
def number(p: Any, size: Any, traits: Any, tables: Any) -> Any:
    """The id of the word of `size` bytes at p; a new word gets the next id and these traits."""
    rows, letters = int64(tables.id_rows.ctypes.data), int64(tables.id_letters.ctypes.data)
    key = key_of(p, size)
    row = find(p, size, key, rows, tables.id_rows.shape[0] - 1, letters)
    target = load64(row + 24)
    if target >= 0:
        return target
    new, place = tables.used[3], tables.used[4]
    put(row, key, size, place, new)
    copy(p, size, letters + place)
    tables.traits[new] = traits
    tables.used[3] += 1
    tables.used[4] += size + PADDING
    return new


@kernel
def words_at(p: Any, size: Any, tables: Any) -> Any:
    """The place of the words of the chunk of `size` bytes at p; -1 if the chunk is not remembered."""
    rows, letters = int64(tables.chunk_rows.ctypes.data), int64(tables.chunk_letters.ctypes.data)
    return load64(find(p, size, key_of(p, size), rows, tables.chunk_rows.shape[0] - 1, letters) + 24)


@kernel
def add_chunk(p: Any, size: Any, words: Any, tables: Any) -> None:
    """Remember the chunk of `size` bytes at p, which is new; its words are at the place `words`."""
    rows, letters = int64(tables.chunk_rows.ctypes.data), int64(tables.chunk_letters.ctypes.data)
    key = key_of(p, size)
    place = tables.used[1]
    put(find(p, size, key, rows, tables.chunk_rows.shape[0] - 1, letters), key, size, place, words)
    copy(p, size, letters + place)
    tables.used[0] += 1
    tables.used[1] += size + PADDING


@kernel
def _after_letters(p: Any, stop: Any, letters_of: Any) -> Any:
    """(the end of the letters from p on, their number, whether the last one is a small letter)."""
    count, small = int64(0), False
    while p < stop:
        code = load8(p)
        width = int64(1)
        if code >= 0x80:
            if code < 0xC2 or code >= 0xE0:
                break
            code = (code & 0x1F) << 6 | load8(p + 1) & 0x3F
            width = int64(2)
        if not letters_of[code] & ALPHA:
            break
        small = letters_of[code] & SMALL != 0
        count += 1
        p += width
    return p, count, small


@kernel
def _after_digits(p: Any, stop: Any) -> Any:
    while p < stop and 0x30 <= load8(p) <= 0x39:
        p += 1
    return p


@kernel
def _mark(p: Any, with_stop: Any) -> Any:
    """The id of the mark at p that may stand behind a word; -1 if there is none. A full stop is one if `with_stop`."""
    byte = load8(p)
    for mark in range(_MARKS.size):
        if byte == _MARKS[mark]:
            return int64(mark)
    return int64(_STOP) if byte == 0x2E and with_stop else int64(-1)


@kernel
def _possessive(p: Any, stop: Any) -> Any:
    """The id of the possessive in the bytes [p, stop); -1 if they are no possessive."""
    last = load8(stop - 1)
    capital = int64(last == 0x53)
    if last != 0x73 and not capital:
        return int64(-1)
    if stop - p == 2 and load8(p) == 0x27:
        return int64(_POSSESSIVE) + capital
    if stop - p == 4 and load8(p) == 0xE2 and load8(p + 1) == 0x80 and load8(p + 2) == 0x99:
        return int64(_POSSESSIVE) + 2 + capital
    return int64(-1)


@kernel
def _learn(first: Any, stop: Any, tables: Any) -> Any:
    """Split and remember the new chunk [first, stop): the place of its words, or -1 if it is not simple."""
    words = tables.words
    place = tables.used[2]
    at = place + 1
    p = first
    byte = load8(p)
    if byte == 0x22 or byte == 0x28:
        words[at] = _QUOTE if byte == 0x22 else _BRACKET
        at += 1
        p += 1
    digits = p < stop and 0x30 <= load8(p) <= 0x39
    if digits:
        q = _after_digits(p, stop)
        count, small = q - p, True
    else:
        q, count, small = _after_letters(p, stop, tables.letters_of)
    if count == 0:
        return int64(-1)
    traits = count << LENGTH | REAL | (0 if digits else LETTER)
    behind, second, end = int64(-1), int64(0), q
    if stop - q == 1:
        behind = _mark(q, small)
    elif stop - q > 1 and not digits:
        behind = _possessive(q, stop)
        if behind < 0 and load8(q) == 0x2D and q - p == count:
            end, second, small = _after_letters(q + 1, stop, tables.letters_of)
            if second == 0 or second != end - q - 1:
                return int64(-1)
            if stop - end == 1:
                behind = _mark(end, small)
                if behind == _STOP and words_at(q + 1, stop - q - 1, tables) >= 0:
                    return int64(-1)  # perhaps an abbreviation, which corpus.filters.words puts together again
            elif end == stop:
                behind = int64(-2)
    if end < stop and behind == -1:
        return int64(-1)
    if second:
        words[at] = number(p, count, traits, tables)
        words[at + 1] = _HYPHEN
        words[at + 2] = number(q + 1, second, second << LENGTH | REAL | LETTER, tables)
        at += 3
    else:
        of_word = words_at(p, stop - p, tables) if p > first else int64(-1)
        if of_word >= 0:
            behind = int64(-1)
        elif stop > q:
            of_word = words_at(p, q - p, tables)
        if of_word >= 0:
            if behind == _STOP and words[of_word] > 1:
                return int64(-1)  # perhaps an abbreviation, too
            for k in range(words[of_word]):
                words[at] = words[of_word + 1 + k]
                at += 1
        else:
            words[at] = number(p, q - p, traits, tables)
            at += 1
    if behind >= 0:
        words[at] = behind
        at += 1
    words[place] = at - place - 1
    tables.used[2] = at
    add_chunk(first, stop - first, place, tables)
    return place


@kernel
def look_up(p: Any, size: Any, start: Any, learn: Any, tables: Any, places: Any, chunks: Any, missed: Any) -> Any:
    """Look up the chunks of the text of `size` bytes at the address p, from byte `start` on.

    learn   whether new simple chunks are split and remembered; reading ends early after LEARNT of them
    places  int64[(size + 1) // 2]: gets, from index `chunks` on, the place of each chunk's words; -1 - k for the k-th
            chunk that is neither remembered nor learnt
    missed  int64[(size + 1) // 2, 2]: gets first byte and end of such chunks

    Returns (the number of chunks in `places`, the number in `missed`, the byte where reading ended).
    """
    end = p + size
    at = p + start
    unknown: Any = int64(0)
    learnt: Any = int64(0)
    rows, letters = int64(tables.chunk_rows.ctypes.data), int64(tables.chunk_letters.ctypes.data)
    mask = tables.chunk_rows.shape[0] - 1
    while at < end:
        blank = white(at)
        if blank:
            at += blank
            continue
        if learnt == LEARNT:
            break
        stop = after_chunk(at, end)
        place = load64(find(at, stop - at, key_of(at, stop - at), rows, mask, letters) + 24)
        if place < 0 and learn and stop - at <= LONGEST:
            place = _learn(at, stop, tables)
            learnt += place >= 0
        if place < 0:
            missed[unknown, 0], missed[unknown, 1] = at - p, stop - p
            unknown += 1
            place = -unknown
        places[chunks] = place
        chunks += 1
        at = stop
    return chunks, unknown, at - p


@kernel
def number_all(p: Any, sizes: Any, tables: Any, ids: Any) -> None:
    """Write the ids of the words at p, each with its padding, to `ids`; the traits of new words are 0."""
    for word in range(sizes.size):
        ids[word] = number(p, sizes[word], 0, tables)
        p += sizes[word] + PADDING


@kernel
def add_all(p: Any, sizes: Any, places: Any, tables: Any) -> None:
    """Remember the new chunks at p, each with its padding; places[k] is the place of the words of chunk k."""
    for chunk in range(sizes.size):
        add_chunk(p, sizes[chunk], places[chunk], tables)
        p += sizes[chunk] + PADDING
