"""Two texts in, what differs between them out, word by word: for a person who wonders why one stands for the other.

Words are compared as they are written; white space between them is shown, and not compared. Each character of a script
without spaces is a word. A textbook comparison takes time by the product of the lengths, so the texts are first cut
where they certainly agree: at their common beginning and end, then at runs of words that occur once in each of the two
(Bram Cohen's patience diff, with words instead of lines), and what is between is compared in full if it is short
enough. The work is bounded; what it did not suffice for is shown as replaced, and `Difference.cut` says so.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_WITHOUT_SPACES}]|[^\s{_WITHOUT_SPACES}]+")
_ANCHORS = (6, 3, 1)  # words in a run that occurs once in each text, the surest first
_CELLS = 250_000  # of one comparison in full
_WORK = 4_000_000  # words looked at for anchors, and cells of comparisons, for a pair of texts: some seconds
_CHANCE = 2  # as many words that agree between changes are chance,
_LONGER = 8  # if those together are so many times as long
_MOVED = 5  # words of a run that is found again elsewhere

_CONTEXT = 12  # words of what is equal that are shown beside a change
_CHANGED = 120  # words of a change that are shown
_CHANGES = 200  # changes that are shown

_LONGEST = 200  # characters of a word that are shown; a page may have a megabyte of base64
_LONG_WORD = re.compile(rf"[^\s{_WITHOUT_SPACES}]{{{_LONGEST + 1},}}")

# What moves the cursor, changes colours or the direction of writing does not come from a page to a terminal.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Words(NamedTuple):
    """A text, and where its words begin and end."""

    text: str
    spans: list[tuple[int, int]]

    def between(self, first: int, last: int) -> str:
        """Words `first` to `last` (not included), and the white space inside."""
        return self.text[self.spans[first][0] : self.spans[last - 1][1]] if first < last else ""

    def space_before(self, word: int) -> str:
        return self.text[self.spans[word - 1][1] : self.spans[word][0]] if word else ""


class Match(NamedTuple):
    """`size` words from `kept` on in the one text that are those from `other` on in the other."""

    kept: int
    other: int
    size: int


class Change(NamedTuple):
    """Words of the kept text in whose place there are words of the other; one of the two may be empty."""

    kept: str
    other: str


class Difference(NamedTuple):
    """`matches` are in the order of both texts, disjoint, and none is empty."""

    kept: Words
    other: Words
    matches: list[Match]
    cut: bool  # the work was cut short: more may agree than is said

    @property
    def same(self) -> int:
        """Words that agree."""
        return sum(match.size for match in self.matches)

    def gaps(self) -> Iterator[tuple[int, int, int, int]]:
        """Where they differ: words kept[a:b] against words other[c:d]."""
        ends = [Match(0, 0, 0), *self.matches, Match(len(self.kept.spans), len(self.other.spans), 0)]
        for before, after in pairwise(ends):
            a, c = before.kept + before.size, before.other + before.size
            if (a, c) != (after.kept, after.other):
                yield a, after.kept, c, after.other

    def moved(self) -> int:
        """Words of the changes in the kept text that the changes in the other one have too, in runs of five or more."""
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
        return (Change(self.kept.between(a, b), self.other.between(c, d)) for a, b, c, d in self.gaps())


def words(text: str) -> Words:
    """The words of a text as they are compared here."""
    return Words(text, [found.span() for found in _WORD.finditer(text)])


def _runs(side: Words, first: int, last: int) -> Iterator[tuple[str, ...]]:
    told = [side.text[i:j] for i, j in side.spans[first:last]]
    return zip(*(told[shift:] for shift in range(_MOVED)), strict=False)


def difference(kept: str, other: str) -> Difference:
    """What of `kept` is not in `other`, and what of `other` is not in `kept`."""
    old, new = words(kept), words(other)
    numbers: dict[str, int] = {}
    a, b = ([numbers.setdefault(side.text[i:j], len(numbers)) for i, j in side.spans] for side in (old, new))
    matches, cut = _align(a, b)
    return Difference(old, new, _without_chance(_joined(matches), len(a), len(b)), cut)


def _align(a: Sequence[int], b: Sequence[int]) -> tuple[list[Match], bool]:
    """(words that agree, in order; whether the work was cut)."""
    matches: list[Match] = []
    todo = [(0, len(a), 0, len(b), 0)]  # ranges of both that are still to be compared, and with which anchors
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
            # What lies between anchors has anchors of its own; without any, the next shorter ones may do.
            todo += [(*_side(i, j), level + (not anchors)) for i, j in pairwise(ends)]
        else:
            cut = True
    return sorted(match for match in matches if match.size), cut


def _side(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int, int, int]:
    return start[0], end[0], start[1], end[1]


def _common_ends(a: Sequence[int], b: Sequence[int], where: tuple[int, int, int, int]) -> tuple[int, int]:
    """(words that agree at the beginning, words of what is left that agree at the end)."""
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
    """Where runs of `size` words begin that occur once in each: most of them that are in the same order in both."""
    a0, a1, b0, b1 = where
    in_a, in_b = _once(a, a0, a1, size), _once(b, b0, b1, size)
    pairs = [(at, in_b[run]) for run, at in in_a.items() if run in in_b]  # in the order of a
    # The longest increasing run of places in b, by patience sorting: the last card of each pile, and who lay below.
    lasts: list[int] = []
    tops: list[int] = []
    below: list[int] = []
    for number, (_, at) in enumerate(pairs):
        pile = bisect.bisect_left(lasts, at)
        lasts[pile : pile + 1] = [at]
        tops[pile : pile + 1] = [number]
        below.append(tops[pile - 1] if pile else -1)
    found: list[tuple[int, int]] = []
    number = tops[-1] if tops else -1
    while number >= 0:
        found.append(pairs[number])
        number = below[number]
    return found[::-1]


def _once(text: Sequence[int], start: int, end: int, size: int) -> dict[tuple[int, ...], int]:
    """Runs of `size` words that occur once, in order, and where."""
    found: dict[tuple[int, ...], int] = {}
    for at in range(start, end - size + 1):
        run = tuple(text[at : at + size])
        found[run] = -1 if run in found else at
    return {run: at for run, at in found.items() if at >= 0}


def _longest_common(a: Sequence[int], b: Sequence[int], where: tuple[int, int, int, int]) -> list[Match]:
    """The longest common subsequence of two ranges, by the table of all prefixes' lengths."""
    a0, a1, b0, b1 = where
    right = b[b0:b1]
    rows = [[0] * (len(right) + 1)]  # by word of a from the end, by word of b from its beginning, of what follows
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
    """Matches that go on where another ends, made one."""
    joined: list[Match] = []
    for match in matches:
        last = joined[-1] if joined else None
        if last and (last.kept + last.size, last.other + last.size) == (match.kept, match.other):
            joined[-1] = last._replace(size=last.size + match.size)
        else:
            joined.append(match)
    return joined


