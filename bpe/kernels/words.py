"""What BPE makes of one pretoken: merging, a pair at a time.

A pretoken is merged by scanning all its pairs again and again while it is short, and otherwise in pieces that are
joined where that is exact (`_merge_long`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import (
    GOLDEN,
    LANES,
    leading_zeros,
    least,
    load8,
    load32,
    load64,
    store8,
    store32,
    store64,
    trailing_zeros,
)
from bpe.kernels.tables import ID_BITS, NONE, _find_pair, _tables, find_token

SHORT = 64  # bytes; up to here a scan over all pairs is fastest
MIDDLING = 1024  # bytes; up to here a scan over the least of each LANES pairs
PIECE = 64  # bytes of a longer pretoken that are merged by themselves; twice as many take half as long again
REACH = 4096  # bytes: when a seam needs more than this, the whole pretoken is merged at once
SEAMS = 1 << 12  # pairs of tokens of which it is known whether they merge
WHOLE = 15  # bytes: a shorter pretoken that is a token merges to itself as fast as it is found


@kernel
def _merge_short(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """BPE of the n <= SHORT bytes at p, ids (uint32) to `out`: merge the leftmost pair that goes first, and again.

    Stops at `fewest` parts. Nothing is moved: bit i of `parts` is set while a part starts at byte i, `ids` has its
    token there and `ranks` the priority of merging it with the next. All priorities are looked at each time, LANES
    at once, which for so few bytes is faster than any list or heap.
    """
    t = _tables(tables)
    ids, ranks = t.parts, t.ranks
    for i in range(n, -(-n // LANES) * LANES):
        store32(ranks + 4 * i, NONE)
    this = load8(p)
    for i in range(n - 1):
        following = load8(p + i + 1)
        store32(ids + 4 * i, load32(t.byte_ids + 4 * this))
        store32(ranks + 4 * i, load32(t.byte_pairs + 4 * (this << 8 | following)))
        this = following
    store32(ids + 4 * n - 4, load32(t.byte_ids + 4 * this))
    store32(ranks + 4 * n - 4, NONE)
    parts = (1 << n) - 1 if n < 64 else -1
    count = n
    while count > fewest:
        rank, at = least(ranks)
        for start in range(LANES, n, LANES):
            other, place = least(ranks + 4 * start)
            if other < rank:
                rank, at = other, start + place
        if rank == NONE:
            break
        merged = load32(t.made + 4 * rank) if t.made else rank
        above = parts & (-2 << at)
        gone = trailing_zeros(above)
        above &= above - 1
        parts &= ~(1 << gone)
        store32(ids + 4 * at, merged)
        store32(ranks + 4 * gone, NONE)
        rank = NONE
        if above:
            rank = _find_pair(merged, load32(ids + 4 * trailing_zeros(above)), tables)
        store32(ranks + 4 * at, rank)
        below = parts & ((1 << at) - 1)
        if below:
            before = 63 - leading_zeros(below)
            store32(ranks + 4 * before, _find_pair(load32(ids + 4 * before), merged, tables))
        count -= 1
    count = 0
    while parts:
        store32(out + 4 * count, load32(ids + 4 * trailing_zeros(parts)))
        parts &= parts - 1
        count += 1
    return count


@kernel
def _push(heap: NDArray[np.int64], size: int, item: int) -> int:
    """Add to the min-heap of `size` items; the new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1] > item:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = item
    return size + 1


