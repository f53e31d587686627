"""Counted pretokens that do not fit in memory: written to temporary files by hash, read back a partition at a time.

A pretoken always falls into the same partition, so the sums over one partition are final. The files lie in one folder
of `tempfile` (TMPDIR says where). Leaving the `with` block removes it, also by an error or Ctrl-C.

A file holds blocks: two int64 (how many int64 of records, how many long pretokens), the records, the lengths and the
counts of the long pretokens (int64), their bytes.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from bpe.kernels.count import RECORD, Counted, partition_short

BITS = 6  # of the hash, for 64 partitions
CHUNK = 1 << 18  # records that are partitioned at a time, 6 MB
NONE: NDArray[np.int64] = np.empty(0, np.int64)


class Spill:
    """A temporary folder of partitions, made by the first write. Threads may share it."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def used(self) -> bool:
        """Whether anything was written."""
        return self._folder is not None

    def write(self, counted: Counted) -> None:
        """Append counted pretokens to their partitions."""
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="bpe-count-")
            self._write_short(counted.short)
            self._write_long(counted)

    def _write_short(self, records: NDArray[np.int64]) -> None:
        partitioned, bounds = np.empty(CHUNK * RECORD, np.int64), np.zeros((1 << BITS) + 1, np.int64)
        for first in range(0, len(records), len(partitioned)):
            partition_short(records[first : first + len(partitioned)], BITS, bounds, partitioned)
            for number in range(1 << BITS):
                self._append(number, partitioned[RECORD * bounds[number] : RECORD * bounds[number + 1]], [], NONE)

    def _write_long(self, counted: Counted) -> None:
        by_partition: dict[int, list[int]] = {}
        for i in range(len(counted.counts)):
            by_partition.setdefault(_partition(_bytes(counted, i)), []).append(i)
        for number, indices in by_partition.items():
            self._append(number, NONE, [_bytes(counted, i) for i in indices], counted.counts[indices])

    def _append(self, number: int, records: NDArray[np.int64], long: list[bytes], counts: NDArray[np.int64]) -> None:
        if len(records) == len(long) == 0:
            return
        lengths = np.array([len(pretoken) for pretoken in long], np.int64)
        with self._path(number).open("ab") as file:
            np.array([len(records), len(long)], np.int64).tofile(file)
            for array in (records, lengths, counts):
                array.tofile(file)
            file.write(b"".join(long))

    def partitions(self) -> Iterator[Iterator[Counted]]:
        """The blocks of each partition. A file is removed after its last block is read."""
        for number in range(1 << BITS):
            if self._path(number).exists():
                yield self._blocks(self._path(number))

    def _blocks(self, path: Path) -> Iterator[Counted]:
        with path.open("rb") as file:
            while len(header := _read(file, np.int64, 2)):
                records = _read(file, np.int64, int(header[0]))
                lengths = _read(file, np.int64, int(header[1]))
                counts = _read(file, np.int64, int(header[1]))
                starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
                yield Counted(records, _read(file, np.uint8, int(starts[-1])), starts, counts)
        path.unlink()

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, f"{number:02}")


def _bytes(counted: Counted, i: int) -> bytes:
    return counted.content[counted.starts[i] : counted.starts[i + 1]].tobytes()


def _partition(pretoken: bytes) -> int:
    # Not Python's hash, which differs from process to process: equal runs write equal files.
    return int.from_bytes(pretoken[:8], "little") * 0x9E3779B97F4A7C15 >> 58 & ((1 << BITS) - 1)


def _read(file: IO[bytes], kind: type, size: int) -> NDArray:  # type: ignore[type-arg]
    return np.fromfile(file, kind, size)
