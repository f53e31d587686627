"""Repeated lines: the number of documents that have each line, and texts without the lines that many have."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import int64, uint64

from corpus.dedup.lines.kernels import kernel
from corpus.dedup.lines.kernels.lines import readable, scan
from corpus.text.kernels.mixing import MULTIPLIER


class Repeated(NamedTuple):
    """The repeated lines of a corpus, in arrays that may lie in a file."""

    hashes: Any  # uint64[m]: sorted
    first: Any  # uint64[m]: for each hash, the row over all units of the first document that has the line
    starts: Any  # int64[2^b + 1]: the hashes that begin with the b bits p are hashes[starts[p]:starts[p + 1]]


class Marks(NamedTuple):
    """Room for marks at the lines of one text of at most m lines."""

    removed: Any  # bool[m]
    seen: Any  # int32[4 * m]: a hash table


class Trimmed(NamedTuple):
    """The result of `remove_lines`: texts without repeated lines."""

    content: Any  # uint8: all texts, one after the other
    offsets: Any  # int64[texts + 1]
    removed: Any  # int32[texts]: lines removed from each text
    words: Any  # int64[texts]: words left in each text


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
    """Merge the records of each hash into one (hash, first row, documents); returns how many are left.

    Equal hashes are in one bucket of `starts`, and there in the order of their rows; a repeated row counts once. The
    merged records move to the front of `records`, and `starts` with them. `table` (int32[twice the records of the
    largest bucket, rounded up to a power of two]) and `last` (uint64[the records of the largest bucket]) are room.
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


@kernel
def _find(h: Any, repeated: Any, shift: Any) -> Any:
    """The index of `h` among the repeated hashes, or -1. Its first bits are h >> shift.

    `starts` come from a file that is too large to be checked as a whole when it is opened: damaged ones find nothing.
    """
    table, starts = repeated.hashes, repeated.starts
    low, high = max(starts[int64(h >> shift)], 0), min(starts[int64(h >> shift) + 1], table.size)
    while low < high:
        middle = (low + high) // 2
        if table[middle] < h:
            low = middle + 1
        else:
            high = middle
    return low if low < table.size and table[low] == h else -1


@kernel
def _repeats(hashes: Any, i: int, n: int, seen: Any) -> Any:
    """Whether an equal hash is in `seen`, a hash table of indices for n hashes; puts the index i there if not."""
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
def _between(data: Any, lines: Any, one: int, other: int) -> Any:
    """(begin, stop) of the white space to put between two kept lines, of which all lines between are removed.

    It is the first stretch of white space between two lines that has the most newlines.
    """
    begins, stops = lines.begins, lines.stops
    begin, stop, most = 0, 0, -1
    for i in range(one, other):
        newlines = 0
        for k in range(stops[i], begins[i + 1]):
            newlines += data[k] == 0x0A
        if newlines > most:
            begin, stop, most = stops[i], begins[i + 1], newlines
    return begin, stop


@kernel
def _join_kept(data: Any, n: int, lines: Any, removed: Any, out: Any, at: Any) -> Any:
    """Copy the text `data` of n lines without the removed ones to out[at:]; returns where it ends there.

    White space before the first line and after the last stays.
    """
    begins, stops = lines.begins, lines.stops
    begin, stop = 0, begins[0]  # of the stretch that is still to be copied
    last = -1  # the last line that was kept
    for i in range(n):
        if not removed[i]:
            if last < i - 1:
                at = _copy(data, begin, stop, out, at)
                if last >= 0:
                    begin, stop = _between(data, lines, last, i)
                    at = _copy(data, begin, stop, out, at)
                begin = begins[i]
            stop = stops[i]
            last = i
    at = _copy(data, begin, stop, out, at)
    return _copy(data, stops[n - 1], data.size, out, at)


@kernel
def remove_lines(
    texts: Any, rule: Any, keep_first: bool, first_row: Any, repeated: Any, lines: Any, marks: Any, out: Any
) -> Any:
    """Write the texts without repeated lines to `out`, a Trimmed; returns whether any line was removed.

    Takes LineTexts, LineRule and Repeated; the row of text i is first_row + i. `lines` and `marks` are room for the
    lines of a text. If no line is removed, nothing is written to `out.content`.
    """
    shift = uint64(64)
    while 1 << int64(uint64(64) - shift) < repeated.starts.size - 1:
        shift -= uint64(1)
    at, copied = 0, texts.offsets[0]
    any_gone = False
    for text in range(texts.offsets.size - 1):
        start, end = texts.offsets[text], texts.offsets[text + 1]
        p = readable(texts, start, end)
        n = scan(p, p + end - start, rule, lines)
        gone = total = 0
        any_first = False
        for i in range(n):
            marks.removed[i] = False
            if lines.words[i] >= rule.min_words:
                number = _find(lines.hashes[i], repeated, shift)
                if number >= 0:
                    marks.removed[i] = True
                    if keep_first and repeated.first[number] == first_row + uint64(text):
                        if not any_first:
                            marks.seen[: 4 * n] = -1
                            any_first = True
                        marks.removed[i] = _repeats(lines.hashes, i, n, marks.seen)
            gone += marks.removed[i]
            total += 0 if marks.removed[i] else lines.words[i]
        if gone:
            at = _copy(texts.content, copied, start, out.content, at)
            at = _join_kept(texts.content[start:end], n, lines, marks.removed, out.content, at)
            copied = end
            any_gone = True
        out.offsets[text + 1] = at + end - copied
        out.removed[text], out.words[text] = gone, total
    if any_gone:
        _copy(texts.content, copied, texts.offsets[-1], out.content, at)
    return any_gone
