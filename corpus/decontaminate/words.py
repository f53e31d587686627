"""A text -> its words, as benchmarks and documents are compared by them, and where each lies.

Letters and digits in lower case, without marks (canonical decomposition, less the category Mn); punctuation, symbols,
white space and control characters come between words; format characters, which nobody sees, are left out. In scripts
without spaces a character ends a word of itself and up to three before it. Numbers stay, unlike in the FOLD of
deduplication: they are what tells one problem of arithmetic from another.

The kernels read the same table; here it is read in Python, for the few texts in which something was found.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

from corpus.text.fold import CharacterTable, make_table
from corpus.text.kernels.words import BLANK, KIND, MARK, RUN, SEVERAL, UNSPACED

_VALUE = (1 << KIND) - 1


class Word(NamedTuple):
    """A word, and which characters of the text it is: [start, end)."""

    text: str
    start: int
    end: int


@functools.cache
def word_table() -> CharacterTable:
    """What each code point becomes, as `corpus.text.kernels.words` reads it."""
    return make_table(become, "")


def become(character: str) -> str:
    """What a character becomes: "" for none, " " between words."""
    lower = "σ" if character == "ς" else character.lower()
    category = unicodedata.category(lower[0])
    if category == "Cf":
        return ""
    if category[0] in "PSZC":
        return " "
    return "".join(c for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn")


def split_words(text: str) -> list[Word]:
    """The words of a text, in order."""
    found: list[Word] = []
    word, start = "", 0  # of ordinary characters
    run: list[tuple[str, int]] = []  # of a script without spaces: characters, and where each began
    for at, character in enumerate(text):
        for kind, became in _entries(character):
            if kind in (BLANK, UNSPACED) and word:
                found.append(Word(word, start, at))
                word = ""
            if kind == UNSPACED:
                run = [*run[1 - RUN :], (became, at)]
                found.append(Word("".join(c for c, _ in run), run[0][1], at + 1))
            elif kind == BLANK:
                run = []
            elif kind != MARK:
                start = start if word else at
                word += became
                run = []
    return [*found, Word(word, start, len(text))] if word else found


@functools.lru_cache(maxsize=65536)
def _entries(character: str) -> tuple[tuple[int, str], ...]:
    table = word_table()
    entry = int(table.entries[ord(character)])
    if entry >> KIND == SEVERAL:
        count, *several = table.several[entry & _VALUE].tolist()
        return tuple((one >> KIND, chr(one & _VALUE)) for one in several[:count])
    return ((entry >> KIND, chr(entry & _VALUE)),)
