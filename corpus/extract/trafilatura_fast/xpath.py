"""Selections of elements by tag and attributes, as XPath expressions make them, in Python and with a memory.

Trafilatura finds navigation, comments, adverts and the article itself by XPath expressions such as

    .//*[self::div or self::p][@role='nav' or re:test(@class, 'menu|sidebar')]

Every `re:test` in them calls from libxml2 back into Python, some thirty times for each element. But pages have few
different values of `class` and `id`, and these occur on many pages. So `corpus.extract.trafilatura_fast.grammar` reads
an expression once, and its answer for a class or an id is remembered. The answers of several expressions are the bits
of one number. A few elements have another attribute that is tested (`role`, `style`); for these, the answer for the
values of all tested attributes together is remembered.

Two facts of lxml are relied on, and tested: a set of attributes (`@id|@class`), as a string, is the value of the
attribute that comes first in the tag; and a set without attributes is the empty string.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml.etree import XPath

_REMEMBERED = 20_000  # values of an attribute, or of several
_LONGEST_REMEMBERED = 200  # characters


@dataclass
class Condition:
    """One term of an `or`: a pattern is found in an attribute.

    names    the attributes; the one that comes first in the tag counts. An element that has none of them never matches
    pattern  the regular expression
    """

    names: frozenset[str]
    pattern: str


@dataclass
class Path:
    """The parts of `.//*[self::a or self::b][...][...]`.

    tags        the tags to which it is limited; None for any tag
    conditions  the first bracket behind the tags: an element matches if one condition is true
    late        the brackets behind that one: lxml tests them, because few elements come as far
    first       whether only the first element is selected
    """

    tags: frozenset[str] | None = None
    conditions: list[Condition] = field(default_factory=list)
    late: list[XPath] = field(default_factory=list)
    first: bool = False


class Verdicts:
    """The answers, for the attributes of an element, of all paths that allow its tag.

    An answer is a number: bit n is 1 where a condition of path n is true.

    others    the names of the tested attributes besides class and id
    always    the paths without a condition
    of_class  value of `class`, or None for no such attribute -> the paths with a condition that is true of it
    of_id     the like for `id`
    """

    def __init__(self, numbered: list[tuple[int, Path]]) -> None:
        asked = [(bit, condition) for bit, path in numbered for condition in path.conditions]
        self._conditions = [(bit, asks.names, re.compile(either([asks.pattern])).search) for bit, asks in asked]
        self._search = {
            name: re.compile(either([asks.pattern for _, asks in asked if name in asks.names])).search
            for name in ("class", "id")
        }
        self._names = frozenset().union(*(asks.names for _, asks in asked))
        self.others = tuple(sorted(self._names - {"class", "id"}))
        self.always = sum(bit for bit, path in numbered if not path.conditions)
        self.of_class: dict[str | None, int] = {None: 0}
        self.of_id: dict[str | None, int] = {None: 0}
        self._of_all: dict[tuple[tuple[str, str], ...], int] = {}

    def learn(self, name: str, value: str) -> int:
        """The answer for a value of `class` or `id` that was not met before."""
        bits = 0
        if self._search[name](value):
            for bit, names, search in self._conditions:
                if not bits & bit and name in names and search(value):
                    bits |= bit
        if len(value) <= _LONGEST_REMEMBERED:
            _remember(self.of_class if name == "class" else self.of_id, value, bits)
        return bits

    def of_all(self, element: Any) -> int:
        """The answer for an element with any attributes."""
        asked = tuple([item for item in element.items() if item[0] in self._names])
        bits = self._of_all.get(asked)
        if bits is None:
            bits = 0
            for bit, names, search in self._conditions:
                if not bits & bit:
                    value = next((value for name, value in asked if name in names), None)
                    if value is not None and search(value):
                        bits |= bit
            if sum(len(value) for _, value in asked) <= _LONGEST_REMEMBERED:
                _remember(self._of_all, asked, bits)
        return bits


class Paths:
    """Several paths that one walk over a tree answers."""

    def __init__(self, paths: list[Path]) -> None:
        numbered = [(1 << number, path) for number, path in enumerate(paths)]
        self._late = [(bit, path.late) for bit, path in numbered if path.late]
        of_any_tag = [(bit, path) for bit, path in numbered if path.tags is None]
        if not all(path.conditions for _, path in of_any_tag):
            raise ValueError("XPath not understood: any element at all")
        tags = frozenset().union(*(path.tags or () for path in paths))
        self._walked = ("*",) if of_any_tag else tuple(sorted(tags))
        # Tags that are allowed by the same paths share their answers.
        verdicts: dict[int, Verdicts] = {}
        self._by_tag = {}
        for tag in tags:
            allowed = [(bit, path) for bit, path in numbered if path.tags is None or tag in path.tags]
            self._by_tag[tag] = verdicts.setdefault(sum(bit for bit, _ in allowed), Verdicts(allowed))
        self._of_any_tag = Verdicts(of_any_tag)

    def matching(self, tree: Any) -> Iterator[tuple[Any, int]]:
        """(element, bits of the paths that it matches) of each element below `tree` that matches, in document order."""
        by_tag = self._by_tag
        for element in tree.iterdescendants(*self._walked):
            verdicts = by_tag.get(element.tag) or self._of_any_tag
            get = element.get
            its_class, its_id = get("class"), get("id")
            by_class, by_id = verdicts.of_class.get(its_class), verdicts.of_id.get(its_id)
            if by_class is None:
                by_class = verdicts.learn("class", its_class)
            if by_id is None:
                by_id = verdicts.learn("id", its_id)
            bits = by_class | by_id
            for name in verdicts.others:
                if get(name) is not None:
                    bits = verdicts.of_all(element)
                    break
            else:
                if bits and its_class is not None and its_id is not None:
                    bits = verdicts.of_all(element)  # it may matter which of the two attributes comes first
            bits |= verdicts.always
            if not bits:
                continue  # nearly all elements
            for bit, tests in self._late:
                if bits & bit and not all(test(element) for test in tests):
                    bits ^= bit
            if bits:
                yield element, bits


class Selection:
    """A whole expression, which is called with a tree, as lxml's XPath is.

    `first`: only the first element of the document is selected (`(...)[1]`). A plain `[1]`, which means the first of
    each parent, is read in this way too; that is right for a caller who looks at the first element alone.
    """

    def __init__(self, paths: list[Path]) -> None:
        if len({path.first for path in paths}) != 1:
            raise ValueError("XPath not understood: [1] of some paths only")
        self.first = paths[0].first
        self.paths = paths
        self._any = Paths(paths)

    def __call__(self, tree: Any) -> list[Any]:
        """The elements below `tree` that match, in document order."""
        matching = (element for element, _ in self._any.matching(tree))
        return list(itertools.islice(matching, 1) if self.first else matching)


class Together:
    """Several expressions that one walk over the tree answers.

    The answers are right for a caller who deletes the elements of the first expression before he asks the second, and
    so on: whether an element matches does not depend on other elements, and to delete an element twice changes nothing.
    """

    def __init__(self, selections: list[Selection]) -> None:
        if any(selection.first for selection in selections):
            raise ValueError("only expressions that select all elements can be answered together")
        self._all = Paths([path for selection in selections for path in selection.paths])
        sizes = [len(selection.paths) for selection in selections]
        starts = itertools.accumulate(sizes, initial=0)
        self._masks = [((1 << size) - 1) << start for size, start in zip(sizes, starts, strict=False)]

    def __call__(self, tree: Any) -> list[list[Any]]:
        """For each expression, the elements below `tree` that match, in document order."""
        selected: list[list[Any]] = [[] for _ in self._masks]
        for element, bits in self._all.matching(tree):
            for mask, elements in zip(self._masks, selected, strict=True):
                if bits & mask:
                    elements.append(element)
        return selected


def either(patterns: list[str]) -> str:
    """One pattern that is found where any of the patterns is. Alternatives with one first letter, or `^`, share it."""
    by_letter: dict[str, list[str]] = {}
    rest = []
    for pattern in patterns:
        for part in _alternatives(pattern):
            if (part[:1].isalnum() or part[:1] in (" ", "-", "^")) and part[1:2] not in ("", *"?*+{"):
                by_letter.setdefault(part[0], []).append(part[1:])
            else:
                rest.append(f"(?:{part})")
    grouped = [f"{letter}(?:{'|'.join(ends)})" for letter, ends in by_letter.items()]
    return "|".join(grouped + rest) or "(?!)"


def _alternatives(pattern: str) -> list[str]:
    """The parts between the `|` outside of brackets of a pattern; the whole pattern if it has a backslash."""
    parts, depth, in_set = [""], 0, False
    for letter in pattern:
        if letter == "\\":
            return [pattern]
        if in_set or letter == "[":
            in_set = letter != "]"
        else:
            depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "|" and not depth and not in_set:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _remember(known: dict[Any, int], value: Any, answer: int) -> None:
    """Keep an answer. Where very many are kept, forget all but the first."""
    if len(known) >= _REMEMBERED:
        first = next(iter(known.items()))
        known.clear()
        known[first[0]] = first[1]
    known[value] = answer
