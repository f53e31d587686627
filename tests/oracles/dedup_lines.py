"""Deduplication of lines of a whole corpus by dictionaries in memory; the passes through files must agree with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corpus.dedup.lines.config import Config

_WHITE = " \t\n\v\f\r"
_SEPARATORS = [(0x80, 0xBF), (0x2000, 0x206F), (0x3000, 0x303F), (0xFF00, 0xFF20), (0xFF5B, 0xFF65)]
_ALONE = [  # Thai and Lao, Myanmar, Khmer, Kana, Kana, Han and Yijing, compatible Han, half-width Kana, Han
    *[(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF)],
    *[(0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x10FFFF)],
]
_LOWERED = [(0xC0, 0xDE), (0x391, 0x3A9), (0x400, 0x42F)]  # Latin-1, Greek, Cyrillic


@functools.lru_cache(10000)
def words(text: str) -> tuple[str, ...]:
    """The words by which a line is compared."""
    spaced = ""
    for c in text:
        if c.isascii():
            spaced += re.sub("[0-9]", "0", c.lower()) if c.isalnum() else " "
        elif any(first <= ord(c) <= last for first, last in _SEPARATORS):
            spaced += " "
        elif any(first <= ord(c) <= last for first, last in _ALONE):
            spaced += f" {c} "
        else:
            spaced += c.lower() if any(first <= ord(c) <= last for first, last in _LOWERED) else c
    return tuple(word for word in spaced.split(" ") if word)


def key(line: str, config: Config) -> tuple[str, ...]:
    """What two lines must have in common to be equal."""
    if config.match == "exact":
        return (line,)
    if config.match == "numbers":  # characters of private use stand for the digits
        hidden = line.translate({ord(digit): 0xE000 + int(digit) for digit in "0123456789"})
        return tuple(word.translate({0xE000 + digit: str(digit) for digit in range(10)}) for word in words(hidden))
    return words(line)


def line_hash(line: tuple[str, ...]) -> int:
    """The 64-bit hash of a line's words, by its definition."""
    mask, odd, multiplier = 2**64 - 1, 0x94D049BB133111EB, 0x9E3779B97F4A7C15
    h = multiplier
    for word in line:
        data = word.encode()
        for start in range(0, len(data) + 1, 8):
            chunk = int.from_bytes(data[start : start + 8], "little") * odd & mask
            chunk = (chunk ^ chunk >> 47) * odd & mask
            h = (h ^ chunk) * multiplier & mask
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & mask
    return h ^ h >> 33


class Pieces(NamedTuple):
    """A text: `spaces[0] + lines[0] + spaces[1] + lines[1] ... + spaces[-1]`."""

    lines: list[str]
    spaces: list[str]


def pieces(text: str, config: Config) -> Pieces:
    """Cut a text into its lines (or paragraphs) that are not blank, and the white space around them."""
    lines, spaces = [], [""]
    fresh = True  # the next line begins a new piece
    for line in text.split("\n"):
        if line.strip(_WHITE):
            content = line.rstrip(_WHITE)
            if fresh or config.unit == "line":
                lines.append(content)
            else:
                lines[-1] += spaces.pop() + content
            spaces.append(line[len(content) :] + "\n")
            fresh = False
        else:
            spaces[-1] += line + "\n"
            fresh = True
    spaces[-1] = spaces[-1][:-1]  # the newline that the text does not end with
    return Pieces(lines, spaces)


def _considered(text: str, config: Config) -> Iterator[tuple[str, ...]]:
    for line in pieces(text, config).lines:
        if len(words(line)) >= config.min_words:
            yield key(line, config)


def documents_of_lines(texts: Sequence[str | None], config: Config) -> dict[tuple[str, ...], list[int]]:
    """The rows of the documents that have each line, in order."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for row, text in enumerate(texts):
        for line in dict.fromkeys(_considered(text or "", config)):
            rows.setdefault(line, []).append(row)
    return rows


class Left(NamedTuple):
    """The part of a document that stays."""

    text: str | None
    removed: int
    words: int
    kept: bool


def removed(texts: Sequence[str | None], config: Config) -> list[Left]:
    """The parts that stay, of each document of a corpus."""
    repeated = {
        line: rows[0] for line, rows in documents_of_lines(texts, config).items() if len(rows) >= config.documents
    }
    return [_left(text, row, repeated, config) for row, text in enumerate(texts)]


def _left(text: str | None, row: int, repeated: dict[tuple[str, ...], int], config: Config) -> Left:
    if text is None:
        return Left(None, 0, 0, True)
    lines, spaces = pieces(text, config)
    stays, seen = [], set()
    for line in lines:
        found = key(line, config)
        is_first = config.keep_first and repeated.get(found) == row and found not in seen
        stays.append(found not in repeated or is_first)
        seen.add(found)
    gone = stays.count(False)
    count = sum(len(words(line)) for line, stay in zip(lines, stays, strict=True) if stay)
    if gone == 0:
        return Left(text, 0, count, True)
    result = spaces[0]
    kept = [i for i, stay in enumerate(stays) if stay]
    for one, following in zip([-1, *kept], kept, strict=False):
        if one >= 0:
            result += max(spaces[one + 1 : following + 1], key=lambda space: space.count("\n"))  # max: first of equals
        result += lines[following]
    return Left(result + spaces[-1], gone, count, count >= config.min_kept_words)
