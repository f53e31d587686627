"""What finders share: spans, word lists, the characters of numbers in all scripts, and the words around a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Span(NamedTuple):
    """A piece of personal data: `text[start:end]` of the text that was searched, in code points.

    type  email, ip, phone, credit_card, iban, ssn or secret
    text  the value itself

    >>> from corpus import Span, find_pii
    >>> [span] = find_pii("Ask jo@mail.example!")
    >>> span.type, span.text, span == Span(4, 19, "email", "jo@mail.example")
    ('email', 'jo@mail.example', True)
    """

    start: int
    end: int
    type: str
    text: str


@cache
def _sections() -> dict[str, list[str]]:
    """The words of words.txt by section."""
    lines = Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines()
    sections: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("["):
            sections[line.strip("[]")] = current = []
        elif line and not line.startswith("#"):
            current += line.split()
    return sections


def words(section: str) -> list[str]:
    """The words of a section of words.txt."""
    return _sections()[section]


DIGIT = re.compile("[0-9]")

# The characters between groups of a number, besides space, hyphen, dot, slash and brackets: narrow spaces and spaces
# that do not break, the hyphens and dashes of Unicode, full-width forms, and marks of the direction of writing.
SPACES = "\u00a0\u2007\u2009\u202f\u3000"
DASHES = "\u2010\u2011\u2012\u2013\u2212\uff0d"
MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PLAIN = str.maketrans(SPACES + DASHES + "（）／．", " " * len(SPACES) + "-" * len(DASHES) + "()/.", MARKS)

# The zeros of other scripts, each of which nine more digits follow: Arabic, Persian, Devanagari, Bengali, Gurmukhi,
# Gujarati, Tamil, Telugu, Kannada, Malayalam, Thai, Lao, Myanmar, Khmer, full-width.
_ZEROS = "٠۰०০੦૦௦౦೦൦๐໐၀០０"
OTHER_DIGITS = re.compile("[" + "".join(f"{zero}-{chr(ord(zero) + 9)}" for zero in _ZEROS) + "]")
_TO_ASCII = {ord(zero) + digit: 48 + digit for zero in _ZEROS for digit in range(10)} | {ord("＋"): ord("+")}


# The first bytes of these digits in UTF-8. Searching for a byte is a hundred times as fast as for a class.
_LEADS = (b"\xd9", b"\xdb", b"\xe0", b"\xe1", b"\xef")


def with_ascii_digits(text: str) -> str:
    """`text` with ASCII digits in place of the digits of other scripts; every character stays in its place."""
    if text.isascii():
        return text
    data = text.encode("utf-8", "surrogatepass")
    if not any(lead in data for lead in _LEADS) or not OTHER_DIGITS.search(text):
        return text
    return text.translate(_TO_ASCII)


# A character that may stand between two groups of one number.
GAP = rf"[ .\-/()~{SPACES}{DASHES}{MARKS}（）／]"
# A stretch of at least six digits, with up to five such characters between two of them (`. `, ` / `, `) - (`); or a
# digit right after a letter, and one more character: an account number or a key may begin there.
_NUMBER = re.compile(rf"[0-9](?<![0-9][0-9])(?:((?:{GAP}{{0,5}}+[0-9]){{5,60}}+)|(?<=[A-Za-z_][0-9])[A-Za-z0-9])")


class Numbers(NamedTuple):
    """The places of a text where finders of numbers need to search, from one pass over the text.

    stretches  (start, end) from the first to the last of at least six digits
    in_words   the places of digits right after a letter or `_`
    """

    stretches: list[tuple[int, int]]
    in_words: list[int]

    @classmethod
    def of(cls, text: str) -> Numbers:
        """The places in `text`."""
        stretches, in_words = [], []
        for match in _NUMBER.finditer(text):
            start, end = match.span()
            if match[1]:
                stretches.append((start, end))
            if start and (text[start - 1] == "_" or (text[start - 1].isascii() and text[start - 1].isalpha())):
                in_words.append(start)
        return cls(stretches, in_words)


def within(pattern: re.Pattern[str], text: str, numbers: Numbers, size: int) -> Iterator[re.Match[str]]:
    """The matches in stretches of at least `size` characters; the pattern also sees the two characters behind each."""
    for start, end in numbers.stretches:
        if end - start >= size:
            yield from pattern.finditer(text, start, end + 2)


def is_word(text: str, index: int) -> bool:
    """Whether `text[index]` is a letter, a digit or `_`; False outside of the text."""
    return 0 <= index < len(text) and (text[index].isalnum() or text[index] == "_")


def is_latin_word(text: str, index: int) -> bool:
    """`is_word`, without the letters of scripts that put no spaces around numbers, such as Chinese."""
    return is_word(text, index) and text[index] < "\u0590"


def words_before(text: str, start: int, reach: int) -> list[str]:
    """The words in the `reach` characters before `start`, in small letters, the nearest first; none beyond a digit."""
    return [word.lower() for word in reversed(_WORD.findall(nothing_but_words(text, start, reach)))]


def nothing_but_words(text: str, start: int, reach: int) -> str:
    """Up to `reach` characters before `start`, without the last digit and what is before it."""
    window = text[max(0, start - reach) : start]
    match = _AFTER_DIGIT.search(window)
    return window[match.start() :] if match else window


_WORD = re.compile(r"[^\W\d_]+")
_AFTER_DIGIT = re.compile(r"[^0-9]*\Z")
