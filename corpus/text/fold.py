"""Two normalisations of text as tables: what each Unicode character becomes, before texts are cut into words.

The FOLD is FineWeb's normalisation before shingling (datatrove 0.10.1, `simplify_text`): lower case; a number, with one
decimal part, becomes 0; punctuation becomes space; canonical decomposition without marks of the category Mn. It differs
from the normalisation of a whole string in two corners: final sigma becomes sigma, and marks of other categories stay
in the order in which they were written.

PLAIN is `str.lower()` of each character, with white space as `str.split()` divides at it. It differs from the lower
case of a whole string in the one rule that looks at neighbours: a capital sigma becomes σ at the end of a word, too.

In both, each character of a script without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) ends a word,
which is the character and up to three before it in a run of such characters. So 5 neighbouring words cover 8
characters, about five words of Chinese. In a trial on Chinese wiki pages with 15 edits in 1,500 characters, the Jaccard
similarity was .77 with n-grams of characters, .70 with n-grams of a dictionary's words, and .55 with n-grams of the
strings between spaces and punctuation. That n-grams should cover 8 to 10 characters comes from the same trial, and is
not tuned.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.text.kernels.words import BLANK, KIND, MARK, NUMBER, ORDINARY, SEVERAL, UNSPACED

# Characters that become a space, besides the control characters 0-31 and 127-159 (datatrove 0.10.1, PUNCTUATION).
PUNCTUATION = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
# Between the whole and the decimal part of a number (datatrove 0.10.1, NUMBERS_PATTERN).
DECIMAL_POINTS = ".,،٫⎖⎗⎘"

# Blocks of Unicode whose letters, marks and numbers are written without spaces between words.
UNSPACED_BLOCKS = (
    (0x0E00, 0x0F00),  # Thai, Lao
    (0x1000, 0x10A0),  # Myanmar
    (0x1780, 0x1800),  # Khmer
    (0x19E0, 0x1A00),  # Khmer symbols
    (0x3000, 0x3100),  # ideographic iteration marks and numerals, Hiragana, Katakana
    (0x31F0, 0x3200),  # Katakana phonetic extensions
    (0x3400, 0x4DC0),  # Han, extension A
    (0x4E00, 0xA000),  # Han
    (0xA9E0, 0xAA00),  # Myanmar, extended B
    (0xAA60, 0xAA80),  # Myanmar, extended A
    (0xF900, 0xFB00),  # Han, compatibility
    (0xFF66, 0xFFA0),  # Katakana, half width
    (0x116D0, 0x11700),  # Myanmar, extended C
    (0x16FE0, 0x17000),  # ideographic marks
    (0x1AFF0, 0x1B170),  # Kana, extended and supplement
    (0x20000, 0x40000),  # Han, all further extensions
)

# All other code points become themselves: unassigned planes, private use, ideographs.
_LOOKED_AT = ((0, 0x3400), (0xA000, 0xD800), (0xF900, 0x20000), (0x2F800, 0x2FA20), (0xE0000, 0xE0200))
_CODE_POINTS = 0x110000


class CharacterTable(NamedTuple):
    """What each code point becomes, as `kernels.words` reads it.

    entries  uint32[0x110000]: kind << KIND | value, the value being a code point, or a row of `several`
    several  uint32[n, 5]: for characters that become several, the number of their entries, and the entries
    points   uint32[m]: code points of decimal points
    """

    entries: NDArray[np.uint32]
    several: NDArray[np.uint32]
    points: NDArray[np.uint32]


@functools.cache
def fold_table() -> CharacterTable:
    """The table of the FOLD."""
    return make_table(_folded, DECIMAL_POINTS)


@functools.cache
def plain_table() -> CharacterTable:
    """The table of PLAIN. Numbers are ordinary characters in it."""
    return make_table(lambda character: " " if character.isspace() else character.lower(), "")


@functools.cache
def version() -> str:
    """The version of Python's Unicode data, which decides both tables, and a hash of the tables."""
    digest = hashlib.blake2b(digest_size=8)
    for table in (fold_table(), plain_table()):
        for part in table:
            digest.update(part.tobytes())
    return f"{unicodedata.unidata_version}-{digest.hexdigest()}"


def _folded(character: str) -> str:
    """What a character becomes in the FOLD: "" for a mark, " " for a separator, "0" for a digit."""
    lower = "σ" if character == "ς" else character.lower()
    if lower.isdecimal():  # before punctuation, whose list has a fullwidth 1
        return "0"
    if lower in PUNCTUATION or lower.isspace() or unicodedata.category(lower[0]) == "Cc":
        return " "
    return "".join(c for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn")


def make_table(become: Callable[[str], str], points: str) -> CharacterTable:
    """A table of what `become` makes of each character: "" for a mark, " " for a separator.

    With `points`, the decimal points within a number, a number becomes one 0.
    """
    entries = np.arange(_CODE_POINTS, dtype=np.uint32)
    entries[list(_unspaced())] |= UNSPACED << KIND
    several: list[list[int]] = []
    for start, stop in _LOOKED_AT:
        for code in range(start, stop):
            became = become(chr(code))
            if became == "":
                entries[code] = MARK << KIND
            elif became == " ":
                entries[code] = BLANK << KIND
            elif became == "0" and points:
                entries[code] = NUMBER << KIND
            elif len(became) == 1:
                entries[code] = _entry(became)
            else:
                entries[code] = SEVERAL << KIND | len(several)
                several.append([len(became), *map(_entry, became), *[0] * (4 - len(became))])
    return CharacterTable(
        entries, np.array(several, np.uint32).reshape(-1, 5), np.array([ord(c) for c in points], np.uint32)
    )


def _entry(character: str) -> int:
    return (UNSPACED if ord(character) in _unspaced() else ORDINARY) << KIND | ord(character)


@functools.cache
def _unspaced() -> frozenset[int]:
    """Code points of the letters, marks and numbers of scripts without spaces."""
    codes = itertools.chain.from_iterable(range(*block) for block in UNSPACED_BLOCKS)
    return frozenset(code for code in codes if unicodedata.category(chr(code))[0] in "LMN")
