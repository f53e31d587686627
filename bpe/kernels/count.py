"""The trainer's first half: counting pretokens.

A pretoken of up to SHORT bytes is its own key: 16 bytes, itself and its length on top, beside its count in one open
hash table (RECORD). So a hit is two comparisons on one or two cache lines; on English nearly all pretokens are hits.
Longer ones lie in an arena and are found by their hash. Both tables are read and written through addresses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import GOLDEN, hash_bytes, load8, load64, prefetch, same, store8, store64
from bpe.kernels.split import next_ends

SHORT = 15  # bytes
RECORD = 3  # int64 each: the first 8 bytes, the others with the length on top, the count
BATCH = 512  # pretokens found, then hashed, then counted; small enough for the nearest cache
SCRATCH = 4 * BATCH + 32

# What the caller keeps in `state` between calls.
TEXT, BYTE, SHORT_USED, LONG_USED = 0, 1, 2, 3
STATE = 4

MIX = -0x61C8864E7A143579  # odd, and no multiple of GOLDEN


class Table(NamedTuple):
    """Counted pretokens. Long pretoken i is `arena[starts[i] : starts[i + 1]]`, seen `counts[i]` times; a slot holds
    32 bits of its hash over its number plus one."""

    short: NDArray[np.int64]  # RECORD each, zeros where there is none; at most 5/8 full
    slots: NDArray[np.uint64]  # at most half full
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    arena: NDArray[np.uint8]


@kernel
def _hash(low: int, high: int) -> int:
    """All 64 bits of it are good: the low ones find the slot, the high ones the partition on disk."""
    h = (low ^ high * MIX) * GOLDEN
    h ^= h >> 32 & 0xFFFFFFFF
    h *= MIX
    return h ^ (h >> 29 & 0x7FFFFFFFF)


@kernel
def _count_short(low: int, high: int, times: int, short: int, mask: int) -> int:
    """Add `times` to a short pretoken; 1 if it is new, else 0."""
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
def _count_long(p: int, n: int, limit: int, times: int, table: Table, used: int) -> int:
    """Add `times` to a long pretoken; 1 if it is new, else 0."""
    mask, arena = len(table.slots) - 1, table.arena.ctypes.data
    tag = hash_bytes(p, n, limit)
    slot = tag & mask
    while True:
        entry = np.int64(table.slots[slot])
        if entry == 0:
            start = table.starts[used]
            for k in range(n):
                store8(arena + start + k, load8(p + k))
            table.slots[slot] = tag << 32 | (used + 1)
            table.starts[used + 1], table.counts[used] = start + n, times
            return 1
        word = (entry & 0xFFFFFFFF) - 1
        start = table.starts[word]
        if entry >> 32 & 0xFFFFFFFF == tag and table.starts[word + 1] - start == n and same(p, arena + start, n):
            table.counts[word] += times
            return 0
        slot = (slot + 1) & mask


@kernel
def _load_tail(p: int, n: int) -> int:
    """The n <= 8 bytes at p as a number, one by one: near the end of a buffer."""
    value = 0
    for i in range(n):
        value |= load8(p + i) << (8 * i)
    return value


@kernel
def _has_room(table: Table, state: NDArray[np.int64], new: int, new_bytes: int) -> bool:
    """Whether `new` more pretokens of either kind fit, the long ones with `new_bytes` bytes."""
    short, long = state[SHORT_USED] + new, state[LONG_USED] + new
    if 8 * short > 5 * (len(table.short) // RECORD) or 2 * long >= len(table.slots) or long >= len(table.counts):
        return False
    return bool(table.starts[state[LONG_USED]] + new_bytes <= len(table.arena))


@kernel
def count_pretokens(
    scheme: int,
    text: int,
    limit: int,
    offsets: NDArray[np.int64],
    skipped: NDArray[np.bool_],
    classes: int,
    state: NDArray[np.int64],
    table: Table,
    scratch: NDArray[np.int64],
) -> bool:
    """Count the pretokens of the texts but for the `skipped` ones; False when the table has no room for the next
    batch: enlarge or empty it and call again. `scratch` has room for SCRATCH numbers.

    Text i is from address text + offsets[i] to text + offsets[i + 1]; bytes up to address `limit` may be read.
    """
    # Through addresses: what is in the nearest cache costs less than the checks of an array's index. The array is the
    # caller's, because one made here would be freed after the last line that names it.
    ends = scratch.ctypes.data
    lows, highs, places = ends + 8 * BATCH, ends + 16 * BATCH, ends + 24 * BATCH
    masks = ends + 32 * BATCH
    for size in range(16):
        scratch[4 * BATCH + size] = -1 if size >= 8 else (1 << 8 * size) - 1
        scratch[4 * BATCH + 16 + size] = (1 << 8 * (size - 8)) - 1 if size > 8 else 0
    short, mask = table.short.ctypes.data, len(table.short) // RECORD - 1
    for i in range(state[TEXT], len(offsets) - 1):
        p, end = text + offsets[i] + state[BYTE], text + offsets[i + 1]
        while p < end:
            if not _has_room(table, state, BATCH, end - p):
                state[TEXT], state[BYTE] = i, p - text - offsets[i]
                return False
            n = next_ends(scheme, p, end, classes, ends, BATCH)
            if skipped[i]:
                p = load64(ends + 8 * (n - 1))
                continue
            keys = 0
            for k in range(n):
                behind = load64(ends + 8 * k)
                size = behind - p
                if size > SHORT:
                    state[LONG_USED] += _count_long(p, size, limit, 1, table, state[LONG_USED])
                    p = behind
                    continue
                if p + 16 <= limit:
                    # No branch on the size, which would be guessed wrong often: 0.10 s of 0.50 s per 100 MB.
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
                p = behind
            new = 0
            for k in range(keys):
                low, high, place = load64(lows + 8 * k), load64(highs + 8 * k), load64(places + 8 * k)
                if load64(place + 8) == high and load64(place) == low:
                    store64(place + 16, load64(place + 16) + 1)
                else:
                    new += _count_short(low, high, 1, short, mask)
            state[SHORT_USED] += new
        state[BYTE] = 0
    state[TEXT] = len(offsets) - 1
    return True


@kernel
def rehash_short(old: NDArray[np.int64], new: NDArray[np.int64]) -> None:
    """Move the records of `Table.short` to a larger table (all zero)."""
    short, mask = new.ctypes.data, len(new) // RECORD - 1
    for at in range(0, len(old), RECORD):
        if old[at + 1]:
            _count_short(old[at], old[at + 1], old[at + 2], short, mask)


@kernel
def rehash_long(old: NDArray[np.uint64], new: NDArray[np.uint64]) -> None:
    """Move `Table.slots` to a larger table (all zero)."""
    mask = len(new) - 1
    for entry in old:
        if entry:
            slot = (np.int64(entry) >> 32) & mask
            while new[slot]:
                slot = (slot + 1) & mask
            new[slot] = entry


@kernel
def add_short(records: NDArray[np.int64], first: int, state: NDArray[np.int64], table: Table) -> int:
    """Add counted records from number `first` on to the table, empty ones passed over; where it had no more room,
    or their number."""
    short, mask = table.short.ctypes.data, len(table.short) // RECORD - 1
    for number in range(first, len(records) // RECORD):
        at = RECORD * number
        if records[at + 1]:
            if not _has_room(table, state, 1, 0):
                return number
            state[SHORT_USED] += _count_short(records[at], records[at + 1], records[at + 2], short, mask)
    return len(records) // RECORD


@kernel
def add_long(
    content: NDArray[np.uint8],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    first: int,
    state: NDArray[np.int64],
    table: Table,
) -> int:
    """Add counted long pretokens from number `first` on to the table; where it had no more room, or their number."""
    p = content.ctypes.data
    for i in range(first, len(counts)):
        n = starts[i + 1] - starts[i]
        if not _has_room(table, state, 1, n):
            return i
        new = _count_long(p + starts[i], n, p + len(content), counts[i], table, state[LONG_USED])
        state[LONG_USED] += new
    return len(counts)


@kernel
def partition_short(
    records: NDArray[np.int64], bits: int, bounds: NDArray[np.int64], sorted_records: NDArray[np.int64]
) -> None:
    """Group the records, empty ones left out, by the top `bits` of their hash: those of partition i become
    `sorted_records[RECORD * bounds[i] : RECORD * bounds[i + 1]]`."""
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
                sorted_records[to + k] = records[at + k]


@kernel
def unpack_short(
    records: NDArray[np.int64], least: int, content: NDArray[np.uint8], starts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the pretokens of the records seen `least` times or oftener end to end."""
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
    """Find the names in the texts, leftmost first, then the one that is first in `names`; none reaches into another
    text. Writes start and end of each to `cuts`; how many there are, even where `cuts` is too short for all."""
    found, name = 0, names.ctypes.data
    firsts = np.zeros(256, np.bool_)
    for i in range(len(name_offsets) - 1):
        firsts[names[name_offsets[i]]] = True
    different = np.flatnonzero(firsts)
    for i in range(len(offsets) - 1):
        p, end = text + offsets[i], text + offsets[i + 1]
        while p < end:
            p = _find_byte(p, end, different)
            if p == end:
                break
            behind = p + 1
            for k in range(len(name_offsets) - 1):
                n = name_offsets[k + 1] - name_offsets[k]
                if p + n <= end and same(p, name + name_offsets[k], n):
                    if 2 * found + 1 < len(cuts):
                        cuts[2 * found], cuts[2 * found + 1] = p - text, p + n - text
                    found += 1
                    behind = p + n
                    break
            p = behind
    return found


@kernel
def _find_byte(p: int, end: int, different: NDArray[np.int64]) -> int:
    """The first address from p on where one of the bytes is, or `end`; 8 bytes at a time (Mycroft's zero test)."""
    ones, tops = 0x0101010101010101, -0x7F7F7F7F7F7F7F80
    while p + 8 <= end:
        word, hits = load64(p), 0
        for byte in different:
            x = word ^ ones * byte
            hits |= (x - ones) & ~x & tops
        if hits:
            break
        p += 8
    while p < end:
        value = load8(p)
        for byte in different:
            if value == byte:
                return p
        p += 1
    return end
