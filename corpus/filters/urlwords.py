"""The words of a URL, and the lists that they are looked up in.

A word is a run of letters and digits of any script behind the scheme, unescaped and in small letters: `/Free%20Books`
has the words `free` and `books`. Parts of words are searched for in all words of the URL run together.

For the kernel, the listed words in ASCII become a hash table. The parts become an automaton (Aho and Corasick 1975), in
which every state has a next state for every letter and digit.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from bpe.whole import read_whole

_HERE = Path(__file__).parent
_MOST_BYTES = 16 << 20  # of a list of words
_NOT_A_WORD = re.compile(r"[\W_]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# The Kelvin sign and the dotted I are not ASCII, but their small letters begin with an ASCII letter. They divide words.
_IMPOSTORS = str.maketrans({"\u212a": " ", "\u0130": " "})
_FOUND = 0xFFFFFFFF  # the state of the automaton after a part


class Tables(NamedTuple):
    """Word lists as the kernel reads them, see `corpus.filters.kernels.judge`.

    words      uint64[2^n]: a hash table of words, 0 in free slots
    strengths  uint8[2^n]: HARD or SOFT, for each slot
    parts      uint32[states, 64]: the next state of each state and symbol
    foreign    whether a listed word is not ASCII
    """

    words: NDArray[np.uint64]
    strengths: NDArray[np.uint8]
    parts: NDArray[np.uint32]
    foreign: bool


def split_url(url: str) -> list[str]:
    """The words of a URL, in order."""
    text = unquote(url[match.end() :] if (match := _SCHEME.match(url)) else url, errors="replace")
    if not text.isascii():
        text = text.translate(_IMPOSTORS)
    return [word for word in _NOT_A_WORD.split(text.lower()) if word]


def word_list(path: str | None, built_in: str) -> frozenset[str]:
    """The words of a list, in small letters; the built-in list if `path` is None.

    Raises ValueError if an entry has several words.
    """
    words = set()
    for entry in _entries(path, built_in):
        parts = split_url(entry)
        if len(parts) > 1:
            raise ValueError(f"word list {path}: {entry!r} is several words; put parts of URLs into the subwords")
        words.update(parts)
    return frozenset(words)


def part_list(path: str | None, built_in: str) -> frozenset[str]:
    """The parts of words of a list; the words of one entry are run together, as the words of a URL are."""
    return frozenset(part for entry in _entries(path, built_in) if (part := "".join(split_url(entry))))


def _entries(path: str | None, built_in: str) -> list[str]:
    """The lines of a list file without comments and blank lines."""
    file = _HERE / built_in if path is None else Path(path)
    try:
        lines = read_whole(file, _MOST_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise OSError(f"word list {file}: {error.strerror}; give a text file with one word per line") from error
    except UnicodeDecodeError:
        raise ValueError(f"word list {file}: is not UTF-8; give a text file with one word per line") from None
    return [entry for line in lines if (entry := line.partition("#")[0].strip())]


def first_part(parts: frozenset[str], text: str) -> str | None:
    """The first part in `text`, and the longest of several that begin at one place; None if there is none."""
    match = _any_of(parts).search(text)
    return match.group() if match else None


@lru_cache(maxsize=8)
def _any_of(parts: frozenset[str]) -> re.Pattern[str]:
    words = sorted(parts, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, words)) or r"(?!)")


def tables(hard: frozenset[str], soft: frozenset[str], parts: frozenset[str]) -> Tables:
    """The three lists as the kernel reads them."""
    words, strengths = _hash_table({word: word in hard for word in hard | soft if word.isascii()})
    foreign = not all(word.isascii() for word in hard | soft | parts)
    return Tables(words, strengths, _automaton([_symbols(part) for part in sorted(parts) if part.isascii()]), foreign)


@lru_cache(maxsize=1)
def symbols() -> NDArray[np.uint8]:
    """uint8[256]: the symbol of each byte of a URL, see `corpus.filters.kernels.judge`."""
    from corpus.filters.kernels import judge

    table = np.full(256, judge.BETWEEN, np.uint8)
    for number, byte in enumerate(b"0123456789abcdefghijklmnopqrstuvwxyz"):
        table[byte] = table[ord(chr(byte).upper())] = number
    table[ord("%")] = judge.PERCENT
    table[128:] = judge.NOT_ASCII
    return table


def _symbols(word: str) -> bytes:
    return symbols()[np.frombuffer(word.encode("ascii"), np.uint8)].tobytes()


def _hash_table(words: dict[str, bool]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Words and strengths of `Tables`, from words and whether they are hard.

    It has open addressing by the upper half of the hash, and is at most a quarter full.
    """
    from corpus.filters.kernels import addresses, judge

    size = 1 << max(4, (4 * len(words)).bit_length())
    table, strengths = np.zeros(size, np.uint64), np.zeros(size, np.uint8)
    for word in sorted(words):
        h = int(addresses.hash_bytes(_symbols(word)))
        slot = h >> 32 & size - 1
        while table[slot]:
            slot = slot + 1 & size - 1
        table[slot], strengths[slot] = h, judge.HARD if words[word] else judge.SOFT
    return table, strengths


def _automaton(parts: list[bytes]) -> NDArray[np.uint32]:
    """uint32[states, STATE]: the next state for each state and symbol; _FOUND behind a part."""
    from corpus.filters.kernels import judge

    children: list[dict[int, int]] = [{}]
    for part in parts:
        state = 0
        for symbol in part:
            if symbol not in children[state]:
                children.append({})
                children[state][symbol] = len(children) - 1
            state = children[state][symbol]
        children[state] = {-1: 0}  # a part ends here; longer parts that begin with it are not needed
    table = np.zeros((len(children), judge.STATE), np.uint32)
    waiting = deque([(0, 0)])
    while waiting:  # breadth first: the state that a state falls back to is filled in before it
        state, fails_to = waiting.popleft()
        if state:
            table[state] = table[fails_to]
        for symbol, child in children[state].items():
            after = int(table[state, symbol])  # the next state of the state that this one falls back to
            if -1 in children[child] or after == _FOUND:
                table[state, symbol] = _FOUND
            else:
                table[state, symbol] = child
                waiting.append((child, after if state else 0))
    return table
