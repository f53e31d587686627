"""The encoder's loop: pretokens from a cache where they are in one, else merged (`words`).

Two caches hold what short (up to 15 bytes) and middling (up to 31 bytes) pretokens become. They are lossy, so they
need no room to grow, and what they hold changes the speed and never the ids.
"""

from __future__ import annotations

import numpy as np

from bpe.kernels import kernel
from bpe.kernels.memory import (
    GOLDEN,
    load32,
    load64,
    load_short,
    prefetch,
    store16,
    store32,
    store64,
)
from bpe.kernels.split import next_ends
from bpe.kernels.tables import _tables
from bpe.kernels.words import SHORT, _encode_pretoken, _merge_short

BATCH = 256  # pretokens found, then looked up, together

# Pretokens up to 15 bytes that become few ids are in the cache, two in each line of the processor's: both keys, then
# the ids of each. The last byte of a key holds the pretoken's length and, above its five bits, the number of ids.
# The others up to 31 bytes are in a second cache: key, ids, and in the last four bytes their number.
KEY_BYTES, LONG_KEY_BYTES = 15, 31
LINE_BYTES, LONG_LINE_BYTES = 64, 128
ID_BYTES, LONG_ID_BYTES = 16, 92


@kernel
def _write(ids: int, count: int, shift: int, out: int) -> None:
    """`count` uint32 at `ids` to `out`, as they are or as uint16."""
    for i in range(count):
        if shift == 1:
            store16(out + 2 * i, load32(ids + 4 * i))
        else:
            store32(out + 4 * i, load32(ids + 4 * i))


@kernel
def _line(low: int, high: int, tables: int) -> int:
    """The cache line where a short pretoken with this key belongs."""
    t = _tables(tables)
    h = (low * GOLDEN) ^ high
    h = (h ^ h >> 29) * GOLDEN
    return t.cache + LINE_BYTES * ((h >> 32) & t.cache_mask)


@kernel
def _key(p: int, n: int, limit: int) -> tuple[int, int]:
    """The n <= KEY_BYTES bytes at p and n in two words, without a branch on n, which no processor foresees."""
    if p + 16 <= limit:
        low_bits, high_bits = 8 * min(n, 8), 8 * max(n - 8, 0)
        low = load64(p) & (-1 if low_bits == 64 else (1 << low_bits) - 1)
        return low, load64(p + 8) & ((1 << high_bits) - 1) | n << 56
    low = load_short(p, n, limit) if n < 8 else load64(p)
    return low, (load_short(p + 8, n - 8, limit) if n > 8 else 0) | n << 56


@kernel
def _encode_new(p: int, n: int, limit: int, tables: int, out: int) -> int:
    """Ids of the n <= SHORT bytes at p to `out`, as uint32 to `t.ids` too; how many."""
    t = _tables(tables)
    count = _encode_pretoken(p, n, limit, tables, t.ids)
    _write(t.ids, count, t.id_shift, out)
    return count


@kernel
def _encode_long(p: int, n: int, limit: int, tables: int, out: int, known: int) -> int:
    """Ids of the n bytes at p to `out`, by way of the second cache; how many. `t.ids` has the first `known` of them."""
    t = _tables(tables)
    if n > SHORT:
        whole = np.empty(n, np.uint32)
        count = _encode_pretoken(p, n, limit, tables, whole.ctypes.data)
        for i in range(count):  # by its name, which keeps it from being freed
            if t.id_shift == 1:
                store16(out + 2 * i, np.int64(whole[i]))
            else:
                store32(out + 4 * i, np.int64(whole[i]))
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
    line = t.long_cache + LONG_LINE_BYTES * ((h >> 32) & t.long_cache_mask & -2)
    for way in range(line, line + 2 * LONG_LINE_BYTES, LONG_LINE_BYTES):
        if load64(way) == a and load64(way + 8) == b and load64(way + 16) == c and load64(way + 24) == d:
            ids = way + LONG_KEY_BYTES + 1
            count = load32(ids + LONG_ID_BYTES)
            for i in range(0, count << t.id_shift, 8):
                store64(out + i, load64(ids + i))
            return count
    count = known if known else _encode_new(p, n, limit, tables, out)
    if count << t.id_shift <= LONG_ID_BYTES:
        way = line + (p << 7 & LONG_LINE_BYTES)
        store64(way, a)
        store64(way + 8, b)
        store64(way + 16, c)
        store64(way + 24, d)
        _write(t.ids, count, t.id_shift, way + LONG_KEY_BYTES + 1)
        store32(way + LONG_KEY_BYTES + 1 + LONG_ID_BYTES, count)
    return count


