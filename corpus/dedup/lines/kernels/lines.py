"""Lines of texts and their hashes.

A text is read 64 bytes at a time. Vector comparisons give 64 bits for each class of bytes, and shifts of these bits
find words and lines. Kernels that read take addresses in place of arrays: they read 8 bytes at any place, 64 bytes at
once, and up to PADDING bytes beyond the end of a text. The caller makes sure that these bytes can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from llvmlite import ir
from numba import int64, types, uint64
from numba.extending import intrinsic

from bpe.kernels.memory import leading_zeros, load64, trailing_zeros
from corpus.dedup.lines.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER, _mix64

PADDING = 72  # bytes after a text that may be read

_BLOCK = 64
_EACH = np.uint64(0x0101010101010101)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
# Odd and without a pattern: splitmix64's second multiplier (Steele, Lea, Flood 2014).
_STEP = np.uint64(0x94D049BB133111EB)


def _classify(typing_context: Any, address: Any) -> Any:
    """Four classes, a bit for each of 64 bytes: letters, digits and bytes that are not ASCII; white space; newlines;
    bytes that are not ASCII.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        lanes, word = ir.VectorType(ir.IntType(8), _BLOCK), ir.IntType(_BLOCK)
        text = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)

        def each(value: int) -> Any:
            return ir.Constant(lanes, [value] * _BLOCK)

        def among(first: int, count: int, values: Any = text) -> Any:
            return builder.icmp_unsigned("<", builder.sub(values, each(first)), each(count))

        wide = among(0x80, 0x80)
        letters = among(0x61, 26, builder.or_(text, each(0x20)))
        in_words = builder.or_(builder.or_(letters, among(0x30, 10)), wide)
        white = builder.or_(among(0x09, 5), among(0x20, 1))
        classes = [in_words, white, among(0x0A, 1), wide]
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(bits, word) for bits in classes])

    four: Any = types.UniTuple(types.uint64, 4)  # type: ignore[no-untyped-call]
    return four(types.int64), generate


class LineRule(NamedTuple):
    """What is compared: paragraphs or lines, of so many words at least, and what makes a difference."""

    paragraphs: Any  # bool
    min_words: Any  # int
    digits: Any  # uint64: 0 where each digit counts as 0, all bits set where digits make a difference
    exact: Any  # bool: every byte makes a difference


class Lines(NamedTuple):
    """Room for the lines of one text of n bytes: n // 2 + 1 lines, because a line has a letter and a newline."""

    hashes: Any  # uint64: of the line's words, or of its bytes
    words: Any  # int32: how many words it has
    begins: Any  # int64: where it begins in the text
    stops: Any  # int64: where it ends, without the white space after it


class LineTexts(NamedTuple):
    """Texts as in `bpe.texts.Utf8`, and room for a copy of any of them that has less than PADDING bytes after it."""

    content: Any  # uint8
    offsets: Any  # int64
    tail: Any  # uint8


_classes: Callable[[int], tuple[Any, ...]] = cast(Any, intrinsic(_classify))


# ---- Words ----


@kernel
def _step(h: Any, chunk: Any) -> Any:
    """Hash eight more bytes into `h`, as MurmurHash64A does (Appleby 2008): they are mixed before they meet `h`, so
    that the chain of dependent steps is short.
    """
    chunk *= _STEP
    chunk ^= chunk >> uint64(47)
    return (h ^ chunk * _STEP) * MULTIPLIER


@kernel
def _ascii_word(h: Any, p: int, size: int, digits: Any) -> Any:
    """Hash a word of ASCII letters and digits into `h`: in lower case, each digit as 0 or (`digits` of LineRule) as it
    is, eight bytes at a time.

    The last chunk has less than eight bytes, maybe none, so that the end of the word counts.
    """
    while True:
        chunk = uint64(load64(p))
        if size < 8:
            chunk &= (uint64(1) << uint64(8 * size)) - uint64(1)
        letters = chunk >> uint64(6) & _EACH  # bit 6 is set in letters and not in digits
        chunk = (chunk | letters << uint64(5)) & ((letters << uint64(4)) - letters | _HIGH_NIBBLES | digits)
        h = _step(h, chunk)
        if size < 8:
            return h
        p += 8
        size -= 8


