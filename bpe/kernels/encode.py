"""The encoder: whole tokens, pairs, merges, and a cache of pretokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import GOLDEN, hash_bytes, load8, load32, load64, load_short, same, store32, store64
from bpe.kernels.split import next_boundary

NONE = 0xFFFFFFFF  # no token
EMPTY = -1  # an empty slot of the pair table
ID_BITS = 21  # ids in a pair table entry: left, right and merged share 63 bits
SHORT = 64  # bytes; up to here a scan over all pairs beats a heap
KEY_BYTES = 15  # pretokens up to here are cached
CACHED_IDS = 4
ENTRY_BYTES = 32  # a cache entry: 16 bytes of key (the pretoken, its length on top), 4 ids


class Tables(NamedTuple):
    """What encoding reads, as addresses (and masks of power-of-two tables); `cache` and `ranks` are written to.

    Token i is the `lengths[i]` (int32) bytes at `blob + starts[i]` (int64). `slots` is a hash table of token + 1.
    """

    scheme: int
    classes: int
    blob: int
    blob_end: int
    starts: int
    lengths: int
    slots: int  # uint32
    slots_mask: int
    byte_ids: int  # uint32[256]
    byte_pairs: int  # uint32[65536]: the merge of two single bytes
    pairs: int  # int64: left, right, merged in ID_BITS each
    pairs_mask: int
    cache: int
    cache_mask: int
    ranks: int  # uint32[SHORT]: scratch of one call


@kernel
def find_token(
    p: int, n: int, limit: int, blob: int, starts: int, lengths: int, slots: int, mask: int
) -> tuple[int, int]:
    """(the token whose bytes are the n at p, or NONE; the slot where it is or would go)."""
    slot = hash_bytes(p, n, limit) & mask
    while True:
        token = load32(slots + 4 * slot) - 1
        if token < 0:
            return NONE, slot
        if load32(lengths + 4 * token) == n and same(p, blob + load64(starts + 8 * token), n):
            return token, slot
        slot = (slot + 1) & mask


@kernel
def _find_pair(left: int, right: int, pairs: int, mask: int) -> int:
    """The token that the bytes of `left` and `right` make together, or NONE."""
    key = left << ID_BITS | right
    slot = ((key * GOLDEN) >> 32) & mask
    while True:
        entry = load64(pairs + 8 * slot)
        if entry == EMPTY:
            return NONE
        if entry >> ID_BITS == key:
            return entry & ((1 << ID_BITS) - 1)
        slot = (slot + 1) & mask


@kernel
def index_tokens(t: Tables, size: int) -> int:
    """Fill `slots` with the tokens that have bytes; the first token whose bytes another has already, or -1."""
    for token in range(size):
        n = load32(t.lengths + 4 * token)
        if n:
            p = t.blob + load64(t.starts + 8 * token)
            same, slot = find_token(p, n, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
            if same != NONE:
                return token
            store32(t.slots + 4 * slot, token + 1)
    return -1


@kernel
def list_pairs(t: Tables, size: int, entries: NDArray[np.int64]) -> int:
    """Write every (left, right, merged) with the bytes of left + right = merged; how many there are.

    tiktoken merges whatever two neighbours make a token, so each way to cut a token in two tokens is a pair.
    `entries` has room for the bytes of all tokens.
    """
    found = 0
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        for cut in range(1, n):
            left, _ = find_token(p, cut, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
            if left != NONE:
                right, _ = find_token(p + cut, n - cut, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
                if right != NONE:
                    entries[found] = (left << ID_BITS | right) << ID_BITS | token
                    found += 1
    return found


@kernel
def index_pairs(t: Tables, entries: NDArray[np.int64]) -> None:
    """Fill `pairs` (all EMPTY) and `byte_pairs` from the entries of `list_pairs`."""
    for entry in entries:
        slot = (((entry >> ID_BITS) * GOLDEN) >> 32) & t.pairs_mask
        while load64(t.pairs + 8 * slot) != EMPTY:
            slot = (slot + 1) & t.pairs_mask
        store64(t.pairs + 8 * slot, entry)
    for first in range(256):
        for second in range(256):
            left, right = load32(t.byte_ids + 4 * first), load32(t.byte_ids + 4 * second)
            merged = _find_pair(left, right, t.pairs, t.pairs_mask)
            store32(t.byte_pairs + 4 * (first << 8 | second), merged)


# ---- The encoder ----


@kernel
def _merge_short(p: int, n: int, t: Tables, out: int) -> int:
    """BPE of the n <= SHORT bytes at p, ids (uint32) to `out`: merge the leftmost pair of lowest rank, again and again.

    n * n steps in the worst case, which for so few bytes is faster than any list or heap.
    """
    for i in range(n):
        store32(out + 4 * i, load32(t.byte_ids + 4 * load8(p + i)))
    for i in range(n - 1):
        store32(t.ranks + 4 * i, load32(t.byte_pairs + 4 * (load8(p + i) << 8 | load8(p + i + 1))))
    while n > 1:
        best, at = NONE, 0
        for i in range(n - 1):
            rank = load32(t.ranks + 4 * i)
            if rank < best:
                best, at = rank, i
        if best == NONE:
            break
        n -= 1
        store32(out + 4 * at, best)
        for i in range(at + 1, n):
            store32(out + 4 * i, load32(out + 4 * i + 4))
            store32(t.ranks + 4 * i - 4, load32(t.ranks + 4 * i))
        if at > 0:
            left = load32(out + 4 * at - 4)
            store32(t.ranks + 4 * at - 4, _find_pair(left, best, t.pairs, t.pairs_mask))
        if at < n - 1:
            right = load32(out + 4 * at + 4)
            store32(t.ranks + 4 * at, _find_pair(best, right, t.pairs, t.pairs_mask))
    return n


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
def _merge_long(p: int, n: int, t: Tables, out: int) -> int:
    """As `_merge_short` for any n, in n log n: a linked list of parts and a heap of rank << 40 | position.

    A heap item is stale when its position no longer has that rank; it is skipped when it comes up. Each merge
    pushes two items at most, so 3n are room enough.
    """
    ids, ranks = np.empty(n, np.uint32), np.full(n, NONE, np.uint32)
    after, before = np.arange(1, n + 1), np.arange(-1, n - 1)
    heap, size = np.empty(3 * n, np.int64), 0
    for i in range(n):
        ids[i] = load32(t.byte_ids + 4 * load8(p + i))
    for i in range(n - 1):
        ranks[i] = load32(t.byte_pairs + 4 * (load8(p + i) << 8 | load8(p + i + 1)))
        if ranks[i] != NONE:
            size = _push(heap, size, np.int64(ranks[i]) << 40 | i)
    while size:
        rank, at = heap[0] >> 40, heap[0] & 0xFFFFFFFFFF
        size = _pop(heap, size)
        if ranks[at] != rank:
            continue
        gone = after[at]
        ids[at], ranks[at], ranks[gone] = rank, NONE, NONE
        after[at] = after[gone]
        if after[at] < n:
            before[after[at]] = at
            ranks[at] = _find_pair(rank, np.int64(ids[after[at]]), t.pairs, t.pairs_mask)
            if ranks[at] != NONE:
                size = _push(heap, size, np.int64(ranks[at]) << 40 | at)
        left = before[at]
        if left >= 0:
            ranks[left] = _find_pair(np.int64(ids[left]), rank, t.pairs, t.pairs_mask)
            if ranks[left] != NONE:
                size = _push(heap, size, np.int64(ranks[left]) << 40 | left)
    count, at = 0, 0
    while at < n:
        store32(out + 4 * count, np.int64(ids[at]))
        count += 1
        at = after[at]
    return count


@kernel
def _encode_pretoken(p: int, n: int, limit: int, t: Tables, out: int) -> int:
    """Ids (uint32) of the n bytes at p to `out`, which has room for n; how many there are."""
    token, _ = find_token(p, n, limit, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
    if token != NONE:
        store32(out, token)
        return 1
    if n <= SHORT:
        return _merge_short(p, n, t, out)
    return _merge_long(p, n, t, out)


@kernel
def encode_texts(
    text: int, limit: int, offsets: NDArray[np.int64], t: Tables, out: int, out_offsets: NDArray[np.int64]
) -> int:
    """Encode texts `text + offsets[i] .. text + offsets[i + 1]`; ids (uint32) to `out`, bounds to `out_offsets`.

    `out` has room for one id a byte and CACHED_IDS more; `limit` is where the readable bytes at `text` end. Returns
    the number of ids. The cache is direct-mapped and lossy: it holds what `_encode_pretoken` says for the pretoken,
    so that its contents change the speed and never the ids.
    """
    count = 0
    out_offsets[0] = 0
    for i in range(len(offsets) - 1):
        p, end = text + offsets[i], text + offsets[i + 1]
        while p < end:
            q = next_boundary(t.scheme, p, end, t.classes)
            n = q - p
            at = out + 4 * count
            if n > KEY_BYTES:
                count += _encode_pretoken(p, n, limit, t, at)
                p = q
                continue
            if n < 8:
                low, high = load_short(p, n, limit), n << 56
            else:
                low, high = load64(p), load_short(p + 8, n - 8, limit) | n << 56
            h = (low * GOLDEN) ^ high
            h = (h ^ h >> 29) * GOLDEN
            entry = t.cache + ENTRY_BYTES * ((h >> 32) & t.cache_mask)
            if load64(entry) == low and load64(entry + 8) == high:
                ids = load64(entry + 16)
                store64(at, ids & ~(0xF << 28))  # the count sits on top of the first id
                store64(at + 8, load64(entry + 24))
                count += ids >> 28 & 0xF
            else:
                found = _encode_pretoken(p, n, limit, t, at)
                if found <= CACHED_IDS:
                    store64(entry, low)
                    store64(entry + 8, high)
                    store64(entry + 16, (load64(at) & ~(0xF << 28)) | found << 28)
                    store64(entry + 24, load64(at + 8))
                count += found
            p = q
        out_offsets[i + 1] = count
    return count
