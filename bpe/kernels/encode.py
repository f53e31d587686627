"""The encoder's loop: cut texts into pretokens, look each up in a cache, merge those that are not in it (`words`).

Two caches hold the ids of pretokens: one of those up to KEY_BYTES bytes that become few ids, one of the others up to
LONG_KEY_BYTES bytes. A new pretoken takes the place of an old one, so the caches never grow, and what they hold
changes the speed but never the ids.
"""

from __future__ import annotations

import numpy as np

from bpe.kernels import kernel
from bpe.kernels.memory import GOLDEN, load32, load64, load_short, prefetch, store16, store32, store64
from bpe.kernels.split import next_ends
from bpe.kernels.tables import tables_at
from bpe.kernels.words import SHORT, encode_pretoken, merge_short

BATCH = 256  # pretokens that are cut, then hashed, then looked up together

# A line of the first cache is a line of the processor's cache and holds two pretokens: key, key, ids, ids of 16 bytes
# each. A key is the bytes, and in its last byte the length in the low five bits, the number of ids above them.
# A line of the second cache holds one pretoken: key (the last byte is the length), ids, and their number (4 bytes).
KEY_BYTES, LONG_KEY_BYTES = 15, 31
LINE_BYTES, LONG_LINE_BYTES = 64, 128
ID_BYTES, LONG_ID_BYTES = 16, 92


@kernel
def _write(ids: int, count: int, shift: int, out: int) -> None:
    """Copy `count` uint32 from `ids` to `out`, as uint16 if `shift` is 1."""
    for i in range(count):
        if shift == 1:
            store16(out + 2 * i, load32(ids + 4 * i))
        else:
            store32(out + 4 * i, load32(ids + 4 * i))


@kernel
def _line(low: int, high: int, tables: int) -> int:
    """The address of the line of the first cache where a pretoken with this key belongs."""
    t = tables_at(tables)
    h = (low * GOLDEN) ^ high
    h = (h ^ h >> 29) * GOLDEN
    return t.cache + LINE_BYTES * ((h >> 32) & t.cache_mask)


@kernel
def _key(p: int, n: int, limit: int) -> tuple[int, int]:
    """The key of the n <= KEY_BYTES bytes at p, in two words. No branch depends on n, which no processor predicts."""
    if p + 16 <= limit:
        low_bits, high_bits = 8 * min(n, 8), 8 * max(n - 8, 0)
        low = load64(p) & (-1 if low_bits == 64 else (1 << low_bits) - 1)
        return low, load64(p + 8) & ((1 << high_bits) - 1) | n << 56
    low = load_short(p, n, limit) if n < 8 else load64(p)
    return low, (load_short(p + 8, n - 8, limit) if n > 8 else 0) | n << 56


@kernel
def _encode_new(p: int, n: int, limit: int, tables: int, out: int) -> int:
    """Write the ids of the n <= SHORT bytes at p to `out`, and as uint32 to `t.ids`; returns how many there are."""
    t = tables_at(tables)
    count = encode_pretoken(p, n, limit, tables, t.ids)
    _write(t.ids, count, t.id_shift, out)
    return count


@kernel
def _encode_long(p: int, n: int, limit: int, tables: int, out: int, known: int) -> int:
    """Write the ids of the n bytes at p to `out`, by way of the second cache; returns how many there are.

    If `known` is above 0, `out` and `t.ids` hold the ids already, `known` of them, and only the cache is written.
    """
    t = tables_at(tables)
    if n > SHORT:
        ids = np.empty(n, np.uint32)
        count = encode_pretoken(p, n, limit, tables, ids.ctypes.data)
        for i in range(count):  # not `_write`: Numba would free the array, which only its name keeps alive
            if t.id_shift == 1:
                store16(out + 2 * i, np.int64(ids[i]))
            else:
                store32(out + 4 * i, np.int64(ids[i]))
        return count
    if n > LONG_KEY_BYTES:
        return _encode_new(p, n, limit, tables, out)
    a, b = _key(p, min(n, KEY_BYTES), limit)
    c, d = 0, n << 56
    if n > KEY_BYTES:
        b = load64(p + 8)
        c = load64(p + 16) if n >= 24 else load_short(p + 16, n - 16, limit)
        d |= load_short(p + 24, n - 24, limit) if n > 24 else 0
    h = ((a * GOLDEN ^ b) * GOLDEN ^ c) * GOLDEN ^ d
    h = (h ^ h >> 29) * GOLDEN
    first = t.long_cache + LONG_LINE_BYTES * ((h >> 32) & t.long_cache_mask & -2)
    for line in range(first, first + 2 * LONG_LINE_BYTES, LONG_LINE_BYTES):
        if load64(line) == a and load64(line + 8) == b and load64(line + 16) == c and load64(line + 24) == d:
            cached = line + LONG_KEY_BYTES + 1
            count = load32(cached + LONG_ID_BYTES)
            for i in range(0, count << t.id_shift, 8):
                store64(out + i, load64(cached + i))
            return count
    count = known if known else _encode_new(p, n, limit, tables, out)
    if count << t.id_shift <= LONG_ID_BYTES:
        line = first + (p << 7 & LONG_LINE_BYTES)  # one of the two, left to chance
        store64(line, a)
        store64(line + 8, b)
        store64(line + 16, c)
        store64(line + 24, d)
        _write(t.ids, count, t.id_shift, line + LONG_KEY_BYTES + 1)
        store32(line + LONG_KEY_BYTES + 1 + LONG_ID_BYTES, count)
    return count


