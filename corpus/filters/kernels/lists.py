"""The lines of a list of hosts and pages -> their hashes: 85 MB of domains in about a second."""

from __future__ import annotations

from typing import Any

from numba import int64

from bpe.kernels.memory import load8
from corpus.filters.kernels import kernel
from corpus.filters.kernels.addresses import (
    BELOW,
    EXACT,
    EXCEPTION,
    KIND_BITS,
    PAGE,
    RULE,
    SEED,
    WILDCARD,
    after_scheme,
    find_hash,
    host_end,
    is_www,
    page_hash,
    step,
)


@kernel
def read_lines(data: Any, size: Any, letters: Any, suffixes: Any, category: Any, entries: Any, odd: Any) -> Any:
    """Hash the lines of the `size` bytes at `data`, each of which ends with a newline.

    letters   the address of the letters of hosts, uint8[256]
    suffixes  the address of the table of public suffixes
    entries   (hashes uint64[n], labels uint16[n]), for up to n lines: gets the lines that are a plain host or address
    odd       int64[n, 2]: gets the first byte and the end of every other line that is not empty

    Returns the numbers of entries and of odd lines.
    """
    hashes, labels = entries
    count, strange, at = 0, 0, data
    while at < data + size:
        newline = at
        while load8(newline) != 0x0A:
            newline += 1
        first, end = at, at
        while end < newline and load8(end) != 0x23:  # a comment, or the fragment of an address
            end += 1
        while first < end and load8(first) <= 0x20:
            first += 1
        while end > first and load8(end - 1) <= 0x20:
            end -= 1
        if first < end:
            h, kind = _entry(first, end, letters, suffixes)
            if kind:
                hashes[count], labels[count] = h, category << KIND_BITS | kind
                count += 1
            else:
                odd[strange, 0], odd[strange, 1] = at - data, newline - data
                strange += 1
        at = newline + 1
    return count, strange


@kernel
def _entry(p: Any, end: Any, letters: Any, suffixes: Any) -> Any:
    """(hash, kind) of the entry [p, end); kind 0 if it is not plain."""
    host = after_scheme(p, end)
    is_page, below = host > p, False
    if not is_page:
        while end - host > 1 and (load8(host) == 0x2E or (load8(host) == 0x2A and load8(host + 1) == 0x2E)):
            host += 1 if load8(host) == 0x2E else 2
            below = True
    stop = host_end(host, end, letters)
    if stop == host:
        return SEED, int64(0)
    h, parent, page, dots, q = SEED, SEED, SEED, 0, stop
    while q > host:
        q -= 1
        c = load8(letters + load8(q))
        if c == 0x2E:
            parent = h
            if dots > 0 and q - host == 3 and is_www(host):
                page = h
            dots += 1
        h = step(h, c)
    if is_page or stop < end:
        if below:
            return h, int64(0)
        page, plain = page_hash(h if page == SEED else page, stop, end)
        return page, int64(PAGE if plain else 0)
    if below or not _is_public(h, parent, dots, suffixes):
        return h, int64(BELOW)
    return h, int64(EXACT)


@kernel
def _is_public(h: Any, parent: Any, dots: Any, suffixes: Any) -> Any:
    """Whether a host is a public suffix (publicsuffix.org), by its hash and the hash of the domain above it."""
    if dots == 0 or find_hash(h, suffixes, 1 << RULE) >= 0:
        return True
    return find_hash(parent, suffixes, 1 << WILDCARD) >= 0 and find_hash(h, suffixes, 1 << EXCEPTION) < 0
