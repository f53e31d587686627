"""A text -> its words, by which benchmarks and documents are compared, and the place of each word in the text.

A word is letters and digits in lower case, without marks (canonical decomposition without the category Mn). Words are
divided by punctuation, symbols, white space and control characters; invisible format characters are left out. In
scripts without spaces, each character ends a word, which is the character and up to three before it. Numbers stay as
they are, unlike in the FOLD of deduplication: often only its numbers tell one problem of arithmetic from another.

The kernels read the table of characters, too. This module reads it in Python, for the few texts that have matches.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

from corpus.text.fold import CharacterTable, make_table
from corpus.text.kernels.words import BLANK, KIND, MARK, RUN, SEVERAL, UNSPACED

_VALUE = (1 << KIND) - 1


class Word(NamedTuple):
    """A word, and the range [start, end) of characters of the text that it is made of."""

    text: str
    start: int
    end: int


@functools.cache
def word_table() -> CharacterTable:
    """The table of characters, as `corpus.text.kernels.words` reads it."""
    return make_table(become, "")


def become(character: str) -> str:
    """The normalised form of a character: "" if it is left out, " " if it divides words."""
    lower = "σ" if character == "ς" else character.lower()
    category = unicodedata.category(lower[0])
    if category == "Cf":
        return ""
    if category[0] in "PSZC":
        return " "
    return "".join(c for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn")


def split_words(text: str) -> list[Word]:
    """The words of a text, in order."""
    words: list[Word] = []
    word, start = "", 0  # the open word of ordinary characters, and where it began
    run: list[tuple[str, int]] = []  # the last characters of a script without spaces, and where each began
    for at, character in enumerate(text):
        for kind, became in _entries(character):
            if kind in (BLANK, UNSPACED) and word:
                words.append(Word(word, start, at))
                word = ""
            if kind == UNSPACED:
                run = [*run[1 - RUN :], (became, at)]
                words.append(Word("".join(c for c, _ in run), run[0][1], at + 1))
            elif kind == BLANK:
                run = []
            elif kind != MARK:
                start = start if word else at
                word += became
                run = []
    return [*words, Word(word, start, len(text))] if word else words


@functools.lru_cache(maxsize=65536)
def _entries(character: str) -> tuple[tuple[int, str], ...]:
    table = word_table()
    entry = int(table.entries[ord(character)])
    if entry >> KIND == SEVERAL:
        count, *several = table.several[entry & _VALUE].tolist()
        return tuple((one >> KIND, chr(one & _VALUE)) for one in several[:count])
    return ((entry >> KIND, chr(entry & _VALUE)),)
