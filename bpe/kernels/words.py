"""What one pretoken becomes: BPE, in the way that is fastest for its length.

Tokens of single bytes merge, the pair of the lowest rank first and of equal ranks the leftmost, until no pair is in
the table. The merging is by a scan over all ranks up to SHORT bytes, by a scan over the lowest of each LANES ranks up
to MIDDLING bytes, and by a heap above. A pretoken longer than SHORT is merged in pieces, which are then joined
(`_merge_long`).
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
from bpe.kernels.tables import ID_BITS, NONE, find_pair, find_token, tables_at

SHORT = 64  # bytes
MIDDLING = 1024  # bytes
PIECE = 64  # bytes of a longer pretoken that are merged by themselves; twice as many take half as long again
REACH = 4096  # bytes before a seam: if more of them have to be merged anew, the whole pretoken is merged at once
SEAMS = 1 << 12  # pairs of tokens for which it is remembered whether they stay apart
WHOLE = 15  # bytes: a shorter pretoken that is a token merges to itself as fast as it is looked up


@kernel
def _lowest(ranks: int, size: int) -> tuple[int, int]:
    """(the lowest of the first `size` uint32 at an address, its index). Reads whole LANES, at least one."""
    rank, index = least(ranks)
    for start in range(LANES, size, LANES):
        other, place = least(ranks + 4 * start)
        if other < rank:
            rank, index = other, start + place
    return rank, index


@kernel
def _token_of(rank: int, made: int) -> int:
    """The token that a merge of this rank makes; `made` is of `Tables`."""
    return load32(made + 4 * rank) if made else rank


@kernel
def merge_short(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """Write BPE of the n <= SHORT bytes at p to `out` (uint32); returns the number of ids. Stops at `fewest` parts.

    Nothing is moved: bit i of `starts` is set while a part starts at byte i. There `ids` has its token and `ranks` the
    rank of the part and the next, else NONE. Every merge looks at all ranks, LANES at once, which for so few bytes is
    faster than any list or heap.
    """
    t = tables_at(tables)
    ids, ranks = t.parts, t.ranks
    for i in range(n, -(-n // LANES) * LANES):
        store32(ranks + 4 * i, NONE)
    byte = load8(p)
    for i in range(n - 1):
        next_byte = load8(p + i + 1)
        store32(ids + 4 * i, load32(t.byte_ids + 4 * byte))
        store32(ranks + 4 * i, load32(t.byte_pairs + 4 * (byte << 8 | next_byte)))
        byte = next_byte
    store32(ids + 4 * n - 4, load32(t.byte_ids + 4 * byte))
    store32(ranks + 4 * n - 4, NONE)
    starts = (1 << n) - 1 if n < 64 else -1
    parts = n
    while parts > fewest:
        rank, at = _lowest(ranks, n)
        if rank == NONE:
            break
        merged = _token_of(rank, t.made)
        above = starts & (-2 << at)
        absorbed = trailing_zeros(above)
        above &= above - 1
        starts &= ~(1 << absorbed)
        store32(ids + 4 * at, merged)
        store32(ranks + 4 * absorbed, NONE)
        rank = NONE
        if above:
            rank = find_pair(merged, load32(ids + 4 * trailing_zeros(above)), tables)
        store32(ranks + 4 * at, rank)
        below = starts & ((1 << at) - 1)
        if below:
            before = 63 - leading_zeros(below)
            store32(ranks + 4 * before, find_pair(load32(ids + 4 * before), merged, tables))
        parts -= 1
    count = 0
    while starts:
        store32(out + 4 * count, load32(ids + 4 * trailing_zeros(starts)))
        starts &= starts - 1
        count += 1
    return count


@kernel
def _merge_middling(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """As `merge_short` for n <= MIDDLING. The lowest of each LANES ranks is kept in `lows`, so that a merge looks at
    few ranks; `after` and `before` link the parts."""
    t = tables_at(tables)
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
    parts = n
    while parts > fewest:
        rank, block = _lowest(lows, blocks)
        if rank == NONE:
            break
        at = LANES * block + least(ranks + 4 * LANES * block)[1]
        merged = _token_of(rank, t.made)
        absorbed, left = load32(after + 4 * at), load32(before + 4 * at)
        right = load32(after + 4 * absorbed)
        store32(ids + 4 * at, merged)
        store32(after + 4 * at, right)
        store32(ranks + 4 * absorbed, NONE)
        rank = NONE
        if right < n:
            store32(before + 4 * right, at)
            rank = find_pair(merged, load32(ids + 4 * right), tables)
        store32(ranks + 4 * at, rank)
        store32(lows + 4 * block, least(ranks + 4 * LANES * block)[0])
        if absorbed // LANES != block:
            store32(lows + 4 * (absorbed // LANES), least(ranks + 4 * (absorbed & -LANES))[0])
        if at > 0:
            store32(ranks + 4 * left, find_pair(load32(ids + 4 * left), merged, tables))
            store32(lows + 4 * (left // LANES), least(ranks + 4 * (left & -LANES))[0])
        parts -= 1
    count = at = 0
    while at < n:
        store32(out + 4 * count, load32(ids + 4 * at))
        count += 1
        at = load32(after + 4 * at)
    return count


@kernel
def _push(heap: NDArray[np.int64], size: int, item: int) -> int:
    """Add an item to the min-heap of `size` items; returns the new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1] > item:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = item
    return size + 1


