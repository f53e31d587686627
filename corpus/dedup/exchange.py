"""SIGNATURES' keys -> edges between documents that may be alike, out of core: a shuffle through files.

Map: `write_keys` writes the keys of a group's documents, partitioned by their first bits. Reduce: `partition_edges`
reads one partition from the files of all groups, so that equal keys come together, and joins the documents that have a
key in common. Both work on any storage that can read a range of a file.

A file of pairs is a file of records by slots (`corpus.dedup.slots`). A record has 12 bytes, little-endian: a key (8
bytes) and a row (4 bytes). A row counts within the group, so that a file depends on its own documents alone. Records of
a slot stay in input order: the reducer groups them by hashing, in time linear in their number however
many of them are equal, so it would not be faster if they were sorted. The same files in the same order give the same
edges, whatever the number of threads.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.kernels import exchange as kernels
from corpus.dedup.sections import room
from corpus.dedup.slots import SLOTS, PairFile, read_records, read_slots, slot_words

EDGES_AT_A_TIME = 1 << 20  # edges of a portion of `read_edges`

_RECORD = 12  # bytes
_MOST = 2**31 - 1  # records of a slot: their numbers have 32 bits


def write_keys(batches: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]], target: Path) -> int:
    """Write batches of (keys, row within the group of each) as a file of pairs; returns the number of records.

    In memory are the keys, twice: about 340 bytes a document with 14 bands.
    """
    records, starts = _partitioned(batches)
    with target.open("wb") as file:
        file.write(slot_words(records.astype("<u4", copy=False), starts).data)
        file.write(records.astype("<u4", copy=False).data)
    return len(records)


def edges_in_memory(batches: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]]) -> NDArray[np.uint64]:
    """The edges of `partition_edges` for all keys of some batches of (keys, row of each), without files."""
    records, starts = _partitioned(batches)
    first_rows = np.zeros(1, np.uint64)
    slots = zip(starts[:-1, None], starts[1:, None], strict=True)
    return np.concatenate([_slot_edges(records, *limits, first_rows) for limits in slots])


def _partitioned(
    batches: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint32]]],
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The records of batches of (keys, row of each key), sorted by slot.

    Returns (records uint32[n, 3], the first record of each slot int64[SLOTS + 1]).
    """
    portions = [(np.empty(0, np.uint64), np.empty(0, np.uint32)), *batches]
    keys, rows = (np.concatenate(columns) for columns in zip(*portions, strict=True))
    del portions  # the records take as much memory again
    starts = np.zeros(SLOTS + 1, np.int64)
    records = np.empty((len(keys), 3), np.uint32)
    kernels.partition(keys, rows, starts, records)
    return records, starts


def partition_edges(files: Sequence[PairFile], part: int, parts: int, threads: int = 1) -> NDArray[np.uint64]:
    """Edges between the documents that have a key of one partition in common: uint64[n, 2], (lower row, higher row).

    Of the documents that have one key in common, each is joined to the first, once for each such key: to join two
    documents again costs less than to sort the edges. Rows count over all files, which come in the order of their rows.
    `parts` is a power of two up to 1024. Up to `threads` reads are under way at a time, for storage that is far away.
    In memory are the partition's records and edges. Raises ValueError naming a file that is no file of pairs, ends too
    early or has a row beyond its group, and if a slot has more equal keys than can be numbered.
    """
    if not 0 <= part < parts <= SLOTS or parts & (parts - 1):
        raise ValueError(f"partition {part} of {parts}: the number of partitions is a power of two up to {SLOTS}")
    slots = SLOTS // parts
    # The rows of each file. The number of the last file's rows is not known, and not checked.
    counts = [*(after.first_row - file.first_row for file, after in itertools.pairwise(files)), 2**32]
    key_range = part * (2**32 // parts), (part + 1) * (2**32 // parts)  # of the keys' high halves
    with ThreadPoolExecutor(threads) as pool:
        places = list(pool.map(lambda file: read_slots(file, part * slots, slots, _RECORD, "pairs"), files))
        starts = np.cumsum([0, *(place.bounds[-1] - place.bounds[0] for place in places)], dtype=np.int64)
        records = room(starts, np.uint32, files)

        def fill(number: int) -> None:
            file = files[number]
            data = read_records(file, places[number])
            pairs = np.frombuffer(data, "<u4").astype(np.uint32, copy=False).reshape(-1, 3)
            rows, least, most = kernels.copy_records(pairs, records[starts[number] : starts[number + 1]])
            if rows and not (key_range[0] <= least and most < key_range[1]):
                raise ValueError(
                    f"{file.name}: keys of another partition than {part} of {parts}; remove it to make it again"
                )
            if rows > counts[number]:
                raise ValueError(f"{file.name}: row {rows - 1} of {counts[number]}; remove it to make it again")

        list(pool.map(fill, range(len(files))))
    borders = np.empty((slots + 1, len(files)), np.int64)  # by slot and file, the first record
    for number, place in enumerate(places):
        borders[:, number] = starts[number] + place.bounds - place.bounds[0]
    first_rows = np.array([file.first_row for file in files], np.uint64)
    return np.concatenate([_slot_edges(records, *limits, first_rows) for limits in itertools.pairwise(borders)])


def write_edges(edges: NDArray[np.uint64], path: Path) -> None:
    """Write edges as little-endian uint64 words: their number, a CRC-32 of them, then two words for each edge."""
    data = edges.astype("<u8", copy=False).data
    with path.open("wb") as file:
        file.write(np.array([len(edges), zlib.crc32(data)], "<u8").data)
        file.write(data)


def read_edges(stream: BinaryIO) -> Iterator[NDArray[np.uint64]]:
    """The edges of a file of `write_edges`, in portions: uint64[n, 2], n up to EDGES_AT_A_TIME.

    Raises ValueError naming a damaged file, after its last edge.
    """
    head, count, checksum = stream.read(16), 0, 0
    while data := stream.read(16 * EDGES_AT_A_TIME):
        if len(data) % 16:
            break
        count, checksum = count + len(data) // 16, zlib.crc32(data, checksum)
        yield np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(-1, 2)
    if data or head != np.array([count, checksum], "<u8").tobytes():
        raise ValueError(f"{getattr(stream, 'name', 'edges')}: damaged edges; remove it to make it again")


def _slot_edges(
    records: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64], first_rows: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Edges between equal keys of a slot. Its records of file i are records[starts[i]:ends[i]]."""
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