@kernel
def seed(tables: int, size: int) -> None:
    """Put the tokens that fit into the cache, so that only words of several tokens are merged at first sight."""
    t = _tables(tables)
    for token in range(size):
        p, n = t.blob + load64(t.starts + 8 * token), load32(t.lengths + 4 * token)
        if n == 0 or n > KEY_BYTES:
            continue
        if not t.whole and (_merge_short(p, n, tables, t.ids, 1) != 1 or load32(t.ids) != token):
            continue
        low, high = _key(p, n, t.blob_end)
        line = _line(low, high, tables)
        for way in range(2):  # the lower ids, which as a rule are the more frequent, stay
            if load64(line + 16 * way + 8) == 0:
                store64(line + 16 * way, low)
                store64(line + 16 * way + 8, high | 1 << 61)
                store64(line + 16 * way + 32, token)
                break


@kernel
def _look(p: int, n: int, limit: int, tables: int, out: int, key: int) -> int:
    """Ids to `out` of a pretoken that has none in the first cache; how many there are."""
    t = _tables(tables)
    if n > KEY_BYTES:
        return _encode_long(p, n, limit, tables, out, 0)
    low, high, line = load64(key), load64(key + 8), load64(key + 16)
    for way in range(line, line + 32, 16):
        if load64(way) == low and (load64(way + 8) ^ high) << 3 == 0:
            return _encode_long(p, n, limit, tables, out, 0)
    count = _encode_new(p, n, limit, tables, out)
    way = line + (p << 4 & 16)  # the victim is left to chance
    store64(way, low)
    if count << t.id_shift <= ID_BYTES and count < 8:
        store64(way + 8, high | count << 61)
        ids = line + 32 + (way - line)
        store64(ids, load64(out))
        store64(ids + 8, load64(out + 8))
    else:  # a key without ids: they are in the other cache
        store64(way + 8, high)
        _encode_long(p, n, limit, tables, out, count)
    return count


@kernel
def encode_texts(tables: int, text: int, limit: int, offsets: int, texts: int, out: int, out_offsets: int) -> int:
    """Encode `texts` texts, text i from `text + offsets[i]` to `text + offsets[i + 1]` (int64 at an address).

    Ids go to `out`, which has room for one id a byte and LONG_LINE_BYTES more, their bounds to `out_offsets` (int64).
    `limit` is where the readable bytes at `text` end. Returns the number of ids.

    Pretokens are found, then turned into keys, whose cache lines are asked for, then looked up, BATCH at a time: so
    none of these steps waits for the other.
    """
    t = _tables(tables)
    at = out
    store64(out_offsets, 0)
    for i in range(texts):
        p, end = text + load64(offsets + 8 * i), text + load64(offsets + 8 * i + 8)
        while p < end:
            found = next_ends(t.scheme, p, end, t.classes, t.work, BATCH)
            keys = t.work + 8 * BATCH
            q = p
            for j in range(found):
                stop = load64(t.work + 8 * j)
                low, high = _key(q, min(stop - q, KEY_BYTES), limit)
                if stop - q > KEY_BYTES:
                    high |= 1 << 60  # a length that no key has
                line = _line(low, high, tables)
                prefetch(line)
                store64(keys + 24 * j, low)
                store64(keys + 24 * j + 8, high)
                store64(keys + 24 * j + 16, line)
                q = stop
            j = 0
            while j < found:
                # What is in the cache is alone in a loop of few instructions, with one branch that is seldom taken.
                while j < found:
                    low, high, line = load64(keys + 24 * j), load64(keys + 24 * j + 8), load64(keys + 24 * j + 16)
                    there, second = load64(line + 8), load64(line + 24)
                    is_first = ((load64(line) ^ low) | (there ^ high) << 3) == 0
                    is_second = ((load64(line + 16) ^ low) | (second ^ high) << 3) == 0
                    count = ((there if is_first else second) >> 61 & 7) * (is_first | is_second)
                    if count == 0:
                        break
                    ids = line + (32 if is_first else 48)
                    store64(at, load64(ids))
                    store64(at + 8, load64(ids + 8))
                    at += count << t.id_shift
                    j += 1
                if j < found:
                    start = load64(t.work + 8 * j - 8) if j else p
                    at += _look(start, load64(t.work + 8 * j) - start, limit, tables, at, keys + 24 * j) << t.id_shift
                    j += 1
            p = q
        store64(out_offsets + 8 * i + 8, (at - out) >> t.id_shift)
    return (at - out) >> t.id_shift
