"""A URL's host and page hashed as its bytes are read, and hashes looked up in a table of them.

A hash is of bytes taken one after the other. A host is taken from its end, so that one pass has the hash of the host
and of every domain above it; the page goes on where the host stopped, from its beginning. Only addresses of the plain
form are read here, http(s)://host[:port][/...] with a host of ASCII letters, digits, "-", "_" and dots; every other
one is left to `corpus.filters.addresses`, which says what is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from bpe.kernels.memory import load8, load16, load32, load64
from corpus.filters.kernels import kernel

SEED = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio (Knuth, TAOCP 3, 6.4)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)  # odd; the bits are spread by it and the shift, as in MurmurHash

# A table of hashes: where its parts are, as int64[5].
COUNT, HASHES, LABELS, INDEX, SHIFT = range(5)
# What an entry is; its label is category << KIND_BITS | kind.
EXACT, BELOW, PAGE = 1, 2, 3  # this host; it and all below it; this page
RULE, WILDCARD, EXCEPTION = 1, 2, 3  # in the table of public suffixes
KIND_BITS = 2

NO_LETTER = 0  # in the table of characters of a host: what no host of the plain form has


@kernel
def _step(h: Any, byte: Any) -> Any:
    """One more byte: a bijection, so that strings that differ in one place never share a hash."""
    h = (h ^ uint64(byte)) * MULTIPLIER
    return h ^ h >> uint64(29)


@kernel
def hash_bytes(data: Any) -> Any:
    h = SEED
    for i in range(len(data)):
        h = _step(h, data[i])
    return h


@kernel
def _find(h: Any, table: Any, kinds: Any) -> Any:
    """The first entry with this hash and one of the kinds (a bit each); -1 if there is none."""
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
    """The same for the hash of `data`."""
    return _find(hash_bytes(data), table, kinds)


@kernel
def _after_scheme(p: Any, end: Any) -> Any:
    """Where the host begins in an http or https URL; p if it is neither."""
    if end - p < 8 or load32(p) | 0x20202020 != 0x70747468:  # http
        return p
    q = p + 4
    if load8(q) | 0x20 == 0x73:  # s
        q += 1
    if load16(q) == 0x2F3A and load8(q + 2) == 0x2F:  # ://
        return q + 3
    return p


@kernel
def _host_end(p: Any, end: Any, letters: Any) -> Any:
    """Where a plain host ends that begins at p; p if it is none: an empty label, or a last one that begins with a digit
    (an IP address).
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
def _page_hash(h: Any, p: Any, end: Any) -> Any:
    """(hash of host and page, whether it is plain) from the hash of the host and the bytes after it."""
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
                h = _step(h, load8(q))
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
        h = _step(h, 0x2F)
    for q in range(path, last):
        h = _step(h, load8(q))
    if stop - query > 1:
        for q in range(query, stop):
            h = _step(h, load8(q))
    return h, True
