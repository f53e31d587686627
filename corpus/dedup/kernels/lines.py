"""Lines of texts: their hashes, in how many documents each is, and texts without those that are repeated.

A text is read 64 bytes at a time: comparisons of vectors give a word of 64 bits for each class of bytes, and shifts of
these words find words and lines. Kernels take addresses in place of arrays where they read: 8 bytes at any place, 64
at once, and up to PADDING bytes beyond the end of a text, which the caller vouches for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import int64, types, uint64
from numba.extending import intrinsic

from corpus.dedup.kernels import kernel
from corpus.dedup.kernels.mixing import MULTIPLIER, _mix64

PADDING = 72  # bytes that may be read after a text

_BLOCK = 64
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EACH = np.uint64(0x0101010101010101)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
# Odd and without a pattern: splitmix64's second multiplier (Steele, Lea, Flood 2014).
_STEP = np.uint64(0x94D049BB133111EB)


def _classify(typing_context: Any, address: Any) -> Any:
    """(letters, digits and what is not ASCII; white space; newlines; not ASCII): a bit for each of 64 bytes."""

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


def _load(typing_context: Any, address: Any) -> Any:
    """The eight bytes at an address, the first the lowest."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()), align=1)

    return types.uint64(types.int64), generate


def _trailing(typing_context: Any, value: Any) -> Any:
    """How many zero bits are below the lowest one; 64 for 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


def _leading(typing_context: Any, value: Any) -> Any:
    """How many zero bits are above the highest one; 64 for 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


_classes: Callable[[int], tuple[Any, ...]] = cast(Any, intrinsic(_classify))
_load64: Callable[[int], Any] = cast(Any, intrinsic(_load))
_trailing_zeros: Callable[[Any], int] = cast(Any, intrinsic(_trailing))
_leading_zeros: Callable[[Any], int] = cast(Any, intrinsic(_leading))


# ---- Words ----


@kernel
def _step(h: Any, chunk: Any) -> Any:
    """`h` with eight bytes more, as MurmurHash64A takes them (Appleby 2008): what is new is mixed off the long path."""
    chunk *= _STEP
    chunk ^= chunk >> uint64(47)
    return (h ^ chunk * _STEP) * MULTIPLIER


@kernel
def _ascii_word(h: Any, p: int, size: int) -> Any:
    """`h` after a word of ASCII letters and digits: lower case, each digit a 0, eight at a time.

    The last chunk has less than eight, maybe none, so that where a word ends tells.
    """
    while True:
        chunk = _load64(p)
        if size < 8:
            chunk &= (uint64(1) << uint64(8 * size)) - uint64(1)
        letters = chunk >> uint64(6) & _EACH  # bit 6 is set in letters and not in digits
        chunk = (chunk | letters << uint64(5)) & ((letters << uint64(4)) - letters | _HIGH_NIBBLES)
        h = _step(h, chunk)
        if size < 8:
            return h
        p += 8
        size -= 8


@kernel
def _is_separator(code: Any) -> Any:
    """Punctuation, spaces and symbols: of Latin-1, general, of Han and Kana, and their wide forms with digits."""
    if code < 0x2000:
        return code < 0xC0
    if code < 0x3000:
        return code < 0x2070
    return code < 0x3040 or 0xFF00 <= code < 0xFF21 or 0xFF5B <= code < 0xFF66


@kernel
def _is_alone(code: Any) -> Any:
    """A character of a script without spaces, which is a word: Thai, Lao, Myanmar, Khmer, Kana, Han."""
    if code < 0x3040:
        return 0x0E00 <= code < 0x0F00 or 0x1000 <= code < 0x10A0 or 0x1780 <= code < 0x1800
    if code < 0xA000:
        return code < 0x3100 or 0x31F0 <= code < 0x3200 or code >= 0x3400
    return 0xF900 <= code < 0xFB00 or 0xFF66 <= code < 0xFFA0 or code >= 0x20000