@kernel
def _line_hash(h: Any, begin: int, stop: int, exact: bool) -> Any:
    """The hash of a line between two addresses: `h` is that of its words, and of its bytes where `exact`."""
    if exact:
        h = MULTIPLIER
        while True:
            chunk = uint64(load64(begin))
            if stop - begin < 8:
                return _mix64(_step(h, chunk & ((uint64(1) << uint64(8 * (stop - begin))) - uint64(1))))
            h = _step(h, chunk)
            begin += 8
    return _mix64(h)


@kernel
def _is_separator(code: Any) -> Any:
    """Whether a character is punctuation, a space or a symbol: of Latin-1, general, of Han and Kana, or a wide form."""
    if code < 0x2000:
        return code < 0xC0
    if code < 0x3000:
        return code < 0x2070
    return code < 0x3040 or 0xFF00 <= code < 0xFF21 or 0xFF5B <= code < 0xFF66


@kernel
def _is_alone(code: Any) -> Any:
    """Whether a character is a word of its own, in a script without spaces: Thai, Lao, Myanmar, Khmer, Kana, Han."""
    if code < 0x3040:
        return 0x0E00 <= code < 0x0F00 or 0x1000 <= code < 0x10A0 or 0x1780 <= code < 0x1800
    if code < 0xA000:
        return code < 0x3100 or 0x31F0 <= code < 0x3200 or code >= 0x3400
    return 0xF900 <= code < 0xFB00 or 0xFF66 <= code < 0xFFA0 or code >= 0x20000


@kernel
def _lower(code: Any) -> Any:
    """The small letter of a capital of Latin-1, Greek (without accents) or Cyrillic; other characters unchanged."""
    if 0xC0 <= code < 0xDF or 0x391 <= code < 0x3AA or 0x410 <= code < 0x430:
        return code if code == 0xD7 or code == 0x3A2 else code + 0x20  # the sign ×, and an unassigned code point
    return code + 0x50 if 0x400 <= code < 0x410 else code


@kernel
def _wide_words(h: Any, p: int, stop: int, digits: Any) -> Any:
    """Hash the words of a run of letters, digits and bytes that are not ASCII into `h`; returns (`h`, words).

    Bytes that are not UTF-8 count as letters.
    """
    count = 0
    chunk, filled, inside = uint64(0), uint64(0), False
    while p < stop:
        bytes_ = uint64(load64(p))
        lead = bytes_ & uint64(0xFF)
        size, code = 1, int64(0xC0)
        if lead < uint64(0x80):
            letter = lead >> uint64(6)
            bytes_ = (lead | letter << uint64(5)) & (uint64(0x0F) * letter | uint64(0xF0) | digits)
        elif lead >= uint64(0xC0):
            second = int64(bytes_ >> uint64(8) & uint64(0x3F))
            third = int64(bytes_ >> uint64(16) & uint64(0x3F))
            if lead < uint64(0xE0):
                size, code = 2, _lower(second | int64(lead & uint64(0x1F)) << 6)
                bytes_ = uint64(code >> 6 | 0xC0 | (code & 0x3F | 0x80) << 8)
            elif lead < uint64(0xF0):
                size, code = 3, int64(lead & uint64(0x0F)) << 12 | second << 6 | third
            else:
                fourth = int64(bytes_ >> uint64(24) & uint64(0x3F))
                size, code = 4, int64(lead & uint64(0x07)) << 18 | second << 12 | third << 6 | fourth
            if p + size > stop:
                size, code, bytes_ = 1, int64(0xC0), lead
        separator, alone = _is_separator(code), _is_alone(code)
        if (separator or alone) and inside:
            h = _step(h, chunk)
            count += 1
            chunk, filled, inside = uint64(0), uint64(0), False
        if alone:
            h = _step(h, bytes_ & ((uint64(1) << uint64(8 * size)) - uint64(1)))
            count += 1
        elif not separator:
            inside = True
            for _ in range(size):
                chunk |= (bytes_ & uint64(0xFF)) << (uint64(8) * filled)
                bytes_ >>= uint64(8)
                filled += uint64(1)
                if filled == uint64(8):
                    h = _step(h, chunk)
                    chunk, filled = uint64(0), uint64(0)
        p += size
    if inside:
        h = _step(h, chunk)
        count += 1
    return h, count


