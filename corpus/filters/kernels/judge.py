"""The URLs of a column that may be unwanted: all that are, and few others."""

from __future__ import annotations

from typing import Any

from numba import int64, uint64

from bpe.kernels.memory import load8, load32, load64, store8
from corpus.filters.kernels import kernel
from corpus.filters.kernels.addresses import (
    BELOW,
    COUNT,
    EXACT,
    PAGE,
    SEED,
    _after_scheme,
    _find,
    _host_end,
    _page_hash,
    _step,
)
from corpus.filters.kernels.lists import _is_www

# What URLs are judged by, as int64[8]: addresses of the table of the block list, of the letters of hosts and the
# symbols of words (uint8[256] each), of a hash table of words (uint64 each; their strengths uint8) and its mask, how
# many soft words are too many, the automaton of parts of words, and whether words are listed that are not ASCII.
TABLE, LETTERS, SYMBOLS, WORDS, STRENGTHS, MASK, LIMIT, PARTS, FOREIGN = range(9)
HARD, SOFT = 1, 2
# Symbols of words: 0 to 35 for 0-9a-z in either case, and
BETWEEN, PERCENT, NOT_ASCII = 36, 37, 38
STATE = 64  # entries of a state of the automaton


@kernel
def suspects(content: Any, offsets: Any, n: Any, plan: Any, flags: Any) -> Any:
    """Set flags[i] (uint8) to whether URL i has to be looked at; returns how many have.

    URL i is the bytes offsets[i] to offsets[i + 1] (int64) of `content`; all are given by address.
    """
    count = int64(0)
    for i in range(n):
        first, end = content + load64(offsets + 8 * i), content + load64(offsets + 8 * i + 8)
        flag = 1 if _is_suspect(first, end, plan) else 0
        store8(flags + i, flag)
        count += flag
    return count


@kernel
def _is_suspect(first: Any, end: Any, plan: Any) -> Any:
    host = _after_scheme(first, end)
    if host == first:
        return True
    letters, table = load64(plan + 8 * LETTERS), load64(plan + 8 * TABLE)
    stop = _host_end(host, end, letters)
    if stop == host:
        return True
    h, page, dots, q = SEED, SEED, 0, stop
    is_listed = load64(table + 8 * COUNT) > 0
    while q > host:
        q -= 1
        c = load8(letters + load8(q))
        if c == 0x2E:
            if is_listed and _find(h, table, 1 << BELOW) >= 0:
                return True
            if dots > 0 and q - host == 3 and _is_www(host):
                page = h
            dots += 1
        h = _step(h, c)
    page, plain = _page_hash(h if page == SEED else page, stop, end)
    if not plain:
        return True
    if is_listed and (_find(h, table, 1 << EXACT | 1 << BELOW) >= 0 or _find(page, table, 1 << PAGE) >= 0):
        return True
    return _has_words(host, end, plan)


@kernel
def _has_words(p: Any, end: Any, plan: Any) -> Any:
    """Whether a hard word, soft words or a part of a word may be in a text; what is not ASCII divides words."""
    symbols, parts = load64(plan + 8 * SYMBOLS), load64(plan + 8 * PARTS)
    soft, length, h = int64(0), int64(0), SEED
    state: Any = int64(0)
    symbol: Any
    while p <= end:
        symbol = load8(symbols + load8(p)) if p < end else BETWEEN
        if symbol == PERCENT and end - p > 2:
            decoded = _unescaped(p)
            if decoded >= 0:
                symbol = load8(symbols + decoded)
                if symbol == PERCENT:
                    symbol = BETWEEN
                p += 2
        if symbol < BETWEEN:
            h = _step(h, symbol)
            length += 1
            state = load32(parts + 4 * (STATE * state + symbol))
            if state == 0xFFFFFFFF:
                return True
        else:
            if symbol == NOT_ASCII and load64(plan + 8 * FOREIGN):
                return True
            if length:
                strength = _strength(h, plan)
                if strength == HARD:
                    return True
                soft += 1 if strength == SOFT else 0
                length, h = int64(0), SEED
        p += 1
    return soft >= load64(plan + 8 * LIMIT)


@kernel
def _unescaped(p: Any) -> Any:
    """The byte that the three at p stand for, %XX; -1 if they do not."""
    value = int64(0)
    for q in range(p + 1, p + 3):
        c = load8(q)
        lower = c | 0x20
        if c >= 0x30 and c <= 0x39:
            value = 16 * value + c - 0x30
        elif lower >= 0x61 and lower <= 0x66:
            value = 16 * value + lower - 0x57
        else:
            return int64(-1)
    return value


@kernel
def _strength(h: Any, plan: Any) -> Any:
    """HARD, SOFT or 0, for the hash of a word's symbols."""
    words, mask = load64(plan + 8 * WORDS), uint64(load64(plan + 8 * MASK))
    slot = h >> uint64(32) & mask
    while True:
        entry = uint64(load64(words + 8 * int64(slot)))
        if entry == h:
            return load8(load64(plan + 8 * STRENGTHS) + int64(slot))
        if entry == uint64(0):
            return int64(0)
        slot = (slot + uint64(1)) & mask