@kernel
def _pop(heap: NDArray[np.int64], size: int) -> int:
    """Take the least item, heap[0], out of the min-heap of `size` items; returns the new size."""
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
    """As `merge_short` for any n, in n log n steps: linked parts and a heap of rank << 40 | position.

    A heap item is stale when the pair at its position no longer has that rank; it is dropped when it comes up. Each
    merge pushes two items at most, so the heap needs room for 3n.
    """
    t = tables_at(tables)
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
        absorbed, merged = after[at], _token_of(rank, t.made)
        ids[at], ranks[at], ranks[absorbed] = merged, NONE, NONE
        after[at] = after[absorbed]
        if after[at] < n:
            before[after[at]] = at
            ranks[at] = find_pair(merged, np.int64(ids[after[at]]), tables)
            if ranks[at] != NONE:
                size = _push(heap, size, np.int64(ranks[at]) << 40 | at)
        left = before[at]
        if left >= 0:
            ranks[left] = find_pair(np.int64(ids[left]), merged, tables)
            if ranks[left] != NONE:
                size = _push(heap, size, np.int64(ranks[left]) << 40 | left)
    count, at = 0, 0
    while at < n:
        store32(out + 4 * count, np.int64(ids[at]))
        count += 1
        at = after[at]
    return count


@kernel
def _merge(p: int, n: int, tables: int, out: int, fewest: int) -> int:
    """As `merge_short` for any n, in the way that is fastest for n bytes."""
    if n <= SHORT:
        return merge_short(p, n, tables, out, fewest)
    if n <= MIDDLING:
        return _merge_middling(p, n, tables, out, fewest)
    return _merge_heap(p, n, tables, out, fewest)


@kernel
def _stay_apart(left: int, right: int, tables: int) -> bool:
    """Whether the bytes of two tokens together merge to just these two tokens. Answers are remembered in `seams`."""
    t = tables_at(tables)
    key = left << ID_BITS | right
    answer = t.seams + 8 * ((key * GOLDEN) >> 32 & (SEAMS - 1))
    if load64(answer) >> 1 == key + 1:
        return load64(answer) & 1 == 1
    a, b = load32(t.lengths + 4 * left), load32(t.lengths + 4 * right)
    # Numba frees an array after the last line that names it, even while its address is in use: hence ids[0], ids[1].
    ids = np.empty(2 * (a + b), np.uint32)
    out, both = ids.ctypes.data, ids.ctypes.data + 4 * (a + b)
    for i in range(a):
        store8(both + i, load8(t.blob + load64(t.starts + 8 * left) + i))
    for i in range(b):
        store8(both + a + i, load8(t.blob + load64(t.starts + 8 * right) + i))
    apart = _merge(both, a + b, tables, out, 1) == 2 and np.int64(ids[0]) == left and np.int64(ids[1]) == right
    store64(answer, (key + 1) << 1 | apart)
    return apart