@kernel
def _lower(code: Any) -> Any:
    """The small letter of a capital of Latin-1, Greek (without accents) or Cyrillic; others as they are."""
    if 0xC0 <= code < 0xDF or 0x391 <= code < 0x3AA or 0x410 <= code < 0x430:
        return code if code == 0xD7 or code == 0x3A2 else code + 0x20  # a sign, and nothing
    return code + 0x50 if 0x400 <= code < 0x410 else code


@kernel
def _wide_words(h: Any, p: int, stop: int) -> Any:
    """(`h` after the words of bytes that are letters, digits or not ASCII, how many words).

    Bytes that are no UTF-8 are letters.
    """
    count = 0
    chunk, filled, inside = uint64(0), uint64(0), False
    while p < stop:
        bytes_ = _load64(p)
        lead = bytes_ & uint64(0xFF)
        size, code = 1, int64(0xC0)
        if lead < uint64(0x80):
            letter = lead >> uint64(6)
            bytes_ = (lead | letter << uint64(5)) & (uint64(0x0F) * letter | uint64(0xF0))
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
    """The end of the letters, digits and bytes that are not ASCII from p on."""
    while p < end:
        others = ~_classes(p)[0]
        if others:
            return min(p + _trailing_zeros(others), end)
        p += _BLOCK
    return end


@kernel
def scan(text: int, end: int, paragraphs: bool, hashes: Any, words: Any, begins: Any, stops: Any) -> Any:
    """Write the lines, or paragraphs, of a text between two addresses; return how many.

    Of each that is not blank: hash and number of its words, and where it begins and stops in the text, without the
    white space after it. The arrays have room for half the text's bytes and one: a line has a letter and a newline.
    """
    n = 0
    h, count = MULTIPLIER, 0
    begin, stop = -1, -1  # of what is open; begin is -1 if nothing is
    line, blank = text, True
    p = text
    while p < end:
        in_words, white, newlines, wide = _classes(p)
        solid, advance = ~white, _BLOCK
        if end - p < _BLOCK:
            inside = (uint64(1) << uint64(end - p)) - uint64(1)
            in_words, newlines, solid = in_words & inside, newlines & inside, solid & inside
        elif in_words >> uint64(63) and end - p > _BLOCK:
            advance -= _leading_zeros(~in_words)
            if advance == 0:  # one word beyond this block
                if begin < 0:
                    begin = line
                blank, stop = False, _run_end(p + _BLOCK, end)
                h, more = _wide_words(h, p, stop)
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
                stop = p + _BLOCK - _leading_zeros(solid & here)
                blank = False
            runs = in_words & here
            while runs:
                first = _trailing_zeros(runs)
                after = runs + (uint64(1) << uint64(first))  # the first run becomes the bit after it
                run = runs & ~after
                runs &= after
                size = _trailing_zeros(after) - first
                if run & wide:
                    h, more = _wide_words(h, p + first, p + first + size)
                    count += more
                else:
                    h = _ascii_word(h, p + first, size)
                    count += 1
            if not newlines:
                break
            if begin >= 0 and (blank or not paragraphs):
                hashes[n], words[n], begins[n], stops[n] = _mix64(h), count, begin - text, stop - text
                n += 1
                h, count, begin = MULTIPLIER, 0, -1
            line, blank = p + _trailing_zeros(newlines) + 1, True
            in_words &= ~here
            solid &= ~here
            newlines &= newlines - uint64(1)
        p += advance
    if begin >= 0:
        hashes[n], words[n], begins[n], stops[n] = _mix64(h), count, begin - text, stop - text
        n += 1
    return n


@kernel
def _readable(data: Any, start: int, end: int, tail: Any) -> Any:
    """The address of data[start:end], or of a copy in `tail` where PADDING bytes after it are not ours to read."""
    if end + PADDING <= data.size:
        return int64(data.ctypes.data) + start
    tail[: end - start] = data[start:end]
    return int64(tail.ctypes.data)