@kernel
def _pop(heap: NDArray[np.int64], size: int) -> int:
    """Take the least item, heap[0], out of the min-heap of `size` items; the new size."""
    size -= 1
    item, at = heap[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = item
    return size


@kernel
def _merge_heap(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """As `_merge_short` for any n, in n log n: a linked list of parts and a heap of priority << 40 | position.

    A heap item is stale when its position no longer has that priority; it is skipped when it comes up. Each merge
    pushes two items at most, so 3n are room enough.
    """
    t = _tables(tables)
    ids, ranks = np.empty(n, np.uint32), np.full(n, NONE, np.uint32)
    after, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    heap, size, parts = np.empty(3 * n, np.int64), 0, n
    for i in range(n):
        ids[i] = load32(t.byte_ids + 4 * load8(p + i))
    for i in range(n - 1):
        ranks[i] = load32(t.byte_pairs + 4 * (load8(p + i) << 8 | load8(p + i + 1)))
        if ranks[i] != NONE:
            size = _push(heap, size, np.int64(ranks[i]) << 40 | i)
    while size and parts > fewest:
        rank, at = heap[0] >> 40, heap[0] & 0xFFFFFFFFFF
        size = _pop(heap, size)
        if ranks[at] != rank:
            continue
        parts -= 1
        gone, merged = after[at], load32(t.made + 4 * rank) if t.made else rank
        ids[at], ranks[at], ranks[gone] = merged, NONE, NONE
        after[at] = after[gone]
        if after[at] < n:
            before[after[at]] = at
            ranks[at] = _find_pair(merged, np.int64(ids[after[at]]), tables)
            if ranks[at] != NONE:
                size = _push(heap, size, np.int64(ranks[at]) << 40 | at)
        left = before[at]
        if left >= 0:
            ranks[left] = _find_pair(np.int64(ids[left]), merged, tables)
            if ranks[left] != NONE:
                size = _push(heap, size, np.int64(ranks[left]) << 40 | left)
    count, at = 0, 0
    while at < n:
        store32(out + 4 * count, np.int64(ids[at]))
        count += 1
        at = after[at]
    return count


@kernel
def _merge_middling(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """As `_merge_short` for n <= MIDDLING: the least priority of every LANES is kept, so that few are looked at."""
    t = _tables(tables)
    ids, ranks, lows = t.parts, t.ranks, t.lows
    after, before = t.links, t.links + 4 * MIDDLING
    blocks = -(-n // LANES)
    for i in range(n):
        store32(ids + 4 * i, load32(t.byte_ids + 4 * load8(p + i)))
        store32(after + 4 * i, i + 1)
        store32(before + 4 * i, i - 1)
    for i in range(n - 1):
        store32(ranks + 4 * i, load32(t.byte_pairs + 4 * (load8(p + i) << 8 | load8(p + i + 1))))
    for i in range(n - 1, LANES * blocks):
        store32(ranks + 4 * i, NONE)
    for block in range(-(-blocks // LANES) * LANES):
        store32(lows + 4 * block, least(ranks + 4 * LANES * block)[0] if block < blocks else NONE)
    count = n
    while count > fewest:
        rank, block = least(lows)
        for start in range(LANES, blocks, LANES):
            other, place = least(lows + 4 * start)
            if other < rank:
                rank, block = other, start + place
        if rank == NONE:
            break
        at = LANES * block + least(ranks + 4 * LANES * block)[1]
        merged = load32(t.made + 4 * rank) if t.made else rank
        gone, last = load32(after + 4 * at), load32(before + 4 * at)
        following = load32(after + 4 * gone)
        store32(ids + 4 * at, merged)
        store32(after + 4 * at, following)
        store32(ranks + 4 * gone, NONE)
        rank = NONE
        if following < n:
            store32(before + 4 * following, at)
            rank = _find_pair(merged, load32(ids + 4 * following), tables)
        store32(ranks + 4 * at, rank)
        store32(lows + 4 * block, least(ranks + 4 * LANES * block)[0])
        if gone // LANES != block:
            store32(lows + 4 * (gone // LANES), least(ranks + 4 * (gone & -LANES))[0])
        if at > 0:
            store32(ranks + 4 * last, _find_pair(load32(ids + 4 * last), merged, tables))
            store32(lows + 4 * (last // LANES), least(ranks + 4 * (last & -LANES))[0])
        count -= 1
    count = at = 0
    while at < n:
        store32(out + 4 * count, load32(ids + 4 * at))
        count += 1
        at = load32(after + 4 * at)
    return count


@kernel
def _merge(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """BPE of the n bytes at p by what is fastest for so many."""
    if n <= SHORT:
        return _merge_short(p, n, tables, out, fewest)
    if n <= MIDDLING:
        return _merge_middling(p, n, tables, out, fewest)
    return _merge_heap(p, n, tables, out, fewest)


@kernel
def _parted(left: int, right: int, tables: int) -> bool:
    """Whether two tokens stay apart: the bytes of both together merge to just these two. Answers are kept."""
    t = _tables(tables)
    key = left << ID_BITS | right
    kept = t.seams + 8 * ((key * GOLDEN) >> 32 & (SEAMS - 1))
    if load64(kept) >> 1 == key + 1:
        return load64(kept) & 1 == 1
    a, b = load32(t.lengths + 4 * left), load32(t.lengths + 4 * right)
    # An array is freed after the last line that names it, whoever has its address: so the ids are read by its name.
    room = np.empty(2 * (a + b), np.uint32)
    ids, both = room.ctypes.data, room.ctypes.data + 4 * (a + b)
    for i in range(a):
        store8(both + i, load8(t.blob + load64(t.starts + 8 * left) + i))
    for i in range(b):
        store8(both + a + i, load8(t.blob + load64(t.starts + 8 * right) + i))
    apart = _merge(both, a + b, tables, ids, 1) == 2 and np.int64(room[0]) == left and np.int64(room[1]) == right
    store64(kept, (key + 1) << 1 | apart)
    return apart


@kernel
def _merge_long(p: int, n: int, tables: int, out: int) -> int:
    """As `_merge_short` for any n: pieces are merged by themselves, then their seams until all is as if merged at once.

    Tokens in a row are what BPE makes of their bytes exactly if that is so for each two neighbours: the first merge
    across a border in the whole would be the first one in the two as well, where everything around happens in the
    same order. So a seam is right when its two tokens stay apart, and otherwise more tokens on either side of it are
    merged anew. Each step is over some hundred bytes, where one heap over a megabyte misses the processor's caches at
    every turn.
    """
    t = _tables(tables)
    piece, between = np.empty(PIECE, np.uint32), np.empty(REACH + PIECE, np.uint32)
    count = done = 0  # tokens in `out`, bytes they stand for
    while done < n:
        size = min(PIECE, n - done)
        found = _merge(p + done, size, tables, piece.ctypes.data, 1)
        if count == 0 or _parted(load32(out + 4 * count - 4), np.int64(piece[0]), tables):
            for i in range(found):
                store32(out + 4 * (count + i), np.int64(piece[i]))
            count, done = count + found, done + size
            continue
        back, ahead = 1, 1  # tokens on either side of the seam
        while True:
            back, ahead = min(back, count), min(ahead, found)
            before = after = 0
            for i in range(back):
                before += load32(t.lengths + 4 * load32(out + 4 * (count - 1 - i)))
            for i in range(ahead):
                after += load32(t.lengths + 4 * np.int64(piece[i]))
            if before > REACH:
                return _merge_heap(p, n, tables, out, 1)
            middle = _merge(p + done - before, before + after, tables, between.ctypes.data, 1)
            left = back == count or _parted(load32(out + 4 * (count - back - 1)), np.int64(between[0]), tables)
            right = ahead == found or _parted(np.int64(between[middle - 1]), np.int64(piece[ahead]), tables)
            if left and right:
                break
            if not left:
                back *= 2
            if not right:
                ahead *= 2
        count -= back
        for i in range(middle):
            store32(out + 4 * (count + i), np.int64(between[i]))
        count += middle
        for i in range(ahead, found):
            store32(out + 4 * (count + i - ahead), np.int64(piece[i]))
        count, done = count + found - ahead, done + size
    return count


@kernel
def _encode_pretoken(p: int, n: int, limit: int, tables: int, out: int) -> int:
    """Ids (uint32) of the n bytes at p to `out`, which has room for n; how many there are."""
    t = _tables(tables)
    if t.whole and (t.unreached or n > WHOLE):
        token, _ = find_token(p, n, limit, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
        if token != NONE:
            store32(out, token)
            return 1
    if n <= SHORT:
        return _merge_short(p, n, tables, out, 1)
    return _merge_long(p, n, tables, out)


@kernel
def last_pairs(tables: int, size: int, entries: NDArray[np.int64]) -> int:
    """Write the one (left, right, merged) that makes each token, after `index_pairs` of all; how many there are.

    When two neighbours merge, nothing has merged across their outer borders, so all that has happened between these
    is what happens to their bytes alone. So of all ways to cut a token in two, only the one that comes last when the
    token itself is encoded is ever seen, and a third of the table does.
    """
    t = _tables(tables)
    found = 0
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        if n < 2:
            continue
        ids = np.empty(n, np.uint32)
        parts = _merge(p, n, tables, ids.ctypes.data, 2)
        left, right = np.int64(ids[0]), np.int64(ids[1])
        if parts == 2 and _find_pair(left, right, tables) == token:
            entries[found] = (left << ID_BITS | right) << ID_BITS | token
            found += 1
    return found
