"""Bytes -> lines with their offsets, for a range of a file: a line belongs to the range in which it begins.

Lines end with a newline; the last one may end with the file. In memory are one block and one line, and of a line that
is too long nothing but its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

BLOCK = 1 << 20  # bytes that are read at a time


class Lines(NamedTuple):
    """Consecutive lines, without their newlines, or one line that is too long.

    offset  the byte at which the first one begins
    lines   the lines; of a line that is too long, none
    long    the bytes of the line that is too long; 0: it is none
    """

    offset: int
    lines: list[bytes]
    long: int = 0


def read_lines(stream: Any, start: int, end: int, longest: int) -> Iterator[Lines]:
    """The lines that begin in the bytes from `start` to before `end` (-1: to the end of the file), in order.

    A line of more than `longest` bytes may come as its length alone; it does if it has `BLOCK` bytes more.
    """
    position = _first_line(stream, start) if start else 0
    held: list[bytes] = []  # of the line at `position`, which is not complete
    size = 0
    while (end < 0 or position < end) and (piece := stream.read(BLOCK)):
        cut = piece.rfind(b"\n")
        if cut >= 0 and size > longest:  # the end of a line that is too long
            first = piece.index(b"\n")
            yield Lines(position, [], size + first)
            position, size, held = position + size + first + 1, 0, []
            piece, cut = piece[first + 1 :], cut - first - 1
            if end >= 0 and position >= end:
                return
        if cut >= 0:
            held.append(piece[:cut])
            block = b"".join(held)
            yield from _within(Lines(position, block.split(b"\n")), end)
            position, held, size = position + len(block) + 1, [], 0
        rest = piece[cut + 1 :]
        size += len(rest)
        held = [*held, rest] if size <= longest else []
    if size and (end < 0 or position < end):
        yield Lines(position, [b"".join(held)]) if size <= longest else Lines(position, [], size)


def _first_line(stream: Any, start: int) -> int:
    """Go to the first line that begins at `start` or behind it; returns where it begins."""
    position = start - 1
    stream.seek(position)
    while piece := stream.read(BLOCK):
        cut = piece.find(b"\n")
        if cut >= 0:
            stream.seek(position + cut + 1)
            return int(position + cut + 1)
        position += len(piece)
    return int(position)


def _within(block: Lines, end: int) -> Iterator[Lines]:
    """The lines of a block that begin before `end`."""
    offset, count = block.offset, len(block.lines)
    if end >= 0 and offset + sum(map(len, block.lines)) + count > end:
        count = 0
        for line in block.lines:
            if offset >= end:
                break
            offset, count = offset + len(line) + 1, count + 1
    if count:
        yield Lines(block.offset, block.lines[:count])