def _without_chance(matches: list[Match], kept: int, other: int) -> list[Match]:
    """Without those of a word or two amid much longer changes: a rewritten sentence is easier to read as
    such than with its articles singled out.
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


def shown(found: Difference, *, colours: bool) -> str:
    """The difference as text: what only the kept one has in red, what only the other one has in green; without
    colours as [-kept-]{+other+}. Long stretches are shortened to `… 214 words …`.
    """
    kept, other = found.kept, found.other
    parts: list[str] = []
    a = c = changes = 0  # words of both that are shown
    for match in [*found.matches, Match(len(kept.spans), len(other.spans), 0)]:
        gone, new = (a, match.kept), (c, match.other)
        if a < match.kept or c < match.other:
            changes += 1
            if changes > _CHANGES:
                left = sum(1 for _ in found.gaps()) - _CHANGES
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


def readable(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def readable_line(text: str) -> str:
    """The same in one line."""
    return readable(text.replace("\n", "\\n").replace("\t", "\\t"))


def _shortened(words: Words, first: int, last: int, before: int, after: int) -> str:
    """Words `first` to `last`, of which the first `before` and the last `after` are shown if there are many."""
    hidden = last - first - before - after
    if hidden <= _CONTEXT:
        return _plain(words.between(first, last))
    shown = (_plain(words.between(first, first + before)), _plain(words.between(last - after, last)))
    return f"{shown[0]} … {hidden:,} words … {shown[1]}".strip()


def _long(words: Words, first: int, last: int) -> str:
    """What changed, in its beginning and its end if it is long."""
    return _shortened(words, first, last, _CHANGED * 3 // 4, _CHANGED // 4)


def _plain(text: str) -> str:
    shorter = _LONG_WORD.sub(lambda found: f"{found[0][: _LONGEST // 2]}…{found[0][-_LONGEST // 4 :]}", text)
    return readable(_space(shorter.replace("\r\n", "\n")))


def _space(text: str) -> str:
    """Empty lines between paragraphs: one is as good as ten."""
    return re.sub(r"\n\s*\n", "\n\n", text)


def _marked(text: str, marks: tuple[str, str, int], colours: bool) -> str:
    opening, closing, code = marks
    if not colours:
        return f"{opening}{text}{closing}"
    # Line by line, as a pager shows them.
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line else "" for line in text.split("\n"))
