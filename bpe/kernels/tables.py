"""The encoder's lookup tables: tokens by their bytes, and which pairs of tokens merge.

`bpe.encode` makes the arrays, the kernels here fill them, and every kernel of the encoder finds them through one
address: that of the numbers of a `Tables`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import GOLDEN, hash_bytes, load8, load32, load64, same, store8, store32, store64

NONE = 0xFFFFFFFF  # the rank or the id where there is none
EMPTY = -1  # an empty slot of the pair table
ID_BITS = 21  # an entry of the pair table holds left, right and rank in 63 bits


class Tables(NamedTuple):
    """What encoding reads and its scratch memory: addresses and sizes, int64 each, which lie in memory in this order.

    Token i is the `lengths[i]` bytes at `blob + starts[i]`. Hash tables have a power of two of slots, and a mask that
    is one less. Of all pairs in a pretoken the one of the lowest rank merges first: into the token
    `made[rank]`, or into the token `rank` itself where `made` is 0 (no address).
    """

    scheme: int  # as of `scan.next_boundary`, with its classes
    classes: int
    blob: int  # the bytes of all tokens
    blob_end: int
    starts: int  # int64[tokens]
    lengths: int  # uint32[tokens]
    slots: int  # uint32: a hash table of token + 1, by the token's bytes
    slots_mask: int
    whole: int  # 1: a pretoken that is a token becomes that token; 0: it becomes what its bytes merge to
    unreached: int  # the number of tokens that their own bytes do not merge to
    byte_ids: int  # uint32[256]: the token of each byte
    byte_pairs: int  # uint32[65536]: the rank of each pair of bytes, or NONE
    pairs: int  # int64: a hash table of pairs; left, right and rank in ID_BITS each, or EMPTY
    pairs_mask: int
    sieve: int  # a bit for each hash of a pair, set if such a pair merges: it saves most look-ups in `pairs`
    sieve_mask: int
    made: int  # uint32
    id_shift: int  # an id is written in 1 << id_shift bytes: 2 or 4
    # Scratch memory, for one call at a time:
    cache: int  # lines of LINE_BYTES (`kernels.encode`)
    cache_mask: int
    long_cache: int  # lines of LONG_LINE_BYTES
    long_cache_mask: int
    work: int  # 32 * BATCH bytes: the ends of a batch of pretokens, then their keys and cache lines
    ids: int  # uint32[MIDDLING] (`kernels.words`): the ids of one pretoken
    parts: int  # uint32[MIDDLING]: the token of the part that starts at each byte
    ranks: int  # uint32[MIDDLING]: the rank of that part and the next
    lows: int  # uint32[MIDDLING / LANES]: the lowest of LANES ranks
    links: int  # uint32[2 * MIDDLING]: where the next part starts, then where the one before does
    seams: int  # int64[SEAMS]: which pairs of tokens stay apart


@kernel
def tables_at(address: int) -> Tables:
    """The tables whose numbers lie at an address. A call with one address costs 1 µs, with 29 numbers 20 µs."""
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
def find_token(p: int, n: int, limit: int, tables: int) -> tuple[int, int]:
    """(the token whose bytes are the n at p, or NONE; its slot, or the empty slot where it would be entered).

    Bytes up to the address `limit` may be read.
    """
    t = tables_at(tables)
    slot = hash_bytes(p, n, limit) & t.slots_mask
    while True:
        token = load32(t.slots + 4 * slot) - 1
        if token < 0:
            return NONE, slot
        if load32(t.lengths + 4 * token) == n and same(p, t.blob + load64(t.starts + 8 * token), n):
            return token, slot
        slot = (slot + 1) & t.slots_mask


@kernel
def find_pair(left: int, right: int, tables: int) -> int:
    """The rank of the pair of tokens `left` and `right`, or NONE if they do not merge."""
    t = tables_at(tables)
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
    """Fill `slots` with the tokens below `size` that have bytes."""
    t = tables_at(tables)
    for token in range(size):
        n = load32(t.lengths + 4 * token)
        if n:
            _, slot = find_token(t.blob + load64(t.starts + 8 * token), n, t.blob_end, tables)
            store32(t.slots + 4 * slot, token + 1)


@kernel
def list_pairs(tables: int, size: int, entries: NDArray[np.int64]) -> int:
    """Write an entry (left, right, merged) for each way to cut a token into two tokens; returns how many there are.

    By tiktoken's rule all of these merge: two neighbours whose bytes together are a token. `entries` needs room for
    as many as the tokens below `size` have bytes.
    """
    t = tables_at(tables)
    count = 0
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        for cut in range(1, n):
            left, _ = find_token(p, cut, t.blob_end, tables)
            if left != NONE:
                right, _ = find_token(p + cut, n - cut, t.blob_end, tables)
                if right != NONE:
                    entries[count] = (left << ID_BITS | right) << ID_BITS | token
                    count += 1
    return count


@kernel
def index_pairs(tables: int, entries: NDArray[np.int64]) -> None:
    """Fill `pairs` (all EMPTY), `sieve` (all 0) and `byte_pairs` from entries (left, right, rank)."""
    t = tables_at(tables)
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
            store32(t.byte_pairs + 4 * (first << 8 | second), find_pair(left, right, tables))
