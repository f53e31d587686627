"""The trainer's first half: counting pretokens.

A pretoken of up to SHORT bytes is its own key: 16 bytes, namely the pretoken with its length in the last byte. The
key lies beside the count in an open hash table, so that a hit costs two comparisons in one or two lines of the
processor's cache; in English text nearly all pretokens are hits. The bytes of longer pretokens lie in an arena, and a
second hash table finds them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import GOLDEN, hash_bytes, load8, load64, prefetch, same, store8, store64
from bpe.kernels.split import next_ends

SHORT = 15  # bytes
RECORD = 3  # int64 of a short pretoken: its first 8 bytes, the others with the length in the last byte, the count
BATCH = 512  # pretokens that are cut, then hashed, then counted together; they fit into the nearest cache
SCRATCH = 4 * BATCH + 32

MIX = -0x61C8864E7A143579  # odd, and no multiple of GOLDEN

SHORT_USED, LONG_USED = 0, 1  # in `Table.used`
TEXT, BYTE = 0, 1  # in `Run.reached`


class Table(NamedTuple):
    """Pretokens and their counts, with room for more.

    Long pretoken i is `arena[starts[i] : starts[i + 1]]`, seen `counts[i]` times. A slot that is not 0 holds 32 bits of
    a pretoken's hash above i + 1.
    """

    short: NDArray[np.int64]  # records, zeros where there is none; at most 5/8 of them are used
    slots: NDArray[np.uint64]  # at most half of them are used
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    arena: NDArray[np.uint8]
    used: NDArray[np.int64]  # the numbers of short and of long pretokens


class Counted(NamedTuple):
    """Pretokens and their counts. Short ones are the records of `short`, empty records among them. Long pretoken i is
    `content[starts[i] : starts[i + 1]]`, seen `counts[i]` times."""

    short: NDArray[np.int64]
    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


class Run(NamedTuple):
    """Texts to count. Text i lies from address `text + offsets[i]` to `text + offsets[i + 1]`."""

    scheme: int  # as of `scan.next_boundary`, with its classes
    classes: int
    text: int
    limit: int  # bytes up to this address may be read
    offsets: NDArray[np.int64]
    skipped: NDArray[np.bool_]  # texts that are not counted
    reached: NDArray[np.int64]  # the text and the byte in it where counting goes on


@kernel
def _hash(low: int, high: int) -> int:
    """A hash of a short pretoken. Its low bits find the slot, its high bits the partition on disk."""
    h = (low ^ high * MIX) * GOLDEN
    h ^= h >> 32 & 0xFFFFFFFF
    h *= MIX
    return h ^ (h >> 29 & 0x7FFFFFFFF)


@kernel
def _count_short(low: int, high: int, times: int, short: int, mask: int) -> int:
    """Add `times` to the count of a short pretoken in the records at address `short`; 1 if it is new, else 0."""
    slot = _hash(low, high) & mask
    while True:
        at = short + 8 * RECORD * slot
        # The length is in `high`, so only an empty record holds 0 there.
        if load64(at + 8) == high and load64(at) == low:
            store64(at + 16, load64(at + 16) + times)
            return 0
        if load64(at + 8) == 0:
            store64(at, low)
            store64(at + 8, high)
            store64(at + 16, times)
            return 1
        slot = (slot + 1) & mask


@kernel
def _count_long(p: int, n: int, limit: int, times: int, table: Table) -> None:
    """Add `times` to the count of the long pretoken of n bytes at p."""
    mask, arena = len(table.slots) - 1, table.arena.ctypes.data
    tag = hash_bytes(p, n, limit)
    slot = tag & mask
    while True:
        entry = np.int64(table.slots[slot])
        if entry == 0:
            number = table.used[LONG_USED]
            start = table.starts[number]
            for k in range(n):
                store8(arena + start + k, load8(p + k))
            table.slots[slot] = tag << 32 | (number + 1)
            table.starts[number + 1], table.counts[number] = start + n, times
            table.used[LONG_USED] = number + 1
            return
        number = (entry & 0xFFFFFFFF) - 1
        start = table.starts[number]
        if entry >> 32 & 0xFFFFFFFF == tag and table.starts[number + 1] - start == n and same(p, arena + start, n):
            table.counts[number] += times
            return
        slot = (slot + 1) & mask


@kernel
def _load_tail(p: int, n: int) -> int:
    """The n <= 8 bytes at p as a little-endian number, read one by one: for the end of a buffer."""
    value = 0
    for i in range(n):
        value |= load8(p + i) << (8 * i)
    return value


@kernel
def _has_room(table: Table, new: int, new_bytes: int) -> bool:
    """Whether the table has room for `new` more pretokens of either kind, the long ones of `new_bytes` bytes in all."""
    short, long = table.used[SHORT_USED] + new, table.used[LONG_USED] + new
    if 8 * short > 5 * (len(table.short) // RECORD) or 2 * long >= len(table.slots) or long >= len(table.counts):
        return False
    return bool(table.starts[table.used[LONG_USED]] + new_bytes <= len(table.arena))


@kernel
def count_pretokens(run: Run, table: Table, scratch: NDArray[np.int64]) -> bool:
    """Count the pretokens of the texts from `run.reached` on; True at the end of the last text.

    Returns False when the table has no room for the next batch: enlarge or empty it and call again. `scratch` has room
    for SCRATCH numbers.
    """
    # The scratch memory is read through addresses, since indexing an array in the nearest cache costs more than the
    # load. It is the caller's, because Numba would free an array made here after the last line that names it.
    ends = scratch.ctypes.data
    lows, highs, places = ends + 8 * BATCH, ends + 16 * BATCH, ends + 24 * BATCH
    masks = ends + 32 * BATCH
    for size in range(16):
        scratch[4 * BATCH + size] = -1 if size >= 8 else (1 << 8 * size) - 1
        scratch[4 * BATCH + 16 + size] = (1 << 8 * (size - 8)) - 1 if size > 8 else 0
    short, mask = table.short.ctypes.data, len(table.short) // RECORD - 1
    text, offsets, limit, reached = run.text, run.offsets, run.limit, run.reached
    for i in range(reached[TEXT], len(offsets) - 1):
        p, end = text + offsets[i] + reached[BYTE], text + offsets[i + 1]
        while p < end:
            if not _has_room(table, BATCH, end - p):
                reached[TEXT], reached[BYTE] = i, p - text - offsets[i]
                return False
            n = next_ends(run.scheme, p, end, run.classes, ends, BATCH)
            if run.skipped[i]:
                p = load64(ends + 8 * (n - 1))
                continue
            keys = 0
            for k in range(n):
                stop = load64(ends + 8 * k)
                size = stop - p
                if size > SHORT:
                    _count_long(p, size, limit, 1, table)
                    p = stop
                    continue
                if p + 16 <= limit:
                    # No branch on the size, which would often be predicted wrong: 0.10 s of 0.50 s per 100 MB.
                    low = load64(p) & load64(masks + 8 * size)
                    high = load64(p + 8) & load64(masks + 128 + 8 * size) | size << 56
                else:
                    low = _load_tail(p, min(size, 8))
                    high = _load_tail(p + 8, max(size - 8, 0)) | size << 56
                place = short + 8 * RECORD * (_hash(low, high) & mask)
                prefetch(place)
                store64(lows + 8 * keys, low)
                store64(highs + 8 * keys, high)
                store64(places + 8 * keys, place)
                keys += 1
                p = stop
            new = 0
            for k in range(keys):
                low, high, place = load64(lows + 8 * k), load64(highs + 8 * k), load64(places + 8 * k)
                if load64(place + 8) == high and load64(place) == low:
                    store64(place + 16, load64(place + 16) + 1)
                else:
                    new += _count_short(low, high, 1, short, mask)
            table.used[SHORT_USED] += new
        reached[BYTE] = 0
    reached[TEXT] = len(offsets) - 1
    return True


@kernel
def rehash_short(old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
    """Copy the records of `Table.short` into a larger table (all zeros)."""
    short, mask = new.ctypes.data, len(new) // RECORD - 1
    for at in range(0, len(old), RECORD):
        if old[at + 1]:
            _count_short(old[at], old[at + 1], old[at + 2], short, mask)


@kernel
def rehash_long(old: NDArray[np.uint64], new: NDArray[np.uint64]) -> None:
    """Copy `Table.slots` into a larger table (all zeros)."""
    mask = len(new) - 1
    for entry in old:
        if entry:
            slot = (np.int64(entry) >> 32) & mask
            while new[slot]:
                slot = (slot + 1) & mask
            new[slot] = entry


@kernel
def add_short(counted: Counted, first: int, table: Table) -> int:
    """Add the short pretokens of `counted` from record `first` on to the table.

    Returns the number of the record for which the table had no room, or the number of all records.
    """
    records = counted.short
    short, mask = table.short.ctypes.data, len(table.short) // RECORD - 1
    for number in range(first, len(records) // RECORD):
        at = RECORD * number
        if records[at + 1]:
            if not _has_room(table, 1, 0):
                return number
            table.used[SHORT_USED] += _count_short(records[at], records[at + 1], records[at + 2], short, mask)
    return len(records) // RECORD


@kernel
def add_long(counted: Counted, first: int, table: Table) -> int:
    """Add the long pretokens of `counted` from number `first` on to the table.

    Returns the number of the pretoken for which the table had no room, or the number of all.
    """
    content, starts, counts = counted.content.ctypes.data, counted.starts, counted.counts
    limit = content + len(counted.content)
    for i in range(first, len(counts)):
        size = starts[i + 1] - starts[i]
        if not _has_room(table, 1, size):
            return i
        _count_long(content + starts[i], size, limit, counts[i], table)
    return len(counts)


@kernel
def partition_short(
    records: NDArray[np.int64], bits: int, bounds: NDArray[np.int64], partitioned: NDArray[np.int64]
) -> None:
    """Group the records by the top `bits` of their hash and leave empty ones out.

    Those of partition i become `partitioned[RECORD * bounds[i] : RECORD * bounds[i + 1]]`.
    """
    bounds[:] = 0
    mask = (1 << bits) - 1
    for at in range(0, len(records), RECORD):
        if records[at + 1]:
            bounds[(_hash(records[at], records[at + 1]) >> (63 - bits) & mask) + 1] += 1
    for i in range(len(bounds) - 1):
        bounds[i + 1] += bounds[i]
    cursor = bounds[:-1].copy()
    for at in range(0, len(records), RECORD):
        if records[at + 1]:
            partition = _hash(records[at], records[at + 1]) >> (63 - bits) & mask
            to = RECORD * cursor[partition]
            cursor[partition] += 1
            for k in range(RECORD):
                partitioned[to + k] = records[at + k]


@kernel
def unpack_short(
    records: NDArray[np.int64], least: int, content: NDArray[np.uint8], starts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the bytes of the pretokens seen at least `least` times end to end, their bounds and their counts."""
    number = at = 0
    for record in range(0, len(records), RECORD):
        if records[record + 1] and records[record + 2] >= least:
            size = records[record + 1] >> 56
            for k in range(size):
                content[at + k] = records[record + (k >> 3)] >> (8 * (k & 7)) & 0xFF
            starts[number], counts[number] = at, records[record + 2]
            at += size
            number += 1
    starts[number] = at


