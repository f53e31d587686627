"""Files of sections: little-endian uint64 byte offsets, one for each section and one for the end, then the sections.

One who wants a section reads two offsets and the bytes between them: two requests to any storage that can read a
range, however many sections there are. A section here is any number of Arrow record batches, one after the other,
without their schema, which both sides know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Sections(NamedTuple):
    """A committed file of sections: `read(start, length)`, the bytes of a range, and its name."""

    read: Callable[[int, int], bytes]
    name: str


class SectionWriter:
    """Record batches into sections, in any order; they are spooled beside the target until `close` puts them in
    order.
    """

    def __init__(self, target: Path, count: int) -> None:
        self._target, self._spool_path = target, target.with_name(target.name + ".spool")
        self._spool = self._spool_path.open("w+b")
        self._found: list[tuple[int, int, int]] = []  # section, start, length
        self._count = count

    def write(self, section: int, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            data = batch.serialize()
            self._found.append((section, self._spool.tell(), len(data)))
            self._spool.write(data)

    def close(self) -> None:
        """Write the target, and remove the spool."""
        sizes = np.zeros(self._count, np.int64)
        for section, _, length in self._found:
            sizes[section] += length
        header = 8 * (self._count + 1)
        offsets = header + np.concatenate([[0], np.cumsum(sizes)])
        with self._spool, self._target.open("wb") as file:
            file.write(offsets.astype("<u8").tobytes())
            for _, start, length in sorted(self._found, key=lambda item: item[:2]):
                self._spool.seek(start)
                file.write(self._spool.read(length))
        self._spool_path.unlink()


def read_section(file: Sections, section: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The record batches of a section. Raises ValueError naming a file that is none of these."""
    start, end = np.frombuffer(file.read(8 * section, 16), "<u8").tolist()
    wrong = start < 16 or end < start or (start | end) % 8  # Arrow's messages are padded
    data = file.read(start, end - start) if end > start and not wrong else b""
    if wrong or len(data) != end - start:
        raise ValueError(f"{file.name}: section {section} is damaged; remove it to make it again")
    stream = pa.BufferReader(data)
    try:
        while stream.tell() < len(data):
            yield pa.ipc.read_record_batch(pa.ipc.read_message(stream), schema)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise ValueError(f"{file.name}: section {section} is damaged ({error}); remove it to make it again") from None
