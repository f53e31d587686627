"""A URL's bytes -> the hashes of its host and page; and the look-up of a hash in a table.

A hash takes in one byte after the other. A host is hashed from its end, so one pass has the hashes of all domains above
the host as well; the hash of a page continues that of its host with the bytes after the host. These kernels read plain
addresses alone: http(s)://host[:port][/...] with a host of ASCII letters, digits, "-", "_" and dots. Other addresses
are for `corpus.filters.addresses`, which is the definition that these kernels agree with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from bpe.kernels.memory import load8, load16, load32, load64
from corpus.filters.kernels import kernel

SEED = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio (Knuth, TAOCP 3, 6.4)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)  # odd; with the shift it spreads the bits, as in MurmurHash

# A table of hashes is int64[5]: the number of entries, the addresses of three arrays, and a shift
# (see corpus.filters.blocklist.Blocklist).
COUNT, HASHES, LABELS, INDEX, SHIFT = range(5)
# The kind of an entry; its label is category << KIND_BITS | kind.
EXACT, BELOW, PAGE = 1, 2, 3  # a host; a host and all hosts below it; a page
RULE, WILDCARD, EXCEPTION = 1, 2, 3  # in the table of public suffixes
KIND_BITS = 2

NO_LETTER = 0  # the entry of a byte that no plain host has, in the table of the letters of hosts


@kernel
def step(h: Any, byte: Any) -> Any:
    """The hash `h` with one more byte. It is a bijection, so strings that differ in one byte never share a hash."""
    h = (h ^ uint64(byte)) * MULTIPLIER
    return h ^ h >> uint64(29)


@kernel
def hash_bytes(data: Any) -> Any:
    h = SEED
    for i in range(len(data)):
        h = step(h, data[i])
    return h


@kernel
def find_hash(h: Any, table: Any, kinds: Any) -> Any:
    """The number of the first entry with the hash h and one of the kinds; -1 if there is none.

    `table` is the address of a table; bit k of `kinds` asks for kind k.
    """
    if load64(table + 8 * COUNT) == 0:
        return int64(-1)
    bucket = int64(h >> uint64(load64(table + 8 * SHIFT)))
    index = load64(table + 8 * INDEX) + 4 * bucket
    at, stop = load32(index), load32(index + 4)
    hashes = load64(table + 8 * HASHES)
    while at < stop:
        entry = uint64(load64(hashes + 8 * at))
        if entry >= h:
            if entry > h:
                break
            kind = load16(load64(table + 8 * LABELS) + 2 * at) & ((1 << KIND_BITS) - 1)
            if kinds >> kind & 1:
                return int64(at)
        at += 1
    return int64(-1)


@kernel
def find(data: Any, table: Any, kinds: Any) -> Any:
    """`find_hash` for the hash of `data`."""
    return find_hash(hash_bytes(data), table, kinds)


@kernel
def after_scheme(p: Any, end: Any) -> Any:
    """The address of the host in the URL [p, end); p if the URL is not http or https."""
    if end - p < 8 or load32(p) | 0x20202020 != 0x70747468:  # http
        return p
    q = p + 4
    if load8(q) | 0x20 == 0x73:  # s
        q += 1
    if load16(q) == 0x2F3A and load8(q + 2) == 0x2F:  # ://
        return q + 3
    return p


@kernel
def host_end(p: Any, end: Any, letters: Any) -> Any:
    """The end of the plain host that begins at p; p if the host is not plain.

    A host with an empty label is not plain, and one whose last label begins with a digit (an IP address) is not either.
    """
    q, label = p, p
    while q < end:
        c = load8(letters + load8(q))
        if c == NO_LETTER:
            break
        if c == 0x2E:
            if q == label:
                return p
            label = q + 1
        q += 1
    if q == label or (load8(label) >= 0x30 and load8(label) <= 0x39):
        return p
    return q


@kernel
def page_hash(h: Any, p: Any, end: Any) -> Any:
    """(the hash of a page, whether the address is plain) from the hash of its host and the bytes [p, end) after it."""
    if p < end and load8(p) == 0x3A:  # :
        p += 1
        first, port = p, int64(0)
        while p < end and load8(p) >= 0x30 and load8(p) <= 0x39 and p - first < 6:
            port = 10 * port + load8(p) - 0x30
            p += 1
        if p == first or port > 65535 or load8(first) == 0x30:
            return h, False
        if port != 80 and port != 443:
            for q in range(first - 1, p):
                h = step(h, load8(q))
    if p < end and load8(p) != 0x2F and load8(p) != 0x3F and load8(p) != 0x23:  # / ? #
        return h, False
    path, query, stop = p, end, end
    while p < end:
        c = load8(p)
        if c <= 0x20:
            return h, False
        if c == 0x23 and stop == end:
            stop = p
        if c == 0x3F and stop == end and query == end:
            query = p
        p += 1
    query = min(query, stop)
    last = query
    while last > path and load8(last - 1) == 0x2F:
        last -= 1
    if last == path:
        h = step(h, 0x2F)
    for q in range(path, last):
        h = step(h, load8(q))
    if stop - query > 1:
        for q in range(query, stop):
            h = step(h, load8(q))
    return h, True


@kernel
def is_www(p: Any) -> Any:
    """Whether the three bytes at p are `www`, in small letters or capitals."""
    return load8(p) | 0x20 == 0x77 and load8(p + 1) | 0x20 == 0x77 and load8(p + 2) | 0x20 == 0x77
