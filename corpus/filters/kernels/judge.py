"""A column of URLs -> which of them may fail a rule: all URLs that fail one, and few others."""

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
    after_scheme,
    find_hash,
    host_end,
    is_www,
    page_hash,
    step,
)

# The plan that URLs are judged by is int64[9]. Addresses: TABLE of the block list's table, LETTERS and SYMBOLS of the
# letters of hosts and the symbols of words (uint8[256] each), WORDS and STRENGTHS of a hash table of words and their
# strengths (uint64[2^n], uint8[2^n]), PARTS of the automaton of parts of words. Numbers: MASK is 2^n - 1, LIMIT the
# number of soft words that drop a URL, FOREIGN whether a listed word is not ASCII.
TABLE, LETTERS, SYMBOLS, WORDS, STRENGTHS, MASK, LIMIT, PARTS, FOREIGN = range(9)
HARD, SOFT = 1, 2
# Symbols: 0 to 35 for digits and letters in either case; three more for other ASCII characters, % and other bytes.
BETWEEN, PERCENT, NOT_ASCII = 36, 37, 38
STATE = 64  # entries for each state of the automaton


@kernel
def suspects(content: Any, offsets: Any, n: Any, plan: Any, flags: Any) -> Any:
    """Set flags[i] (uint8) to 1 if URL i may fail a rule, else to 0; returns the number of ones.

    URL i is content[offsets[i] : offsets[i + 1]] (offsets int64[n + 1]). All arrays are given by their addresses.
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
    host = after_scheme(first, end)
    if host == first:
        return True
    letters, table = load64(plan + 8 * LETTERS), load64(plan + 8 * TABLE)
    stop = host_end(host, end, letters)
    if stop == host:
        return True
    h, page, dots, q = SEED, SEED, 0, stop
    is_listed = load64(table + 8 * COUNT) > 0
    while q > host:
        q -= 1
        c = load8(letters + load8(q))
        if c == 0x2E:
            if is_listed and find_hash(h, table, 1 << BELOW) >= 0:
                return True
            if dots > 0 and q - host == 3 and is_www(host):
                page = h
            dots += 1
        h = step(h, c)
    page, plain = page_hash(h if page == SEED else page, stop, end)
    if not plain:
        return True
    if is_listed and (find_hash(h, table, 1 << EXACT | 1 << BELOW) >= 0 or find_hash(page, table, 1 << PAGE) >= 0):
        return True
    return _has_words(host, end, plan)


@kernel
def _has_words(p: Any, end: Any, plan: Any) -> Any:
    """Whether a hard word, too many soft words or a part of a word may be in the bytes [p, end).

    A byte that is not ASCII divides words here.
    """
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
            h = step(h, symbol)
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
    """The byte that %XX at p stands for; -1 if the two bytes behind % are not hexadecimal digits."""
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
    """HARD, SOFT or 0 (not listed) of the word whose symbols have the hash h."""
    words, mask = load64(plan + 8 * WORDS), uint64(load64(plan + 8 * MASK))
    slot = h >> uint64(32) & mask
    while True:
        entry = uint64(load64(words + 8 * int64(slot)))
        if entry == h:
            return load8(load64(plan + 8 * STRENGTHS) + int64(slot))
        if entry == uint64(0):
            return int64(0)
        slot = (slot + uint64(1)) & mask