@kernel
def hash_lines(
    data: Any,
    offsets: Any,
    tail: Any,
    paragraphs: bool,
    min_words: int,
    first_row: Any,
    hashes: Any,
    words: Any,
    begins: Any,
    stops: Any,
    records: Any,
) -> Any:
    """Write (hash, row, 1) to `records` (uint64[., 3]) for the lines of at least `min_words` words; return how many.

    Text i is data[offsets[i]:offsets[i + 1]], its row first_row + i; the other arrays are room for `scan` and for the
    texts at the end of `data`.
    """
    n = 0
    for text in range(offsets.size - 1):
        start, end = offsets[text], offsets[text + 1]
        p = _readable(data, start, end, tail)
        found = scan(p, p + end - start, paragraphs, hashes, words, begins, stops)
        for i in range(found):
            if words[i] >= min_words:
                records[n, 0], records[n, 1], records[n, 2] = hashes[i], first_row + uint64(text), 1
                n += 1
    return n


# ---- Documents that a line is in ----


@kernel
def partition_lines(records: Any, shift: Any, starts: Any, out: Any) -> None:
    """Copy `records` (uint64[n, 3]) to `out` by bucket, in order within each: a counting sort.

    The bucket is records[i, 0] >> shift, modulo the number of buckets, a power of two. `starts` (int64[buckets + 1],
    zeros) becomes the index in `out` at which each bucket begins, and at last n.
    """
    mask = uint64(starts.size - 2)
    for i in range(len(records)):
        starts[int64(records[i, 0] >> shift & mask) + 1] += 1
    for bucket in range(1, starts.size):
        starts[bucket] += starts[bucket - 1]
    ends = starts[:-1].copy()
    for i in range(len(records)):
        bucket = int64(records[i, 0] >> shift & mask)
        out[ends[bucket], 0] = records[i, 0]
        out[ends[bucket], 1] = records[i, 1]
        out[ends[bucket], 2] = records[i, 2]
        ends[bucket] += 1


@kernel
def merge_lines(records: Any, starts: Any, table: Any, last: Any) -> Any:
    """Leave one record (hash, first row, documents) of each hash; return how many.

    Equal hashes are in one bucket of `starts`, and there in the order of their rows; the same row counts once. They
    move up to the front of `records`, and `starts` with them. Room for the largest bucket: `table` is int32[twice its
    records, up to a power of two], `last` uint64[its records].
    """
    n = 0
    begin = starts[0]
    for bucket in range(starts.size - 1):
        first, end = n, starts[bucket + 1]
        bits = 1
        while 1 << bits < 2 * (end - begin):
            bits += 1
        mask = (1 << bits) - 1
        table[: 1 << bits] = -1
        for i in range(begin, end):
            h, row, documents = records[i, 0], records[i, 1], records[i, 2]
            entry = int64((h * MULTIPLIER) >> uint64(64 - bits))
            while table[entry] >= 0 and records[first + table[entry], 0] != h:
                entry = (entry + 1) & mask
            if table[entry] < 0:
                table[entry] = n - first
                records[n, 0], records[n, 1], records[n, 2] = h, row, documents
                last[n - first] = row
                n += 1
            elif last[table[entry]] != row:
                records[first + table[entry], 2] += documents
                last[table[entry]] = row
        begin = end
        starts[bucket + 1] = n
    return n


# ---- Texts without repeated lines ----


@kernel
def _find(h: Any, table: Any, starts: Any, shift: Any) -> Any:
    """The index of `h` in the sorted `table`, or -1; hashes that begin with bits b are in table[starts[b]:...]."""
    low, high = starts[int64(h >> shift)], starts[int64(h >> shift) + 1]
    while low < high:
        middle = (low + high) // 2
        if table[middle] < h:
            low = middle + 1
        else:
            high = middle
    return low if low < table.size and table[low] == h else -1


