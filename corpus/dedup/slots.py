"""Files of records by slots, which are equal ranges of a 64-bit key: how a pass reads its part of many files.

A file is little-endian: SLOTS + 1 words of 8 bytes, then the records of all slots. The lower half of word s is the
number of the first record of slot s, the upper half the CRC-32 of its records; the last word has the number of all
records. Partition `part` of `parts` is SLOTS / parts neighbouring slots: one short read of their words, and one read of
their records. A flipped bit in a word or a record makes a slot differ from its checksum.

Files of earlier versions have byte offsets in their words, and no checksums. An upper half is never 0 in a file with
checksums, so the two are told apart by any word.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.sections import read_range

SLOTS = 1024

_HEADER = 8 * (SLOTS + 1)


class PairFile(NamedTuple):
    """A committed file of keys or hashes and the rows of their documents.

    first_row  the number over all files of its first row
    read       (start, length) -> the bytes of this range
    name       for error messages
    """

    first_row: int
    read: Callable[[int, int], bytes]
    name: str = "pairs"


class Slots(NamedTuple):
    """Neighbouring slots of a file.

    bounds     int64[slots + 1]: the number of the first record of each slot, and at last the end
    checksums  the CRC-32 of the records of each slot; empty in a file without checksums
    size       bytes of a record
    """

    bounds: NDArray[np.int64]
    checksums: list[int]
    size: int


def slot_words(records: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The words of a file of these records (little-endian); slot s begins at record starts[s]: uint64[SLOTS + 1].

    Raises ValueError if there are more records than 32 bits count.
    """
    if starts[-1] >= 2**32:
        raise ValueError(f"{starts[-1]} records for one file: no more than {2**32 - 1} can be numbered")
    checksums = [_checksum(records[start:end]) for start, end in itertools.pairwise(starts.tolist())]
    return (np.array([*checksums, 1], np.uint64) << np.uint64(32) | starts.astype(np.uint64)).astype("<u8")


def read_slots(file: PairFile, first: int, slots: int, size: int, kind: str) -> Slots:
    """Where `slots` slots from `first` on are, in a file of records of `size` bytes.

    Raises ValueError naming the file if it is not a file of such records (`kind`, for the message).
    """
    words = np.frombuffer(read_range(file, 8 * first, 8 * (slots + 1)), "<u8").astype(np.uint64)
    bounds, checksums = (words & np.uint64(2**32 - 1)).astype(np.int64), (words >> np.uint64(32)).tolist()
    is_whole = all(checksums)
    if not any(checksums):  # byte offsets of an earlier version
        checksums = []
        is_whole = bool(bounds[0] >= _HEADER and not ((bounds - _HEADER) % size).any())
        bounds = (bounds - _HEADER) // size
    if not is_whole or np.diff(bounds).min() < 0:
        raise ValueError(f"{file.name}: not a file of {kind}; remove it to make it again")
    return Slots(bounds, checksums[:-1], size)


def read_records(file: PairFile, slots: Slots) -> bytes:
    """The records of neighbouring slots. Raises ValueError naming a file that differs from its checksums."""
    first, end = slots.bounds[[0, -1]].tolist()
    data = read_range(file, _HEADER + slots.size * first, slots.size * (end - first))
    view = memoryview(data)
    ends = (slots.size * (slots.bounds - first)).tolist()
    for (start, stop), checksum in zip(itertools.pairwise(ends), slots.checksums, strict=False):
        if _checksum(view[start:stop]) != checksum:
            raise ValueError(f"{file.name}: records differ from their checksum; remove it to make it again")
    return data


def _checksum(records: Any) -> int:
    """The CRC-32 of some records; never 0, which stands for no checksum."""
    return zlib.crc32(records) or 1
