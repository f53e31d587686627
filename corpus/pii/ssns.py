"""The finder of US social security numbers.

With hyphens, 3-2-4, the form alone says what the number is, unless the words before it name another kind of number. Any
other form (`888 10 0716`, nine digits) needs its name before it or in the head of its column, or a row of people: a
name and a date of birth on its line, or a field of its own beside a name.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from typing import NamedTuple

from corpus.pii.naming import is_named_otherwise
from corpus.pii.text import DASHES, PLAIN, SPACES, Numbers, is_word, within, words, words_before

_SSN = re.compile(
    rf"[0-9](?<![0-9A-Za-z_.+-][0-9])[0-9]{{2}}([ .\-{SPACES}{DASHES}]?)[0-9]{{2}}\1[0-9]{{4}}"
    r"(?![0-9A-Za-z_]|[-.][0-9])"
)
_SSN_WORDS = frozenset({"ssn", "ssns", "social", "socials", "sociale", "tin", "itin", "ssa"})
_STEMS = tuple(words("ssn"))
_UNSPACED = tuple(words("ssn_unspaced"))
_BORN = tuple(words("born"))
_OWN = frozenset(words("ssn_own"))


def ssns(text: str, numbers: Numbers) -> Iterator[tuple[int, int]]:
    """US social security numbers: 3-2-4 with hyphens, other forms where a name or a row of people says so."""
    columns: list[_Column] | None = None
    for match in within(_SSN, text, numbers, 9):
        start, end = match.span()
        if not _is_issued(re.sub("[^0-9]", "", match[0])):
            continue
        gap = match[1].translate(PLAIN)
        if _is_named(text, start):
            yield start, end
        elif gap == "-":
            if not is_named_otherwise(text, start, unless=_OWN):
                yield start, end
        else:
            columns = _columns(text) if columns is None else columns
            if _is_in_column(text, start, end, columns) or (gap == " " and _is_of_a_person(text, start, end)):
                yield start, end


def _is_issued(digits: str) -> bool:
    """Whether the number may have been issued (Social Security Administration).

    The areas 000, 666 and 900 to 999, the group 00 and the serial number 0000 are never issued.
    """
    area = digits[:3]
    return area not in ("000", "666") and area < "900" and digits[3:5] != "00" and digits[5:] != "0000"


def _is_named(text: str, start: int) -> bool:
    """Whether a name of the number stands before it, or before a list of such numbers."""
    before = words_before(text, start, 40)
    if not _SSN_WORDS.isdisjoint(before) or any(word.startswith(_STEMS) for word in before):
        return True
    if "ss" in before[:3] and not is_word(text, start - 1):
        return True
    if before[:2] == ["sec", "soc"] or before[1:3] == ["sec", "soc"]:
        return True
    window = text[max(0, start - 40) : start]
    return not window.isascii() and any(name in window.lower() for name in _UNSPACED)


# --- In a table -----------------------------------------------------------------------------------------------------


class _Column(NamedTuple):
    """A column of social security numbers: its rows are in text[start:end], its fields behind `place` separators."""

    start: int
    end: int
    separator: str
    place: int


_HEAD = re.compile(r"(?i:(?<![^\W_])(?:ssns?|social[ _]?security)(?![^\W\d_]))|社会安全|社会保障番号")
_SEPARATORS = ("\t", "|", ";", ",")
_LINE = 400  # most characters of a line of a table on each side
_ROWS = 100_000  # most characters of a table


def _columns(text: str) -> list[_Column]:
    """The columns whose head names social security numbers, from left to right."""
    columns: list[_Column] = []
    for head in _HEAD.finditer(text):
        if columns and head.start() < columns[-1].end:
            continue
        before = text[max(0, head.start() - _LINE) : head.start()].rpartition("\n")[2]
        line_end = text.find("\n", head.end(), head.end() + _LINE)
        if line_end < 0:
            continue
        line = before + text[head.start() : line_end]
        separator = next((mark for mark in _SEPARATORS if mark in line), None)
        if separator:
            blank = text.find("\n\n", line_end, line_end + _ROWS)
            end = blank if blank >= 0 else min(len(text), line_end + _ROWS)
            columns.append(_Column(line_end, end, separator, before.count(separator)))
    return columns


def _is_in_column(text: str, start: int, end: int, columns: list[_Column]) -> bool:
    """Whether text[start:end] is a field of one of the columns."""
    place = bisect.bisect(columns, start, key=lambda column: column.start) - 1
    if place < 0 or start >= columns[place].end:
        return False
    separator = columns[place].separator
    before = text[max(0, start - _LINE) : start].rpartition("\n")[2]
    after = text[end : end + 3].lstrip(" \"'")
    return before.count(separator) == columns[place].place and after[:1] in ("", "\n", separator)


# --- In a row of people ---------------------------------------------------------------------------------------------

_ROW = 120  # characters
_DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}[-/.][01]?[0-9][-/.][0-3]?[0-9]|[0-3]?[0-9][-/.][0-3]?[0-9][-/.](?:19|20)?[0-9]{2}"
    r"|[0-3]?[0-9]\.? (?:de )?[^\W\d_]{3,10}\.?,? (?:de )?(?:19|20)[0-9]{2}"
    r"|[^\W\d_]{3,10}\.? [0-3]?[0-9],? (?:19|20)[0-9]{2})"
    r"(?![0-9])"
)
_FIELD_START = re.compile(r"(?:\A|[|,;\t])[ \t\"']*\Z")
_FORM = re.compile(r"(?<![0-9])[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}(?![0-9])")
_FIELD_END = re.compile(r"[ \t\"']*(?:[|,;\t]|\Z)")


_FORM = re.compile(r"(?<![0-9])[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}(?![0-9])")


def _is_of_a_person(text: str, start: int, end: int) -> bool:
    """Whether the line of text[start:end] names a person, and the date of birth or the number's own field says so."""
    before = text[max(0, start - _ROW) : start].rpartition("\n")[2]
    after = text[end : end + _ROW].partition("\n")[0]
    if is_named_otherwise(text, start):
        return False
    line = before + after
    if _has_name(line, 1) and (_DATE.search(before) or _DATE.search(after) or _has_birth(line)):
        return True
    if not _has_name(line, 2):
        return False
    if _FIELD_START.search(before) and _FIELD_END.match(after):
        return True
    # `Ada Cole 212 09 1234`, with such a number on a line beside it
    around = text[max(0, start - 2 * _ROW) : start - len(before)] + "\n" + text[end + len(after) : end + 2 * _ROW]
    return before[-1:].isspace() and _has_name(before[-40:], 2) and _FORM.search(around) is not None


def _has_name(line: str, least: int) -> bool:
    """Whether the line has `least` words with a capital letter, or letters of a script without capitals."""
    words_ = re.findall(r"[^\W\d_]{2,}", line)
    return sum(word[0].isupper() for word in words_) >= least or any("\u2e80" <= c <= "\ud7ff" for c in line)


def _has_birth(line: str) -> bool:
    return any(word.startswith(_BORN) for word in re.findall(r"[^\W\d_]+", line.lower()))