@kernel
def _repeats(hashes: Any, i: int, n: int, seen: Any) -> Any:
    """Whether hashes[i] came before in `seen`, a hash table of indices for n hashes; puts it there if not."""
    bits = 1
    while 1 << bits < 2 * n:
        bits += 1
    entry = int64((hashes[i] * MULTIPLIER) >> uint64(64 - bits))
    while seen[entry] >= 0 and hashes[seen[entry]] != hashes[i]:
        entry = (entry + 1) & ((1 << bits) - 1)
    if seen[entry] >= 0:
        return True
    seen[entry] = i
    return False


@kernel
def _copy(data: Any, start: Any, end: Any, out: Any, at: Any) -> Any:
    """Copy data[start:end] to out[at:]; return where it ends there."""
    for i in range(end - start):
        out[at + i] = data[start + i]
    return at + end - start


@kernel
def _between(data: Any, begins: Any, stops: Any, one: int, other: int) -> Any:
    """Where begins and stops the white space to put between two lines: of all there is between, the first part with
    the most newlines.
    """
    begin, stop, most = 0, 0, -1
    for i in range(one, other):
        newlines = 0
        for k in range(stops[i], begins[i + 1]):
            newlines += data[k] == 0x0A
        if newlines > most:
            begin, stop, most = stops[i], begins[i + 1], newlines
    return begin, stop


@kernel
def _join_kept(data: Any, n: int, begins: Any, stops: Any, removed: Any, out: Any, at: Any) -> Any:
    """Copy the text `data` of n lines without those that are removed to out[at:]; return where it ends there.

    What comes before the first line and after the last stays.
    """
    begin, stop = 0, begins[0]  # of what is still to be copied
    last = -1  # line that was kept
    for i in range(n):
        if not removed[i]:
            if last < i - 1:
                at = _copy(data, begin, stop, out, at)
                if last >= 0:
                    begin, stop = _between(data, begins, stops, last, i)
                    at = _copy(data, begin, stop, out, at)
                begin = begins[i]
            stop = stops[i]
            last = i
    at = _copy(data, begin, stop, out, at)
    return _copy(data, stops[n - 1], data.size, out, at)


@kernel
def remove_lines(
    data: Any,
    offsets: Any,
    tail: Any,
    paragraphs: bool,
    min_words: int,
    first_row: Any,
    keep_first: bool,
    table: Any,
    first: Any,
    starts: Any,
    hashes: Any,
    words: Any,
    begins: Any,
    stops: Any,
    removed: Any,
    seen: Any,
    out: Any,
    out_offsets: Any,
    counts: Any,
    left: Any,
) -> Any:
    """Write the texts without repeated lines, one after the other, to `out`, and where they end to `out_offsets`.

    Returns whether any line was removed; if not, nothing is written to `out`. `table`, `first` and `starts` are the
    repeated lines, see `_find`; `counts` becomes the lines removed from each text, `left` the words that are left in
    it. As `hash_lines` otherwise.
    """
    shift = uint64(64)
    while 1 << int64(uint64(64) - shift) < starts.size - 1:
        shift -= uint64(1)
    at, copied = 0, offsets[0]
    any_gone = False
    for text in range(offsets.size - 1):
        start, end = offsets[text], offsets[text + 1]
        p = _readable(data, start, end, tail)
        n = scan(p, p + end - start, paragraphs, hashes, words, begins, stops)
        gone = total = 0
        any_first = False
        for i in range(n):
            removed[i] = False
            if words[i] >= min_words:
                found = _find(hashes[i], table, starts, shift)
                if found >= 0:
                    removed[i] = True
                    if keep_first and first[found] == first_row + uint64(text):
                        if not any_first:
                            seen[: 4 * n] = -1
                            any_first = True
                        removed[i] = _repeats(hashes, i, n, seen)
            gone += removed[i]
            total += 0 if removed[i] else words[i]
        if gone:
            at = _copy(data, copied, start, out, at)
            at = _join_kept(data[start:end], n, begins, stops, removed, out, at)
            copied = end
            any_gone = True
        out_offsets[text + 1] = at + end - copied
        counts[text], left[text] = gone, total
    if any_gone:
        _copy(data, copied, offsets[-1], out, at)
    return any_gone
