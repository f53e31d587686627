"""Tables of a vocabulary: its tokens by their bytes, its pairs by their ids, and where they lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import (
    GOLDEN,
    hash_bytes,
    load8,
    load32,
    load64,
    same,
    store8,
    store32,
    store64,
)

NONE = 0xFFFFFFFF  # no token
EMPTY = -1  # an empty slot of the pair table
ID_BITS = 21  # a pair table entry: left, right and what they make share 63 bits


class Tables(NamedTuple):
    """What encoding reads, as addresses, sizes and masks of power-of-two tables; int64 each, in this order in memory.

    Token i is the `lengths[i]` (int32) bytes at `blob + starts[i]` (int64). `slots` is a hash table of token + 1.
    Pairs merge in the order of their priority, and priority r makes token `made[r]`, or r itself where `made` is 0.
    """

    scheme: int
    classes: int
    blob: int
    blob_end: int
    starts: int
    lengths: int
    slots: int  # uint32
    slots_mask: int
    whole: int  # 1: a pretoken that is a token is taken as it is; 0: what its bytes merge to
    unreached: int  # how many tokens their own bytes don't merge to
    byte_ids: int  # uint32[256]
    byte_pairs: int  # uint32[65536]: the priority of a pair of single bytes, or NONE
    pairs: int  # int64: left, right, priority in ID_BITS each
    pairs_mask: int
    sieve: int  # a bit for each of sieve_mask + 1 hashes of pairs: most pairs that never merge are known by it
    sieve_mask: int
    made: int  # uint32
    id_shift: int  # ids are written as 1 << id_shift bytes: 2 or 4
    # Scratch memory of one call at a time:
    cache: int
    cache_mask: int
    long_cache: int
    long_cache_mask: int
    work: int  # 32 * BATCH bytes: the ends of pretokens, then their keys and cache lines
    ids: int  # uint32[SHORT]
    parts: int  # uint32[MIDDLING]
    ranks: int  # uint32[MIDDLING]
    lows: int  # uint32[MIDDLING / LANES]
    links: int  # uint32[2 * MIDDLING]
    seams: int  # int64[SEAMS]


@kernel
def _tables(address: int) -> Tables:
    """Tables as kernels take them: one address instead of two dozen numbers makes a call cost 1 µs instead of 20."""
    return Tables(
        load64(address),
        load64(address + 8),
        load64(address + 16),
        load64(address + 24),
        load64(address + 32),
        load64(address + 40),
        load64(address + 48),
        load64(address + 56),
        load64(address + 64),
        load64(address + 72),
        load64(address + 80),
        load64(address + 88),
        load64(address + 96),
        load64(address + 104),
        load64(address + 112),
        load64(address + 120),
        load64(address + 128),
        load64(address + 136),
        load64(address + 144),
        load64(address + 152),
        load64(address + 160),
        load64(address + 168),
        load64(address + 176),
        load64(address + 184),
        load64(address + 192),
        load64(address + 200),
        load64(address + 208),
        load64(address + 216),
        load64(address + 224),
    )


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
def _find_pair(left: int, right: int, tables: int) -> int:
    """The priority of merging `left` and `right`, or NONE."""
    t = _tables(tables)
    key = left << ID_BITS | right
    h = key * GOLDEN
    bit = (h >> 20) & t.sieve_mask
    if load8(t.sieve + (bit >> 3)) >> (bit & 7) & 1 == 0:
        return NONE
    slot = (h >> 32) & t.pairs_mask
    while True:
        entry = load64(t.pairs + 8 * slot)
        if entry == EMPTY:
            return NONE
        if entry >> ID_BITS == key:
            return entry & ((1 << ID_BITS) - 1)
        slot = (slot + 1) & t.pairs_mask


@kernel
def index_tokens(tables: int, size: int) -> None:
    """Fill `slots` with the tokens that have bytes."""
    t = _tables(tables)
    for token in range(size):
        n = load32(t.lengths + 4 * token)
        if n:
            p = t.blob + load64(t.starts + 8 * token)
            _, slot = find_token(p, n, t.blob_end, t.blob, t.starts, t.lengths, t.slots, t.slots_mask)
            store32(t.slots + 4 * slot, token + 1)


@kernel
def list_pairs(tables: int, size: int, entries: NDArray[np.int64]) -> int:
    """Write every (left, right, merged) with the bytes of left + right = merged; how many there are.

    By tiktoken's rule whatever two neighbours make a token merges, so each way to cut a token in two tokens is a pair.
    `entries` has room for the bytes of all tokens.
    """
    t = _tables(tables)
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
def index_pairs(tables: int, entries: NDArray[np.int64]) -> None:
    """Fill `pairs` (all EMPTY), `sieve` and `byte_pairs` from (left, right, priority) in ID_BITS each."""
    t = _tables(tables)
    for entry in entries:
        h = (entry >> ID_BITS) * GOLDEN
        bit = (h >> 20) & t.sieve_mask
        store8(t.sieve + (bit >> 3), load8(t.sieve + (bit >> 3)) | 1 << (bit & 7))
        slot = (h >> 32) & t.pairs_mask
        while load64(t.pairs + 8 * slot) != EMPTY:
            slot = (slot + 1) & t.pairs_mask
        store64(t.pairs + 8 * slot, entry)
    for first in range(256):
        for second in range(256):
            left, right = load32(t.byte_ids + 4 * first), load32(t.byte_ids + 4 * second)
            store32(t.byte_pairs + 4 * (first << 8 | second), _find_pair(left, right, tables))
