"""SIGNATURES -> edges between documents that may be alike, out of core: a shuffle through files and nothing else.

Map: `write_keys` writes the keys of each unit's documents, partitioned by their first bits. Reduce: `partition_edges`
takes one range of keys out of every unit's file, so that equal ones come together, and joins the documents that have
one in common. Both work on any storage that can read a range.

A pairs file is little-endian. First SLOTS + 1 byte offsets, 8 bytes each, then for each slot its records of 12 bytes:

    slot s      offsets[s] to offsets[s + 1]      key (8 bytes), row (4 bytes)

A slot is an equal range of keys, and partition `part` of `parts` is SLOTS / parts neighbouring slots: their offsets
are one short read, their records another. A row counts within the unit, so that a file depends on its own documents
alone. Within a slot records stay in input order: sorting them would help nobody, because the reducer groups by hashing,
in time linear in the records, however many of them are equal. Nothing here depends on a moment or a number of threads:
the same sources in the same order give the same bytes.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.kernels import exchange as kernels
from corpus.dedup.sections import read_range, room

SLOTS = 1024
EDGES_AT_A_TIME = 1 << 20  # that `read_edges` hands out

_HEADER = 8 * (SLOTS + 1)
_RECORD = 12  # bytes
_MOST = 2**31 - 1  # records of a slot: they are numbered in 32 bits


class PairFile(NamedTuple):
    """A unit's pairs file: rows in all units before it, `read(start, length)`, the bytes of a range, and its name."""

    first_row: int
    read: Callable[[int, int], bytes]
    name: str = "pairs"


def write_keys(batches: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]], target: Path) -> int:
    """Write (keys, their rows within the unit) as a pairs file; returns the number of records.

    In memory are the keys, twice: about 340 bytes a document with 14 bands.
    """
    portions = [(np.empty(0, np.uint64), np.empty(0, np.uint32)), *batches]
    keys, rows = (np.concatenate(columns) for columns in zip(*portions, strict=True))
    del portions  # before the records take as much again
    starts = np.zeros(SLOTS + 1, np.int64)
    records = np.empty((len(keys), 3), np.uint32)
    kernels.partition(keys, rows, starts, records)
    with target.open("wb") as file:
        file.write((_HEADER + _RECORD * starts).astype("<u8").data)
        file.write(records.astype("<u4", copy=False).data)
    return len(records)


def partition_edges(sources: Sequence[PairFile], part: int, parts: int, threads: int = 1) -> NDArray[np.uint64]:
    """Edges between the documents that keys of one partition join: uint64[n, 2], (lower row, higher row).

    Of the documents that have a key in common, each is joined to the first, once for each such key: to join documents
    once more costs less than to sort the edges. Rows count over all units. `sources` come in the order of their rows;
    `parts` is a power of two, 1024 at the most. Up to `threads` reads are under way at a time, for storage that is far
    away. In memory are the partition's records and edges. Raises ValueError naming a file that is no pairs file, ends
    too early or has a row that its unit has not, and at more equal keys in a slot than can be numbered.
    """
    if not 0 <= part < parts <= SLOTS or parts & (parts - 1):
        raise ValueError(f"partition {part} of {parts}: the number of partitions is a power of two up to {SLOTS}")
    slots = SLOTS // parts
    # Rows of each unit; what is not known of the last one is not checked.
    units = [*(after.first_row - source.first_row for source, after in itertools.pairwise(sources)), 2**32]
    with ThreadPoolExecutor(threads) as pool:
        offsets = list(pool.map(lambda source: _offsets(source, part * slots, slots), sources))
        starts = np.cumsum([0, *((found[-1] - found[0]) // _RECORD for found in offsets)], dtype=np.int64)
        records = room(starts, np.uint32, sources)
        range_ = part * (2**32 // parts), (part + 1) * (2**32 // parts)

        def fill(number: int) -> None:
            source, (start, end) = sources[number], offsets[number][[0, -1]]
            data = read_range(source, int(start), int(end - start))
            unit = np.frombuffer(data, "<u4").astype(np.uint32, copy=False).reshape(-1, 3)
            rows, least, most = kernels.copy_records(unit, records[starts[number] : starts[number + 1]])
            if rows and not (range_[0] <= least and most < range_[1]):
                raise ValueError(
                    f"{source.name}: keys of another partition than {part} of {parts}; remove it to make it again"
                )
            if rows > units[number]:
                raise ValueError(f"{source.name}: row {rows - 1} of {units[number]}; remove it to make it again")

        list(pool.map(fill, range(len(sources))))
    borders = np.empty((slots + 1, len(sources)), np.int64)
    for number, found in enumerate(offsets):
        borders[:, number] = starts[number] + (found - found[0]) // _RECORD
    first_rows = np.array([source.first_row for source in sources], np.uint64)
    return np.concatenate([_slot_edges(records, *limits, first_rows) for limits in itertools.pairwise(borders)])


def write_edges(edges: NDArray[np.uint64], path: Path) -> None:
    """Edges as little-endian uint64 words: their number, a CRC-32 of them, then two words an edge."""
    data = edges.astype("<u8", copy=False).data
    with path.open("wb") as file:
        file.write(np.array([len(edges), zlib.crc32(data)], "<u8").data)
        file.write(data)


def read_edges(stream: BinaryIO) -> Iterator[NDArray[np.uint64]]:
    """What `write_edges` wrote, uint64[n, 2] with n up to EDGES_AT_A_TIME. Raises ValueError naming the file, after the
    last edge, if they are not those that were written.
    """
    head, count, checksum = stream.read(16), 0, 0
    while data := stream.read(16 * EDGES_AT_A_TIME):
        if len(data) % 16:
            break
        count, checksum = count + len(data) // 16, zlib.crc32(data, checksum)
        yield np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(-1, 2)
    if data or head != np.array([count, checksum], "<u8").tobytes():
        raise ValueError(f"{getattr(stream, 'name', 'edges')}: damaged edges; remove it to make it again")


def _offsets(source: PairFile, first: int, slots: int) -> NDArray[np.int64]:
    """Where neighbouring slots begin and, last, where they end: int64[slots + 1], bytes."""
    offsets = np.frombuffer(read_range(source, 8 * first, 8 * (slots + 1)), "<u8").astype(np.int64)
    if np.diff(offsets).min() < 0 or offsets[0] < _HEADER or ((offsets - _HEADER) % _RECORD).any():
        raise ValueError(f"{source.name}: not a pairs file; remove it to make it again")
    return offsets


def _slot_edges(
    records: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64], first_rows: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Edges between equal keys of a slot, whose records of source i are records[starts[i]:ends[i]]."""
    count = int((ends - starts).sum())
    seen = np.empty((_power_of_two(count // 8 + 1), 2), np.uint64)
    keys, rows = np.empty(count, np.uint64), np.empty(count, np.uint64)
    count = kernels.repeated(records, starts, ends, first_rows, seen, keys, rows)
    if count > _MOST:
        raise ValueError(f"{count} records of repeated keys in one of {SLOTS} ranges: no more than {_MOST} are joined")
    edges = np.empty((count, 2), np.uint64)
    table = np.empty(_power_of_two(2 * count + 2), np.int32)
    return edges[: kernels.star_edges(keys[:count], rows[:count], table, edges)]


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