@kernel
def seed(tables: int, size: int) -> None:
    """Enter the tokens below `size` that fit into the first cache: then only words of several tokens are merged."""
    t = tables_at(tables)
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        if n == 0 or n > KEY_BYTES:
            continue
        if not t.whole and (merge_short(p, n, tables, t.ids, 1) != 1 or load32(t.ids) != token):
            continue
        low, high = _key(p, n, t.blob_end)
        line = _line(low, high, tables)
        for way in range(2):  # lower ids, which are mostly more frequent, come first and stay
            if load64(line + 16 * way + 8) == 0:
                store64(line + 16 * way, low)
                store64(line + 16 * way + 8, high | 1 << 61)
                store64(line + 16 * way + 32, token)
                break


@kernel
def _encode_uncached(p: int, n: int, limit: int, tables: int, out: int, key: int) -> int:
    """Write the ids of a pretoken of which the first cache has none to `out`; returns how many there are.

    `key` is the address of its key and cache line, as `encode_texts` writes them.
    """
    t = tables_at(tables)
    if n > KEY_BYTES:
        return _encode_long(p, n, limit, tables, out, 0)
    low, high, line = load64(key), load64(key + 8), load64(key + 16)
    for way in range(line, line + 32, 16):
        if load64(way) == low and (load64(way + 8) ^ high) << 3 == 0:
            return _encode_long(p, n, limit, tables, out, 0)
    count = _encode_new(p, n, limit, tables, out)
    way = line + (p << 4 & 16)  # one of the two, left to chance
    store64(way, low)
    if count << t.id_shift <= ID_BYTES and count < 8:
        store64(way + 8, high | count << 61)
        ids = line + 32 + (way - line)
        store64(ids, load64(out))
        store64(ids + 8, load64(out + 8))
    else:  # a key of 0 ids says that the second cache has them
        store64(way + 8, high)
        _encode_long(p, n, limit, tables, out, count)
    return count


@kernel
def encode_texts(tables: int, text: int, limit: int, offsets: int, texts: int, out: int, out_offsets: int) -> int:
    """Encode `texts` texts; text i lies from `text + offsets[i]` to `text + offsets[i + 1]`. Returns the number of ids.

    `offsets` and `out_offsets` are addresses of texts + 1 int64. Ids go to `out`, which has room for one id a byte and
    LONG_LINE_BYTES more; those of text i are number `out_offsets[i]` to `out_offsets[i + 1]`. Bytes from `text` up to
    the address `limit` may be read.

    A batch of pretokens is cut, then made into keys, whose cache lines are asked for, then looked up: so no step waits
    for memory.
    """
    t = tables_at(tables)
    at = out
    store64(out_offsets, 0)
    for i in range(texts):
        p, end = text + load64(offsets + 8 * i), text + load64(offsets + 8 * i + 8)
        while p < end:
            batch = next_ends(t.scheme, p, end, t.classes, t.work, BATCH)
            keys = t.work + 8 * BATCH
            q = p
            for j in range(batch):
                stop = load64(t.work + 8 * j)
                low, high = _key(q, min(stop - q, KEY_BYTES), limit)
                if stop - q > KEY_BYTES:
                    high |= 1 << 60  # a length that no cached key has
                line = _line(low, high, tables)
                prefetch(line)
                store64(keys + 24 * j, low)
                store64(keys + 24 * j + 8, high)
                store64(keys + 24 * j + 16, line)
                q = stop
            j = 0
            while j < batch:
                # Cached pretokens have a loop of their own: few instructions, and one branch that is seldom taken.
                while j < batch:
                    low, high, line = load64(keys + 24 * j), load64(keys + 24 * j + 8), load64(keys + 24 * j + 16)
                    first, second = load64(line + 8), load64(line + 24)
                    is_first = ((load64(line) ^ low) | (first ^ high) << 3) == 0
                    is_second = ((load64(line + 16) ^ low) | (second ^ high) << 3) == 0
                    count = ((first if is_first else second) >> 61 & 7) * (is_first | is_second)
                    if count == 0:
                        break
                    ids = line + (32 if is_first else 48)
                    store64(at, load64(ids))
                    store64(at + 8, load64(ids + 8))
                    at += count << t.id_shift
                    j += 1
                if j < batch:
                    start = load64(t.work + 8 * j - 8) if j else p
                    size = load64(t.work + 8 * j) - start
                    at += _encode_uncached(start, size, limit, tables, at, keys + 24 * j) << t.id_shift
                    j += 1
            p = q
        store64(out_offsets + 8 * i + 8, (at - out) >> t.id_shift)
    return (at - out) >> t.id_shift