@kernel
def cut_at(
    text: int,
    offsets: NDArray[np.int64],
    names: NDArray[np.uint8],
    name_offsets: NDArray[np.int64],
    cuts: NDArray[np.int64],
) -> int:
    """Find the names in the texts: of names that overlap the leftmost, of names at one place the first in `names`.

    Text i lies from address `text + offsets[i]` to `text + offsets[i + 1]`, and no name crosses from one text into
    the next. Writes the start and the end of each place to `cuts`, in bytes from `text`, as far as it has room;
    returns the number of places.
    """
    count, name = 0, names.ctypes.data
    firsts = np.zeros(256, np.bool_)
    for i in range(len(name_offsets) - 1):
        firsts[names[name_offsets[i]]] = True
    wanted = np.flatnonzero(firsts)
    for i in range(len(offsets) - 1):
        p, end = text + offsets[i], text + offsets[i + 1]
        while p < end:
            p = _find_byte(p, end, wanted)
            if p == end:
                break
            after = p + 1
            for k in range(len(name_offsets) - 1):
                n = name_offsets[k + 1] - name_offsets[k]
                if p + n <= end and same(p, name + name_offsets[k], n):
                    if 2 * count + 1 < len(cuts):
                        cuts[2 * count], cuts[2 * count + 1] = p - text, p + n - text
                    count += 1
                    after = p + n
                    break
            p = after
    return count


@kernel
def _find_byte(p: int, end: int, wanted: NDArray[np.int64]) -> int:
    """The first address from p on that holds one of the bytes `wanted`, or `end`.

    Looks at 8 bytes at a time, with Alan Mycroft's test for a byte of zeros in a word.
    """
    ones, tops = 0x0101010101010101, -0x7F7F7F7F7F7F7F80
    while p + 8 <= end:
        word, hits = load64(p), 0
        for byte in wanted:
            x = word ^ ones * byte
            hits |= (x - ones) & ~x & tops
        if hits:
            break
        p += 8
    while p < end:
        value = load8(p)
        for byte in wanted:
            if value == byte:
                return p
        p += 1
    return end
