"""Chunks that are new, and of the simplest kinds, split and numbered without leaving the compiled loop.

Nine of ten new chunks are letters, or digits, with at most a bracket or quotation mark before and one mark after; two
words with a hyphen; or a possessive. What corpus.filters.words makes of these is said here once more (and tested to be
the same). Exceptions are no matter: they are all remembered from the beginning, so that they are never new.

A table's arrays and how much of them is used:
chunks  rows, letters, and `words`: of each chunk, how many words it has, and their ids
ids     rows, letters, and `about`: of each word, its length and what is known of it
used    int64[5]: chunks, their letters, places of `words`, ids, their letters
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import int64

from bpe.kernels.memory import load8, load64
from corpus.filters.kernels import kernel
from corpus.filters.kernels.chunks import LENGTH, LETTER, PADDING, REAL, after_chunk, copy, find, key_of, put, white

ALPHA, SMALL = 1, 2  # bits of `letters_of`, uint8[0x800]: by code point
LEARNT = 4096  # chunks that one call learns at the most
LONGEST = 64  # bytes of a chunk that is learnt here
MOST_WORDS = 6  # of one, at the most

# The words that have the first ids, in this order.
FIRST = (",", ";", ":", "!", "?", ")", '"', ".", "(", "-", "'s", "'S", "’s", "’S")
_QUOTE, _STOP, _BRACKET, _HYPHEN, _POSSESSIVE = 6, 7, 8, 9, 10


class Tables(NamedTuple):
    chunk_rows: Any  # int64[2^n, 4]
    chunk_letters: Any  # uint8
    words: Any  # int32
    id_rows: Any  # int64[2^n, 4]
    id_letters: Any  # uint8
    about: Any  # int32
    letters_of: Any  # uint8[0x800]
    used: Any  # int64[5]


@kernel
def number(p: Any, size: Any, about: Any, tables: Any) -> Any:
    """The id of the word of `size` bytes at p, the next one if it is new."""
    rows, letters = int64(tables.id_rows.ctypes.data), int64(tables.id_letters.ctypes.data)
    key = key_of(p, size)
    row = find(p, size, key, rows, tables.id_rows.shape[0] - 1, letters)
    known = load64(row + 24)
    if known >= 0:
        return known
    new, place = tables.used[3], tables.used[4]
    put(row, key, size, place, new)
    copy(p, size, letters + place)
    tables.about[new] = about
    tables.used[3] += 1
    tables.used[4] += size + PADDING
    return new


@kernel
def words_at(p: Any, size: Any, tables: Any) -> Any:
    """Where the words of a chunk are, -1 if it is not known."""
    rows, letters = int64(tables.chunk_rows.ctypes.data), int64(tables.chunk_letters.ctypes.data)
    return load64(find(p, size, key_of(p, size), rows, tables.chunk_rows.shape[0] - 1, letters) + 24)


@kernel
def add_chunk(p: Any, size: Any, words: Any, tables: Any) -> None:
    """Remember that the words of the chunk at p, which is not known, are at `words`."""
    rows, letters = int64(tables.chunk_rows.ctypes.data), int64(tables.chunk_letters.ctypes.data)
    key = key_of(p, size)
    place = tables.used[1]
    put(find(p, size, key, rows, tables.chunk_rows.shape[0] - 1, letters), key, size, place, words)
    copy(p, size, letters + place)
    tables.used[0] += 1
    tables.used[1] += size + PADDING


@kernel
def _after_letters(p: Any, stop: Any, letters_of: Any) -> Any:
    """(the end of the letters from p on, how many, whether the last is a small one)."""
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
def _mark(p: Any, stop_too: Any) -> Any:
    """The id of the mark at p that may stand behind a word, -1 if there is none."""
    byte = load8(p)
    if byte == 0x2C:
        return int64(0)
    if byte == 0x3B:
        return int64(1)
    if byte == 0x3A:
        return int64(2)
    if byte == 0x21:
        return int64(3)
    if byte == 0x3F:
        return int64(4)
    if byte == 0x29:
        return int64(5)
    if byte == 0x22:
        return int64(_QUOTE)
    return int64(_STOP) if byte == 0x2E and stop_too else int64(-1)


@kernel
def _possessive(p: Any, stop: Any) -> Any:
    """The id of the possessive that [p, stop) is, -1 if it is none."""
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
    """Where the words of the new chunk [first, stop) are, or -1 if it is not simple."""
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
    about = count << LENGTH | REAL | (0 if digits else LETTER)
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
                    return int64(-1)  # perhaps an abbreviation, which is put together again
            elif end == stop:
                behind = int64(-2)
    if end < stop and behind == -1:
        return int64(-1)
    if second:
        words[at] = number(p, count, about, tables)
        words[at + 1] = _HYPHEN
        words[at + 2] = number(q + 1, second, second << LENGTH | REAL | LETTER, tables)
        at += 3
    else:
        known = words_at(p, stop - p, tables) if p > first else int64(-1)
        if known >= 0:
            behind = int64(-1)
        elif stop > q:
            known = words_at(p, q - p, tables)
        if known >= 0:
            if behind == _STOP and words[known] > 1:
                return int64(-1)  # the same
            for k in range(words[known]):
                words[at] = words[known + 1 + k]
                at += 1
        else:
            words[at] = number(p, q - p, about, tables)
            at += 1
    if behind >= 0:
        words[at] = behind
        at += 1
    words[place] = at - place - 1
    tables.used[2] = at
    add_chunk(first, stop - first, place, tables)
    return place


@kernel
def look_up(p: Any, size: Any, start: Any, learn: Any, tables: Any, found: Any, chunks: Any, missed: Any) -> Any:
    """Where the words of each chunk of the text are, to found[chunks] and on; -1 - k for an unknown one that is not
    simple (or, without `learn`, for any), whose place in the text goes to missed[k].

    Reading begins at `start`, and ends before the text does when LEARNT chunks are learnt. Returns (chunks, missed,
    where it ended). p is an address; found int64[(size + 1) // 2], missed int64[as many, 2].
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
        found[chunks] = place
        chunks += 1
        at = stop
    return chunks, unknown, at - p


@kernel
def number_all(p: Any, sizes: Any, tables: Any, ids: Any) -> None:
    """The ids of words at p, each with its padding behind it; nothing is known of new ones yet."""
    for word in range(sizes.size):
        ids[word] = number(p, sizes[word], 0, tables)
        p += sizes[word] + PADDING


@kernel
def add_all(p: Any, sizes: Any, places: Any, tables: Any) -> None:
    """Remember chunks at p, each with its padding behind it, that are not known; places[k] is where their words are."""
    for chunk in range(sizes.size):
        add_chunk(p, sizes[chunk], places[chunk], tables)
        p += sizes[chunk] + PADDING
