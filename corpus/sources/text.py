"""Plain text -> rows: a document a file, a line, or a piece between separators.

A byte order mark at the beginning of a file is no part of the text. Pieces that are empty or all white space are no
rows. Lines end with a newline, before which a carriage return is left out; everything else of a text stays as it is.
In memory are at most one text and one block.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from corpus.schema import Drop
from corpus.sources.columns import Columns
from corpus.sources.documents import too_large
from corpus.sources.formats import LARGEST, File, Look, Table
from corpus.sources.lines import BLOCK, read_lines
from corpus.sources.packed import check_content, unpacked

BATCH_BYTES, BATCH_ROWS = 256 << 10, 1024  # of a table
_HEAD = 16  # bytes that tell what a file holds


def look(file: File, columns: Columns) -> Look:
    """A column `text`; nothing is read."""
    return Look(pa.schema([("text", pa.string())]))


def read(file: File, columns: Columns, kept: pa.Schema) -> Iterator[Table]:
    """The texts of the file's part, with the byte at which each begins. Raises Unreadable for another kind of file."""
    with unpacked(file.stream, file.path) as stream:
        if not file.part.start:
            check_content(stream.read(_HEAD), file.path)
    file.stream.seek(0)
    with unpacked(file.stream, file.path) as stream:
        texts: list[bytes | None] = []
        offsets: list[int] = []
        drops: dict[int, Drop] = {}
        size = 0
        for offset, text in _texts(stream, file.part, columns.by):
            if isinstance(text, int):
                drops[len(texts)] = too_large(text)
                texts.append(None)
            elif text.strip():
                texts.append(text)
                size += len(text)
            else:
                continue
            offsets.append(offset)
            if size >= BATCH_BYTES or len(texts) >= BATCH_ROWS:
                yield _table(texts, offsets, drops, file)
                texts, offsets, drops, size = [], [], {}, 0
        if texts:
            yield _table(texts, offsets, drops, file)


def _table(texts: list[bytes | None], offsets: list[int], drops: dict[int, Drop], file: File) -> Table:
    start, end, _ = file.part[1:]
    done = file.stream.tell() - start
    share = min(done / max((end if end > 0 else file.size) - start, 1), 1.0)
    return Table({"text": pa.array(texts, pa.binary())}, {}, pa.array(offsets, pa.int64()), drops, share)


def _texts(stream: Any, part: Any, by: str) -> Iterator[tuple[int, bytes | int]]:
    """(byte at which it begins, text) of each text; of a text that is too large, its length."""
    if by == "line":
        pieces = _lines(stream, part.start, part.end)
    elif by == "file":
        pieces = _whole(stream)
    else:
        pieces = _between(stream, by.encode())
    for offset, text in pieces:
        yield offset, text.removeprefix(codecs.BOM_UTF8) if isinstance(text, bytes) and not offset else text


def _lines(stream: Any, start: int, end: int) -> Iterator[tuple[int, bytes | int]]:
    for block in read_lines(stream, start, end, LARGEST):
        offset = block.offset
        if block.long:
            yield offset, block.long
        for line in block.lines:
            yield offset, line.removesuffix(b"\r")
            offset += len(line) + 1


def _whole(stream: Any) -> Iterator[tuple[int, bytes | int]]:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(BLOCK):
        size += len(piece)
        pieces = [*pieces, piece] if size <= LARGEST else []
    yield 0, b"".join(pieces) if size <= LARGEST else size


def _between(stream: Any, separator: bytes) -> Iterator[tuple[int, bytes | int]]:
    held = b""  # bytes from `position` on; of a text that is too large, its last bytes alone
    position = skipped = searched = 0
    while piece := stream.read(BLOCK):
        held += piece
        while (found := held.find(separator, searched)) >= 0:
            yield position, skipped + found if skipped else held[:found]
            position += skipped + found + len(separator)
            held, skipped, searched = held[found + len(separator) :], 0, 0
        searched = max(len(held) - len(separator) + 1, 0)
        if len(held) > LARGEST or skipped:
            skipped, held, searched = skipped + searched, held[searched:], 0
    yield position, skipped + len(held) if skipped else held