# ---- Lines ----


@kernel
def _run_end(p: int, end: int) -> int:
    """The end of the run of letters, digits and bytes that are not ASCII that begins at p."""
    while p < end:
        others = ~_classes(p)[0]
        if others:
            return min(p + trailing_zeros(int64(others)), end)
        p += _BLOCK
    return end


@kernel
def scan(text: int, end: int, rule: Any, lines: Any) -> Any:
    """Write the lines, or paragraphs, that are not blank of the text between two addresses; returns how many."""
    hashes, words, begins, stops = lines
    paragraphs, _, digits, exact = rule
    n = 0
    h, count = MULTIPLIER, 0
    begin, stop = -1, -1  # of the line or paragraph that is not finished; begin is -1 if there is none
    line, blank = text, True
    p = text
    while p < end:
        in_words, white, newlines, wide = _classes(p)
        solid, advance = ~white, _BLOCK
        if end - p < _BLOCK:
            inside = (uint64(1) << uint64(end - p)) - uint64(1)
            in_words, newlines, solid = in_words & inside, newlines & inside, solid & inside
        elif in_words >> uint64(63) and end - p > _BLOCK:
            advance -= leading_zeros(int64(~in_words))
            if advance == 0:  # one word beyond this block
                if begin < 0:
                    begin = line
                blank, stop = False, _run_end(p + _BLOCK, end)
                h, more = _wide_words(h, p, stop, digits)
                count += more
                p = stop
                continue
            inside = (uint64(1) << uint64(advance)) - uint64(1)  # the last word comes with the next block
            in_words, newlines, solid = in_words & inside, newlines & inside, solid & inside
        while True:
            here = (newlines & (~newlines + uint64(1))) - uint64(1)  # before the first newline; all if there is none
            if solid & here:
                if begin < 0:
                    begin = line
                stop = p + _BLOCK - leading_zeros(int64(solid & here))
                blank = False
            runs = in_words & here
            while runs:
                first = trailing_zeros(int64(runs))
                after = runs + (uint64(1) << uint64(first))  # the first run becomes the bit after it
                run = runs & ~after
                runs &= after
                size = trailing_zeros(int64(after)) - first
                if run & wide:
                    h, more = _wide_words(h, p + first, p + first + size, digits)
                    count += more
                else:
                    h = _ascii_word(h, p + first, size, digits)
                    count += 1
            if not newlines:
                break
            if begin >= 0 and (blank or not paragraphs):
                hashes[n], words[n] = _line_hash(h, begin, stop, exact), count
                begins[n], stops[n] = begin - text, stop - text
                n += 1
                h, count, begin = MULTIPLIER, 0, -1
            line, blank = p + trailing_zeros(int64(newlines)) + 1, True
            in_words &= ~here
            solid &= ~here
            newlines &= newlines - uint64(1)
        p += advance
    if begin >= 0:
        hashes[n], words[n] = _line_hash(h, begin, stop, exact), count
        begins[n], stops[n] = begin - text, stop - text
        n += 1
    return n


@kernel
def readable(texts: Any, start: int, end: int) -> Any:
    """The address of content[start:end] of LineTexts, or of a copy in `tail` where PADDING bytes do not follow it."""
    if end + PADDING <= texts.content.size:
        return int64(texts.content.ctypes.data) + start
    texts.tail[: end - start] = texts.content[start:end]
    return int64(texts.tail.ctypes.data)


@kernel
def hash_lines(texts: Any, rule: Any, first_row: Any, lines: Any, records: Any) -> Any:
    """Write (hash, row, 1) to `records` (uint64[., 3]) for each line of enough words; returns how many.

    Takes LineTexts and LineRule; the row of text i is first_row + i. `lines` is room for the lines of a text.
    """
    n = 0
    for text in range(texts.offsets.size - 1):
        start, end = texts.offsets[text], texts.offsets[text + 1]
        p = readable(texts, start, end)
        count = scan(p, p + end - start, rule, lines)
        for i in range(count):
            if lines.words[i] >= rule.min_words:
                records[n, 0], records[n, 1], records[n, 2] = lines.hashes[i], first_row + uint64(text), 1
                n += 1
    return n