@kernel
def _merge_long(p: int, n: int, tables: int, out: int) -> int:
    """As `merge_short` for any n, down to one part: PIECE bytes at a time, each piece joined to the ids before it.

    Tokens in a row are what BPE makes of their bytes exactly if each two neighbours are what BPE makes of theirs. For
    the first merge across a border in the whole would be the first across it in the two alone too: what is around
    them merges in the same order. So a seam is right when the tokens on its two sides stay apart, and otherwise more
    tokens on either side are merged anew. Each step is over some hundred bytes, while a heap over a megabyte misses
    the processor's caches at every turn.
    """
    t = tables_at(tables)
    piece, between = np.empty(PIECE, np.uint32), np.empty(REACH + PIECE, np.uint32)
    count = done = 0  # ids in `out`, bytes they stand for
    while done < n:
        size = min(PIECE, n - done)
        new = _merge(p + done, size, tables, piece.ctypes.data, 1)
        if count == 0 or _stay_apart(load32(out + 4 * count - 4), np.int64(piece[0]), tables):
            for i in range(new):
                store32(out + 4 * (count + i), np.int64(piece[i]))
            count, done = count + new, done + size
            continue
        back, ahead = 1, 1  # ids on either side of the seam
        while True:
            back, ahead = min(back, count), min(ahead, new)
            before = after = 0
            for i in range(back):
                before += load32(t.lengths + 4 * load32(out + 4 * (count - 1 - i)))
            for i in range(ahead):
                after += load32(t.lengths + 4 * np.int64(piece[i]))
            if before > REACH:
                return _merge_heap(p, n, tables, out, 1)
            middle = _merge(p + done - before, before + after, tables, between.ctypes.data, 1)
            left = back == count or _stay_apart(load32(out + 4 * (count - back - 1)), np.int64(between[0]), tables)
            right = ahead == new or _stay_apart(np.int64(between[middle - 1]), np.int64(piece[ahead]), tables)
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
        for i in range(ahead, new):
            store32(out + 4 * (count + i - ahead), np.int64(piece[i]))
        count, done = count + new - ahead, done + size
    return count


@kernel
def encode_pretoken(p: int, n: int, limit: int, tables: int, out: int) -> int:
    """Write the ids of the n bytes at p to `out`, which has room for n uint32; returns how many there are.

    Bytes up to the address `limit` may be read.
    """
    t = tables_at(tables)
    if t.whole and (t.unreached or n > WHOLE):
        token, _ = find_token(p, n, limit, tables)
        if token != NONE:
            store32(out, token)
            return 1
    if n <= SHORT:
        return merge_short(p, n, tables, out, 1)
    return _merge_long(p, n, tables, out)


@kernel
def last_pairs(tables: int, size: int, entries: NDArray[np.int64]) -> int:
    """Write the one entry (left, right, merged) that makes each token of its own bytes; returns how many there are.

    `index_pairs` has entered every pair before. Of all ways to cut a token in two, encoding only ever sees the one
    that merges last when the token itself is encoded: when two neighbours merge, nothing has merged across their
    outer borders, so what has happened between these is what happens to their bytes alone. That leaves a third of
    the pairs.
    """
    t = tables_at(tables)
    count = 0
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        if n < 2:
            continue
        ids = np.empty(n, np.uint32)
        parts = _merge(p, n, tables, ids.ctypes.data, 2)
        left, right = np.int64(ids[0]), np.int64(ids[1])
        if parts == 2 and find_pair(left, right, tables) == token:
            entries[count] = (left << ID_BITS | right) << ID_BITS | token
            count += 1
    return count
