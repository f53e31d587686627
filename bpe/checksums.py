"""Parquet files and JSON objects whose every byte has a checksum, for `bpe`, `corpus` and `model` alike.

In: a finished Parquet file. `add_checksums` puts a block of checksums between its data and its footer:

    column chunks | CRC-32 of each column chunk, 4 bytes each | b"CRC32-v1" | CRC-32 of the footer | footer

The footer is the metadata, their length and `PAR1`. Parquet finds the footer from the end of the file and the data by
offsets in the footer, so other programs read the file as before. `open_parquet` uses no byte of the footer or of a
column chunk that it has not compared with its checksum.

The page checksums of Parquet itself (`write_page_checksum=True`) cover the data of pages, but neither the headers of
pages nor the footer: a flipped bit in a page header gave one value more, without an error. Files of other programs have
page checksums at most; of these files, `open_parquet` verifies the page checksums.

A JSON object has the CRC-32 of its other fields in the field `checksum`: `json_checksum` and `read_json`.
"""

from __future__ import annotations

import bisect
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bpe.parse import parse_json

_MAGIC = b"CRC32-v1"
_MARK = len(_MAGIC) + 4  # bytes of the magic and the checksum of the footer
_END = 8  # bytes of the length of the metadata and of PAR1
_TAIL = 1 << 16  # bytes that are read from the end of a file: most footers are shorter


class _Footer(NamedTuple):
    """The end of a Parquet file: its last bytes, from the metadata on; whether a block of checksums is before it."""

    data: bytes
    has_checksums: bool

    @property
    def metadata(self) -> pq.FileMetaData:
        return pq.read_metadata(pa.BufferReader(b"PAR1" + self.data))


class _Chunk(NamedTuple):
    """A column chunk: the range of its bytes, and their CRC-32."""

    start: int
    end: int
    checksum: int


def add_checksums(file: BinaryIO) -> None:
    """Put the checksums into a finished Parquet file, which is open for reading and writing."""
    footer = _read_footer(file)
    checksums = [zlib.crc32(_read(file, start, end)) for start, end in _places(footer.metadata)]
    file.seek(-len(footer.data), io.SEEK_END)
    file.write(np.array(checksums, "<u4").tobytes() + _mark(footer.data) + footer.data)


def open_parquet(file: BinaryIO, buffer: int = 0) -> pq.ParquetFile:
    """The Parquet file in an open file. What is read from it is compared with its checksums.

    `buffer` is the number of bytes of a column chunk that are read at a time, 0 for all of it; a file that has our
    checksums is always read by whole column chunks.

    Read it with `use_threads=False`: an Arrow thread that still reads a Python file when the process ends kills the
    process (https://github.com/apache/arrow/issues/34314). If the file is damaged, this and every
    reading of rows raise what Arrow raises: ArrowInvalid (a ValueError) for bytes that differ from their checksum.
    """
    footer = _read_footer(file)
    if not footer.has_checksums:
        file.seek(0)
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=buffer, page_checksum_verification=True)
    metadata = footer.metadata
    places = _places(metadata)
    end = file.seek(0, io.SEEK_END) - len(footer.data) - _MARK
    checksums = np.frombuffer(_read(file, end - 4 * len(places), end), "<u4").tolist()
    chunks = sorted(_Chunk(*place, checksum) for place, checksum in zip(places, checksums, strict=True))
    # Without pre_buffer, Arrow reads one column chunk at a time, each of them whole.
    return pq.ParquetFile(_CheckedFile(file, chunks), metadata=metadata, pre_buffer=False)


class _CheckedFile(io.RawIOBase):
    """A file of which a column chunk is read whole, and compared with its checksum, before any byte of it is used."""

    def __init__(self, file: BinaryIO, chunks: list[_Chunk]) -> None:
        self._file, self._chunks = file, chunks
        self._ends = [chunk.end for chunk in chunks]
        self._at, self._size = 0, file.seek(0, io.SEEK_END)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        start, end = self._at, self._size if size < 0 else min(self._at + size, self._size)
        parts = list(self._parts(start, end))
        self._at = max(start, end)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _parts(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a range: the column chunks in it, cut to the range, and what is between them."""
        number = bisect.bisect_right(self._ends, start)
        while start < end:
            chunk = self._chunks[number] if number < len(self._chunks) else None
            if chunk is None or chunk.start >= end:
                yield _read(self._file, start, end)
                return
            if chunk.start > start:
                yield _read(self._file, start, chunk.start)
            data = _read(self._file, chunk.start, chunk.end)
            if zlib.crc32(data) != chunk.checksum:
                raise pa.ArrowInvalid(f"bytes {chunk.start} to {chunk.end} differ from their checksum")
            whole = start <= chunk.start and chunk.end <= end
            yield data if whole else data[max(start - chunk.start, 0) : end - chunk.start]
            start, number = chunk.end, number + 1


def json_checksum(fields: dict[str, Any]) -> str:
    """CRC-32, 8 hex digits, of the fields of a JSON object; their order and white space in the file do not matter."""
    parsed = json.loads(json.dumps(fields))  # keys are strings now, as a reader will find them
    return f"{zlib.crc32(json.dumps(parsed, sort_keys=True, separators=(',', ':')).encode()):08x}"


def read_json(data: bytes) -> dict[str, Any]:
    """The fields of a JSON object but for `checksum`. Objects without a `format`, or of format 1, have no checksum.

    Raises ValueError if `data` is no such object, or differs from its checksum.
    """
    fields = parse_json(data)
    if not isinstance(fields, dict):
        raise ValueError(f"a {type(fields).__name__} where a JSON object belongs")
    checksum = fields.pop("checksum", None)
    is_checked = fields.setdefault("format", 1) != 1 or checksum is not None
    try:
        differs = is_checked and checksum != json_checksum(fields)
    except RecursionError:  # what can just be read may be too deep to be written
        raise ValueError("brackets are nested too deep") from None
    if differs:
        raise ValueError("it differs from its checksum")
    return fields


def _read_footer(file: BinaryIO) -> _Footer:
    """The footer, compared with its checksum; raises ArrowInvalid if it differs. What is no footer comes out empty."""
    size = file.seek(0, io.SEEK_END)
    tail = _read(file, max(0, size - _TAIL), size)
    length = int.from_bytes(tail[-_END:-4], "little") + _END
    if tail[-4:] != b"PAR1" or length > size:
        return _Footer(b"", False)
    if length + _MARK > len(tail):
        tail = _read(file, max(0, size - length - _MARK), size)
    footer, mark = tail[-length:], tail[-length - _MARK : -length]
    if not mark.startswith(_MAGIC):
        return _Footer(footer, False)
    if mark != _mark(footer):
        raise pa.ArrowInvalid("its footer differs from its checksum")
    return _Footer(footer, True)


def _mark(footer: bytes) -> bytes:
    return _MAGIC + zlib.crc32(footer).to_bytes(4, "little")


def _places(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(start, end) of each column chunk, by row group and column."""
    chunks = (
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    )
    return [_place(chunk) for chunk in chunks]


def _place(chunk: Any) -> tuple[int, int]:
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, start + chunk.total_compressed_size


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)
