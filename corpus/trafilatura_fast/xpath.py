"""An XPath that selects elements by tag and attributes -> the same selection in Python, remembered by class and id.

Trafilatura finds navigation, comments, adverts and the article itself by XPath expressions such as

    .//*[self::div or self::p][@role='nav' or re:test(@class, 'menu|sidebar')]

in which every `re:test` calls from libxml2 back into Python, some thirty times an element. But pages have few
different values of `class` and `id`, and the same ones recur from page to page. So the expression is read once (by
`corpus.trafilatura_fast.grammar`) and becomes one regular expression an attribute; what it says of a class or an id
is remembered. Elements that have another attribute that is asked for (few: `role`, `style`) are found by a small
XPath without call-backs, and tested one by one.

Two facts of lxml are relied on, and tested: a set of attributes (`@id|@class`) taken as a string is the one that
comes first in the tag, and none at all is the empty string.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml.etree import XPath

_REMEMBERED = 20_000  # values an attribute and rule
_LONGEST_REMEMBERED = 200  # characters
_OWN, _SHARED = 1, 2  # bits: a value is enough by itself; it is if its attribute comes first in the tag


@dataclass
class Condition:
    """One term of an `or`: the first of some attributes that an element has, as a string, has a pattern."""

    names: frozenset[str]
    pattern: str
    missing: bool  # the answer if the element has none of the attributes


@dataclass
class Path:
    """`.//*[self::a or self::b][...][...]`: the tags that it is limited to, and what every bracket asks for."""

    tags: frozenset[str] | None = None  # None: any
    conditions: list[Condition] = field(default_factory=list)  # any of these: the first bracket that asks
    late: list[XPath] = field(default_factory=list)  # the brackets after it: few elements come as far, so lxml tests
    first: bool = False


class Rule:
    """A path, and what it said of values of class and id."""

    def __init__(self, path: Path) -> None:
        self.tags = path.tags
        self._all = path.conditions
        self.names = frozenset().union(*(condition.names for condition in path.conditions)) - {"class", "id"}
        self._conditions = [
            (condition.names, re.compile(condition.pattern).search, condition.missing) for condition in path.conditions
        ]
        self._late = path.late
        self.always = not path.conditions
        self._searches = {
            name: (_search(path.conditions, {name}), _search(path.conditions, {"class", "id"}))
            for name in ("class", "id")
        }
        missing = {name: _missing(path.conditions, {name}) for name in ("class", "id")}
        self.neither = _missing(path.conditions, {"class", "id"}) or any(missing.values())
        self._known: dict[str, dict[str | None, int]] = {name: {None: _OWN * missing[name]} for name in ("class", "id")}

    def pattern(self, name: str) -> str:
        """What a value of class, or of id, has to have for this rule to say anything of it; "" if it never does."""
        asking = [condition.pattern for condition in self._all if name in condition.names]
        return "|".join(f"(?:{pattern})" for pattern in asking)

    def matches(self, element: Any, special: bool) -> bool:
        """Does an element of the right tag match? `special` if it may have attributes besides class and id."""
        if special:
            found = self._has(element)
        else:
            found = self.always or self._by_class_and_id(element)
        return found and all(late(element) for late in self._late)

    def select(self, elements: Iterable[Any], special: Container[Any]) -> Iterator[Any]:
        """Those of `elements`, all of the right tag, that match."""
        if self.always or self.neither:
            yield from (element for element in elements if self.matches(element, element in special))
            return
        of_class, of_id = self._known["class"].get, self._known["id"].get
        for element in elements:
            get = element.get
            bits = of_class(get("class"))
            # Nearly all elements end here: both values are known, and neither can match.
            if bits == 0 and of_id(get("id")) == 0 and not (special and element in special):
                continue
            if self.matches(element, element in special):
                yield element

    def _by_class_and_id(self, element: Any) -> bool:
        its_class, its_id = element.get("class"), element.get("id")
        if its_class is None and its_id is None:
            return self.neither
        of_class, of_id = self._bits("class", its_class), self._bits("id", its_id)
        either = of_class | of_id
        if either & _OWN:
            return True
        if not either & _SHARED:
            return False
        if its_class is None or its_id is None or of_class & of_id & _SHARED:
            return True
        first = next(name for name in element.keys() if name in ("class", "id"))  # noqa: SIM118 - an lxml element
        return bool((of_class if first == "class" else of_id) & _SHARED)

    def _bits(self, name: str, value: str | None) -> int:
        bits = self._known[name].get(value)
        return self._learn(self._known[name], name, value or "") if bits is None else bits

    def _learn(self, known: dict[str | None, int], name: str, value: str) -> int:
        own, shared = self._searches[name]
        bits = _OWN * bool(own and own(value)) | _SHARED * bool(shared and shared(value))
        _remember(known, value, bits)
        return bits

    def _has(self, element: Any) -> bool:
        attributes = element.items()
        for names, search, missing in self._conditions:
            value = next((value for name, value in attributes if name in names), None)
            if missing if value is None else search(value):
                return True
        return self.always


class Selection:
    """A whole expression, callable on a tree as lxml's XPath is.

    `first`: the answer is only the first element in the document (`(...)[1]`). A plain `[1]`, "first of its parent",
    is taken for the same; it is right for a caller who looks at the first answer alone.
    """

    def __init__(self, paths: list[Path]) -> None:
        if len({path.first for path in paths}) != 1:
            raise ValueError("XPath not understood: [1] of some paths only")
        self._first = paths[0].first
        self._rules = [Rule(path) for path in paths]
        names = sorted(frozenset().union(*(rule.names for rule in self._rules)))
        step = " or ".join(f"@{name}" for name in names)
        self._with_others = XPath(f".//*[{step}]", smart_strings=False) if names else None

    def __call__(self, tree: Any) -> list[Any]:
        """The elements below `tree` that match, in document order."""
        special = frozenset(self._with_others(tree)) if self._with_others is not None else frozenset()
        if len(self._rules) == 1:
            (rule,) = self._rules
            found = rule.select(tree.iterdescendants(*(rule.tags or "*")), special)
        else:
            found = self._by_any(tree, special)
        return list(itertools.islice(found, 1) if self._first else found)

    def _by_any(self, tree: Any, special: frozenset[Any]) -> Iterator[Any]:
        tags = [rule.tags for rule in self._rules]
        wanted = ("*",) if None in tags else tuple(frozenset().union(*filter(None, tags)))
        for element in tree.iterdescendants(*wanted):
            others = element in special
            if any(_allows(rule, element) and rule.matches(element, others) for rule in self._rules):
                yield element


class Together:
    """Several expressions of one path each, answered in one walk over the tree.

    Right for a caller who deletes what the first selects before asking the second, and so on: whether an element
    matches does not depend on other elements, and deleting what is deleted already changes nothing.
    """

    def __init__(self, selections: list[Selection]) -> None:
        self._rules = [rule for selection in selections for rule in selection._rules]
        if len(self._rules) != len(selections):
            raise ValueError("only expressions of one path can be answered together")
        tags = [rule.tags for rule in self._rules if not rule.always]
        self._tags = ("*",) if None in tags else tuple(sorted(frozenset().union(*filter(None, tags))))
        names = sorted(frozenset().union(*(rule.names for rule in self._rules)))
        step = " or ".join(f"@{name}" for name in names)
        self._with_others = XPath(f".//*[{step}]", smart_strings=False) if names else None
        self._search = {name: self._any(name) for name in ("class", "id")}
        # Does any rule say something of this value? Of most, none does.
        self._known: dict[str, dict[str | None, bool]] = {
            name: {None: any(rule.neither for rule in self._rules)} for name in ("class", "id")
        }

    def _any(self, name: str) -> Any:
        patterns = [f"(?:{rule.pattern(name)})" for rule in self._rules if rule.pattern(name)]
        return re.compile("|".join(patterns)).search if patterns else None

    def __call__(self, tree: Any) -> list[list[Any]]:
        """For each expression, the elements below `tree` that match, in document order."""
        special = frozenset(self._with_others(tree)) if self._with_others is not None else frozenset()
        found: list[list[Any]] = [
            [e for e in tree.iterdescendants(*(rule.tags or "*")) if rule.matches(e, False)] if rule.always else []
            for rule in self._rules
        ]
        asked = [(rule, answer) for rule, answer in zip(self._rules, found, strict=True) if not rule.always]
        of_class, of_id = self._known["class"].get, self._known["id"].get
        for element in tree.iterdescendants(*self._tags):
            get = element.get
            its_class, its_id = get("class"), get("id")
            said_of_class, said_of_id = of_class(its_class), of_id(its_id)
            if said_of_class is None:
                said_of_class = self._learn("class", its_class)
            if said_of_id is None:
                said_of_id = self._learn("id", its_id)
            others = element in special
            if said_of_class or said_of_id or others:
                for rule, answer in asked:
                    if _allows(rule, element) and rule.matches(element, others):
                        answer.append(element)
        return found

    def _learn(self, name: str, value: str) -> bool:
        search = self._search[name]
        said = search is not None and search(value) is not None
        _remember(self._known[name], value, said)
        return said


def _remember(known: dict[str | None, Any], value: str, answer: Any) -> None:
    """Keep an answer, unless its question is very long; forget all when there are very many."""
    if len(value) <= _LONGEST_REMEMBERED:
        if len(known) >= _REMEMBERED:
            missing = known[None]
            known.clear()
            known[None] = missing
        known[value] = answer


def _allows(rule: Rule, element: Any) -> bool:
    return rule.tags is None or element.tag in rule.tags


def _search(conditions: list[Condition], names: set[str]) -> Any:
    """One search for all conditions that ask for these, of class and id; None if there are none."""
    patterns = [f"(?:{condition.pattern})" for condition in _asking(conditions, names)]
    return re.compile("|".join(patterns)).search if patterns else None


def _missing(conditions: list[Condition], names: set[str]) -> bool:
    return any(condition.missing for condition in _asking(conditions, names))


def _asking(conditions: list[Condition], names: set[str]) -> list[Condition]:
    """Conditions that, of an element with no attributes but class and id, ask for exactly `names`."""
    return [condition for condition in conditions if condition.names & {"class", "id"} == names]
