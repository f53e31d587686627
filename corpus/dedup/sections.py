"""Files of sections: little-endian uint64 words, one for each section and one for the end, then the sections.

To read a section is to read two words and the bytes between their offsets: two requests to any storage that can read a
range, however many sections there are. A section is any number of Arrow record batches, one after the other, without
their schema, which writer and reader both know; then a CRC-32 of the schema and the batches in 8 bytes. The checksum is
needed because Arrow trusts the lengths in a message: a damaged message can crash the process. A section without batches
is empty.

The lower 48 bits of a word are a byte offset, the upper 16 bits are 1 and a hash of the offset in 15 bits: with another
offset, a section would seem to be empty. The upper bits are 0 in files of earlier versions.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_CHECK = 8  # bytes of a checksum
_OFFSET = 48  # bits of an offset in a word
_IS_HASHED = np.uint64(1 << 63)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: multiplicative hashing (Knuth, TAOCP 6.4)


class Ranges(Protocol):
    """A committed file: `read(start, length)`, the bytes of a range, and its name."""

    @property
    def read(self) -> Callable[[int, int], bytes]: ...

    @property
    def name(self) -> str: ...


def read_range(file: Ranges, start: int, length: int) -> bytes:
    """Exactly `length` bytes from `start` on.

    Raises ValueError naming a file that ends before, and if the bytes do not fit into memory: lengths are read from
    files, and a damaged file may have any.
    """
    try:
        data = file.read(start, length) if length else b""
    except (MemoryError, OverflowError):
        raise ValueError(_too_much(file, f"{length} bytes at {start}")) from None
    if len(data) != length:
        raise ValueError(f"{file.name}: {len(data)} of {length} bytes at {start}; remove it to make it again")
    return data


def room(starts: NDArray[np.int64], dtype: type[np.unsignedinteger[Any]], files: Sequence[Ranges]) -> NDArray[Any]:
    """Memory for the records of all files, three numbers each; file i has the records starts[i] to starts[i + 1].

    Raises ValueError naming the file with the most records if there is not enough memory.
    """
    try:
        return np.empty((starts[-1], 3), dtype)
    except (MemoryError, ValueError):
        counts = np.diff(starts)
        raise ValueError(_too_much(files[int(counts.argmax())], f"{counts.max()} records")) from None


def _too_much(file: Ranges, what: str) -> str:
    return f"{file.name}: no memory for {what}; if it is not that long, remove it to make it again"


class Sections(NamedTuple):
    """A committed file of sections: `read(start, length)`, the bytes of a range, and its name."""

    read: Callable[[int, int], bytes]
    name: str


class SectionWriter:
    """Writes record batches to sections, in any order. A spool file beside the target has them until `close`."""

    def __init__(self, target: Path, count: int) -> None:
        self._target, self._spool_path = target, target.with_name(target.name + ".spool")
        self._spool = self._spool_path.open("w+b")
        self._spooled: list[tuple[int, int, int]] = []  # section, start, length
        self._schema: pa.Schema | None = None
        self._count = count

    def write(self, section: int, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._schema = batch.schema
            data = batch.serialize()
            self._spooled.append((section, self._spool.tell(), len(data)))
            self._spool.write(data)

    def close(self) -> None:
        """Write the target, section by section, and remove the spool."""
        sizes = np.zeros(self._count, np.int64)
        for section, _, length in self._spooled:
            sizes[section] += length
        sizes[sizes > 0] += _CHECK
        header = 8 * (self._count + 1)
        offsets = header + np.concatenate([[0], np.cumsum(sizes)])
        with self._spool, self._target.open("wb") as file:
            file.write(words(offsets).tobytes())
            for _, parts in itertools.groupby(sorted(self._spooled, key=lambda item: item[:2]), lambda item: item[0]):
                checksum = _seed(self._schema)
                for _, start, length in parts:
                    self._spool.seek(start)
                    data = self._spool.read(length)
                    checksum = zlib.crc32(data, checksum)
                    file.write(data)
                file.write(checksum.to_bytes(_CHECK, "little"))
        self._spool_path.unlink()


def read_section(file: Sections, section: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The record batches of a section. Raises ValueError naming a file that is damaged or has another schema."""
    start, end = offsets(file.name, read_range(file, 8 * section, 16))
    if start < 16 or end < start or (start | end) % 8:  # Arrow's messages are padded
        raise ValueError(_damaged(file, section, "its place"))
    data = memoryview(read_range(file, start, end - start))
    body, check = data[:-_CHECK], data[-_CHECK:]
    if data and zlib.crc32(body, _seed(schema)).to_bytes(_CHECK, "little") != check:
        raise ValueError(_damaged(file, section, "its checksum"))
    stream = pa.BufferReader(body)
    while stream.tell() < len(body):
        yield pa.ipc.read_record_batch(pa.ipc.read_message(stream), schema)


def words(offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The words of byte offsets: uint64, little-endian."""
    places = offsets.astype(np.uint64)
    hashes = places * _SPREAD >> np.uint64(_OFFSET + 1)
    return (_IS_HASHED | hashes << np.uint64(_OFFSET) | places).astype("<u8")


def offsets(name: str, data: bytes) -> list[int]:
    """The byte offsets in some words of a file. Raises ValueError with its `name` if they differ from their hashes."""
    if not data or len(data) % 8:
        raise ValueError(f"{name}: ends within its offsets; remove it to make it again")
    found = np.frombuffer(data, "<u8").astype(np.uint64)
    places = found & np.uint64((1 << _OFFSET) - 1)
    # Offsets of earlier versions have no hash.
    if (found >> np.uint64(_OFFSET)).any() and (words(places.astype(np.int64)) != found).any():
        raise ValueError(f"{name}: offsets differ from their hashes; remove it to make it again")
    return [int(place) for place in places]


def _seed(schema: pa.Schema | None) -> int:
    """The start value of a section's checksum, from the names and types of the columns."""
    return zlib.crc32(schema.remove_metadata().serialize()) if schema else 0


def _damaged(file: Sections, section: int, what: str) -> str:
    return f"{file.name}: section {section} is damaged ({what}); remove it to make it again"
