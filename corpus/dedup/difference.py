"""How two texts differ, word by word: for a person who asks why one document was called a duplicate of another.

Words are compared as they are written. White space between words is shown, and not compared. In scripts without spaces
each character is a word. A full comparison takes time by the product of the lengths, so texts are first cut where they
certainly agree: at their common beginning and end, then at runs of words that occur once in each of the two texts (Bram
Cohen's patience diff, with words instead of lines). The stretches between are compared in full if they are short. The
work is bounded; where it is not enough, a stretch is shown as replaced, and `Difference.cut` says so.

Python's difflib is not used, because its time cannot be bounded. It takes quadratic time for pages with many changes:
8,000 lines of which every second one is changed take it 38 s, and 30,000 such lines take 7 s here. And it takes cubic
time for repeated words: two stretches of 500 words, 250 of them equal, took 7.6 s, and 0.1 s here.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bpe.terminal.text import readable

_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_WITHOUT_SPACES}]|[^\s{_WITHOUT_SPACES}]+")
_ANCHORS = (6, 3, 1)  # words of a run that occurs once in each text; longer runs, which are surer, are tried first
_CELLS = 250_000  # pairs of words in one full comparison, at the most
_WORK = 4_000_000  # words searched for anchors, and pairs of words compared, for two texts: some seconds
_CHANCE = 2  # up to so many words that agree between two changes agree by chance,
_LONGER = 8  # if the changes are so many times as long
_MOVED = 5  # words of a run that counts as moved if it is in both texts

_CONTEXT = 12  # equal words that are shown beside a change
_CHANGED = 120  # words of a change that are shown
_CHANGES = 200  # changes that are shown

_LONGEST = 200  # characters of a word that are shown; a page may have a megabyte of base64
_LONG_WORD = re.compile(rf"[^\s{_WITHOUT_SPACES}]{{{_LONGEST + 1},}}")


class Words(NamedTuple):
    """A text, and where its words begin and end."""

    text: str
    spans: list[tuple[int, int]]

    def between(self, first: int, last: int) -> str:
        """The words from `first` up to `last` (not included), with the white space between them."""
        return self.text[self.spans[first][0] : self.spans[last - 1][1]] if first < last else ""

    def space_before(self, word: int) -> str:
        """The white space before a word; "" before the first."""
        return self.text[self.spans[word - 1][1] : self.spans[word][0]] if word else ""


class Match(NamedTuple):
    """`size` words that agree: from word `kept` on in the kept text, from word `other` on in the other text."""

    kept: int
    other: int
    size: int


class Change(NamedTuple):
    """Words of the kept text, and the words in their place in the other text; one of the two may be empty."""

    kept: str
    other: str


class Difference(NamedTuple):
    """The words of two texts, and where they agree: `matches` are in the order of both, disjoint and not empty."""

    kept: Words
    other: Words
    matches: list[Match]
    cut: bool  # the comparison was cut short: more words may agree

    @property
    def same(self) -> int:
        """The number of words that agree."""
        return sum(match.size for match in self.matches)

    def gaps(self) -> Iterator[tuple[int, int, int, int]]:
        """(a, b, c, d) where the texts differ: the words kept[a:b] are replaced by the words other[c:d]."""
        ends = [Match(0, 0, 0), *self.matches, Match(len(self.kept.spans), len(self.other.spans), 0)]
        for before, after in pairwise(ends):
            a, c = before.kept + before.size, before.other + before.size
            if (a, c) != (after.kept, after.other):
                yield a, after.kept, c, after.other

    def moved(self) -> int:
        """The number of words in changes of the kept text that are in changes of the other, too, in runs of _MOVED."""
        gaps = list(self.gaps())
        runs = {run for _, _, c, d in gaps for run in _runs(self.other, c, d)}
        count = 0
        for a, b, _, _ in gaps:
            end = a  # up to which words are counted
            for at, run in enumerate(_runs(self.kept, a, b), a):
                if run in runs:
                    count += at + _MOVED - max(at, end)
                    end = at + _MOVED
        return count

    def changes(self) -> Iterator[Change]:
        """The changes, in order."""
        return (Change(self.kept.between(a, b), self.other.between(c, d)) for a, b, c, d in self.gaps())


def words(text: str) -> Words:
    """The words of a text, as they are compared."""
    return Words(text, [match.span() for match in _WORD.finditer(text)])


def _runs(side: Words, first: int, last: int) -> Iterator[tuple[str, ...]]:
    """All runs of _MOVED words from word `first` up to `last`."""
    words = [side.text[i:j] for i, j in side.spans[first:last]]
    return zip(*(words[shift:] for shift in range(_MOVED)), strict=False)


def difference(kept: str, other: str) -> Difference:
    """The difference between the text of a kept document and another text."""
    old, new = words(kept), words(other)
    numbers: dict[str, int] = {}
    a, b = ([numbers.setdefault(side.text[i:j], len(numbers)) for i, j in side.spans] for side in (old, new))
    matches, cut = _align(a, b)
    return Difference(old, new, _without_chance(_joined(matches), len(a), len(b)), cut)


def _align(a: Sequence[int], b: Sequence[int]) -> tuple[list[Match], bool]:
    """(the words that agree, in order; whether the comparison was cut short). `a` and `b` are words as numbers."""
    matches: list[Match] = []
    todo = [(0, len(a), 0, len(b), 0)]  # stretches to compare, of a and of b, and the number in _ANCHORS to use
    work, cut = _WORK, False
    while todo:
        a0, a1, b0, b1, level = todo.pop()
        start, end = _common_ends(a, b, (a0, a1, b0, b1))
        matches += [Match(a0, b0, start), Match(a1 - end, b1 - end, end)]
        a0, a1, b0, b1 = a0 + start, a1 - end, b0 + start, b1 - end
        if a0 == a1 or b0 == b1 or not set(a[a0:a1]).intersection(b[b0:b1]):
            continue
        cells = (a1 - a0) * (b1 - b0)
        if cells <= min(_CELLS, work // 4):
            work -= cells
            matches += _longest_common(a, b, (a0, a1, b0, b1))
        elif level < len(_ANCHORS) and work > a1 - a0 + b1 - b0:
            work -= a1 - a0 + b1 - b0
            anchors = _anchors(a, b, (a0, a1, b0, b1), _ANCHORS[level])
            ends = [(a0, b0), *anchors, (a1, b1)]
            # A stretch between two anchors may have new anchors. Without any, the next shorter runs are tried.
            todo += [(*_side(i, j), level + (not anchors)) for i, j in pairwise(ends)]
        else:
            cut = True
    return sorted(match for match in matches if match.size), cut


def _side(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int, int, int]:
    return start[0], end[0], start[1], end[1]


def _common_ends(a: Sequence[int], b: Sequence[int], where: tuple[int, int, int, int]) -> tuple[int, int]:
    """(words that agree at the beginning, words after those that agree at the end)."""
    a0, a1, b0, b1 = where
    shorter = min(a1 - a0, b1 - b0)
    start = 0
    while start < shorter and a[a0 + start] == b[b0 + start]:
        start += 1
    end = 0
    while end < shorter - start and a[a1 - 1 - end] == b[b1 - 1 - end]:
        end += 1
    return start, end


def _anchors(a: Sequence[int], b: Sequence[int], where: tuple[int, int, int, int], size: int) -> list[tuple[int, int]]:
    """Where runs of `size` words begin that occur once in each stretch: the most runs that are in one order in both."""
    a0, a1, b0, b1 = where
    in_a, in_b = _once(a, a0, a1, size), _once(b, b0, b1, size)
    pairs = [(at, in_b[run]) for run, at in in_a.items() if run in in_b]  # in the order of a
    # The longest increasing sequence of places in b, by patience sorting. For each pile, the place and the number of
    # its top card; for each card, the card that was on top of the pile to its left.
    lasts: list[int] = []
    tops: list[int] = []
    below: list[int] = []
    for number, (_, at) in enumerate(pairs):
        pile = bisect.bisect_left(lasts, at)
        lasts[pile : pile + 1] = [at]
        tops[pile : pile + 1] = [number]
        below.append(tops[pile - 1] if pile else -1)
    anchors: list[tuple[int, int]] = []
    number = tops[-1] if tops else -1
    while number >= 0:
        anchors.append(pairs[number])
        number = below[number]
    return anchors[::-1]


def _once(text: Sequence[int], start: int, end: int, size: int) -> dict[tuple[int, ...], int]:
    """The places of runs of `size` words that occur once, in order."""
    places: dict[tuple[int, ...], int] = {}
    for at in range(start, end - size + 1):
        run = tuple(text[at : at + size])
        places[run] = -1 if run in places else at
    return {run: at for run, at in places.items() if at >= 0}


def _longest_common(a: Sequence[int], b: Sequence[int], where: tuple[int, int, int, int]) -> list[Match]:
    """The longest common subsequence of two stretches, by the table of its lengths for all pairs of their ends."""
    a0, a1, b0, b1 = where
    right = b[b0:b1]
    rows = [[0] * (len(right) + 1)]  # rows[i][j]: the length for the last i words of a and the words right[j:]
    for word in reversed(a[a0:a1]):
        below, row, last = rows[-1], [0] * (len(right) + 1), 0
        for j in range(len(right) - 1, -1, -1):
            if word == right[j]:
                last = below[j + 1] + 1
            elif below[j] > last:
                last = below[j]
            row[j] = last
        rows.append(row)
    matches, i, j = [], 0, 0
    while i < a1 - a0 and j < len(right):
        left = len(rows) - 1 - i
        if a[a0 + i] == right[j]:
            matches.append(Match(a0 + i, b0 + j, 1))
            i, j = i + 1, j + 1
        elif rows[left - 1][j] >= rows[left][j + 1]:
            i += 1
        else:
            j += 1
    return matches


def _joined(matches: Sequence[Match]) -> list[Match]:
    """The matches, with those joined that follow one another in both texts."""
    joined: list[Match] = []
    for match in matches:
        last = joined[-1] if joined else None
        if last and (last.kept + last.size, last.other + last.size) == (match.kept, match.other):
            joined[-1] = last._replace(size=last.size + match.size)
        else:
            joined.append(match)
    return joined


def _without_chance(matches: list[Match], kept: int, other: int) -> list[Match]:
    """The matches without those of a word or two between much longer changes.

    A rewritten sentence is easier to read as one change than with its articles marked as equal.
    """
    left: list[Match] = []
    for number, match in enumerate(matches):
        before = left[-1] if left else Match(0, 0, 0)
        after = matches[number + 1] if number + 1 < len(matches) else Match(kept, other, 0)
        gap = max(match.kept - before.kept - before.size, match.other - before.other - before.size)
        next_gap = max(after.kept - match.kept - match.size, after.other - match.other - match.size)
        if match.size > _CHANCE or not gap or not next_gap or gap + next_gap < _LONGER * match.size:
            left.append(match)
    return left


def shown(difference: Difference, *, colours: bool) -> str:
    """The difference as text. Words of the kept text alone are red, words of the other text alone are green.

    Without colours they are marked as [-kept-]{+other+}. Long stretches are shortened to `… 214 words …`.
    """
    kept, other = difference.kept, difference.other
    parts: list[str] = []
    a = c = changes = 0  # words of the kept and of the other text, and changes, that are shown
    for match in [*difference.matches, Match(len(kept.spans), len(other.spans), 0)]:
        gone, new = (a, match.kept), (c, match.other)
        if a < match.kept or c < match.other:
            changes += 1
            if changes > _CHANGES:
                left = sum(1 for _ in difference.gaps()) - _CHANGES
                return f"{''.join(parts)} … {left:,} more changes …".strip()
            if a < match.kept:
                parts += [_space(kept.space_before(a)), _marked(_long(kept, *gone), ("[-", "-]", 31), colours)]
            if c < match.other:
                both = " " if colours else ""
                parts.append(both if a < match.kept else _space(other.space_before(c)))
                parts.append(_marked(_long(other, *new), ("{+", "+}", 32), colours))
        a, c = match.kept + match.size, match.other + match.size
        if match.size:
            parts.append(_space(other.space_before(match.other) or kept.space_before(match.kept)))
            before, after = _CONTEXT * (match.other > 0 or match.kept > 0), _CONTEXT
            if (a, c) == (len(kept.spans), len(other.spans)):
                after = 0
            parts.append(_shortened(other, match.other, c, before, after))
    return "".join(parts).strip()


def _shortened(words: Words, first: int, last: int, before: int, after: int) -> str:
    """The words `first` to `last`; of many only the first `before` and the last `after`."""
    hidden = last - first - before - after
    if hidden <= _CONTEXT:
        return _plain(words.between(first, last))
    shown = (_plain(words.between(first, first + before)), _plain(words.between(last - after, last)))
    return f"{shown[0]} … {hidden:,} words … {shown[1]}".strip()


def _long(words: Words, first: int, last: int) -> str:
    """The words of a change; of a long one its beginning and its end."""
    return _shortened(words, first, last, _CHANGED * 3 // 4, _CHANGED // 4)


def _plain(text: str) -> str:
    """Readable text, in which very long words are shortened."""
    shorter = _LONG_WORD.sub(lambda match: f"{match[0][: _LONGEST // 2]}…{match[0][-_LONGEST // 4 :]}", text)
    return readable(_space(shorter.replace("\r\n", "\n")))


def _space(text: str) -> str:
    """Text with one blank line between paragraphs where there are more."""
    return re.sub(r"\n\s*\n", "\n\n", text)


def _marked(text: str, marks: tuple[str, str, int], colours: bool) -> str:
    opening, closing, code = marks
    if not colours:
        return f"{opening}{text}{closing}"
    # Colours end with each line, because pagers show line by line.
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line else "" for line in text.split("\n"))
