"""The text of an XPath expression -> a Selection with the expression's answers.

Only the subset of XPath 1.0 is understood in which trafilatura's expressions about content are written: paths `.//tag`
or `.//*[self::a or self::b]`, and behind them brackets. The terms of a bracket are joined by `or`; a term is `@a`,
`@a='x'`, `contains`, `starts-with` or `re:test`, of an attribute, of the first of two attributes (`@id|@class`), or of
an attribute with some letters translated. lxml tests the brackets behind the first one. Any other expression raises
ValueError.

Every term becomes a regular expression on the value of its attribute, so that the terms on one attribute can be tested
together.
"""

from __future__ import annotations

import re

from lxml.etree import XPath

from corpus.extract.trafilatura_fast.xpath import Condition, Path, Selection

_NAMESPACES = {"re": "http://exslt.org/regular-expressions"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'[^']*'|"[^"]*")|(?P<name>[A-Za-z_][\w.-]*(?:::?[A-Za-z_*][\w.-]*)?)|(?P<number>\d+)"""
    r"""|(?P<sign>\.//|::|[@()\[\]|,=*]))"""
)


def translate(expression: str) -> Selection:
    """The Selection of an XPath expression. Raises ValueError if the expression is not in the subset above."""
    tokens = _Tokens(expression)
    paths = [_path(tokens)]
    while tokens.take("|"):
        paths.append(_path(tokens))
    tokens.end()
    return Selection(paths)


class _Tokens:
    def __init__(self, expression: str) -> None:
        self.expression = expression.strip()
        self.tokens: list[tuple[str, str]] = []  # kind, text
        self.starts: list[int] = []
        at = 0
        while at < len(self.expression):
            match = _TOKEN.match(self.expression, at)
            if match is None or match.lastgroup is None:
                raise ValueError(f"XPath not understood at {self.expression[at : at + 40]!r}")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            self.starts.append(match.start(match.lastgroup))
            at = match.end()
        self.starts.append(at)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        if self.peek() == token and self.kind() != "string":
            self.at += 1
            return True
        return False

    def need(self, token: str) -> None:
        if not self.take(token):
            raise ValueError(f"XPath not understood: {self.peek()!r} where {token!r} should be")

    def next(self, kind: str) -> str:
        if self.kind() != kind:
            raise ValueError(f"XPath not understood: {self.peek()!r} where a {kind} should be")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def string(self) -> str:
        return self.next("string")[1:-1]

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise ValueError(f"XPath not understood: {self.peek()!r} where it should end")


def _path(tokens: _Tokens) -> Path:
    path = Path()
    enclosed = tokens.take("(")
    tokens.need(".//")
    if not tokens.take("*"):
        path.tags = frozenset([tokens.next("name")])
    while tokens.take("["):
        if tokens.kind() == "number":
            _number_one(tokens, path)
        else:
            _bracket(tokens, path)
        tokens.need("]")
    if enclosed:
        tokens.need(")")
        tokens.need("[")
        _number_one(tokens, path)
        tokens.need("]")
    return path


def _number_one(tokens: _Tokens, path: Path) -> None:
    if tokens.next("number") != "1":
        raise ValueError("XPath not understood: only [1]")
    path.first = True


def _bracket(tokens: _Tokens, path: Path) -> None:
    """`[self::a or self::b]` limits the tags; the next bracket tests attributes; lxml tests the brackets behind it."""
    start = tokens.at
    tags = _tags(tokens)
    if tags and tokens.peek() == "]" and path.tags is None and not path.conditions:
        path.tags = frozenset(tags)
        return
    tokens.at = start
    if not path.conditions:
        path.conditions.append(_condition(tokens))
        while tokens.take("or"):
            path.conditions.append(_condition(tokens))
        return
    depth = 0
    while tokens.kind() and (depth or tokens.peek() != "]"):
        if tokens.kind() == "sign":
            depth += {"[": 1, "]": -1}.get(tokens.peek(), 0)
        tokens.at += 1
    inside = tokens.expression[tokens.starts[start] : tokens.starts[tokens.at]]
    path.late.append(XPath(f"boolean(self::*[{inside}])", namespaces=_NAMESPACES))


def _tags(tokens: _Tokens) -> list[str]:
    tags = []
    while tokens.kind() == "name" and tokens.peek().startswith("self::"):
        tags.append(tokens.next("name").removeprefix("self::"))
        if not tokens.take("or"):
            break
    return tags


def _condition(tokens: _Tokens) -> Condition:
    for function in ("re:test", "contains", "starts-with"):
        if tokens.take(function):
            tokens.need("(")
            names, table = _value(tokens)
            tokens.need(",")
            pattern = tokens.string()
            if function == "re:test":
                if tokens.take(","):
                    if tokens.string() != "i":
                        raise ValueError("XPath not understood: only the flag 'i'")
                    pattern = f"(?i:{pattern})"
            else:
                pattern = ("" if function == "contains" else r"\A") + _literal(pattern, table)
            tokens.need(")")
            if re.search(pattern, ""):
                raise ValueError("XPath not understood: a test that an element without the attribute passes")
            return Condition(names, pattern)
    name = _attribute(tokens)
    pattern = rf"\A{_literal(tokens.string(), {})}\Z" if tokens.take("=") else ""
    return Condition(frozenset([name]), pattern)


def _value(tokens: _Tokens) -> tuple[frozenset[str], dict[str, str]]:
    """(names of the attributes, letter -> its translation) of `@id`, `@id|@class` or `translate(@id, 'N', 'n')`."""
    if not tokens.take("translate"):
        name = _attribute(tokens)
        return frozenset([name, _attribute(tokens)] if tokens.take("|") else [name]), {}
    tokens.need("(")
    name = _attribute(tokens)
    tokens.need(",")
    old = tokens.string()
    tokens.need(",")
    new = tokens.string()
    tokens.need(")")
    if len(old) != len(new) or len(set(old)) != len(old):
        raise ValueError("XPath not understood: translate that removes or repeats letters")
    return frozenset([name]), dict(zip(old, new, strict=True))


def _attribute(tokens: _Tokens) -> str:
    tokens.need("@")
    return tokens.next("name")


def _literal(text: str, table: dict[str, str]) -> str:
    """A pattern that finds `text` in a value as if its letters had been translated by `table`."""
    parts = []
    for letter in text:
        before = [old for old, new in table.items() if new == letter]
        before += [letter] if letter not in table else []
        choice = "|".join(map(re.escape, before)) or "(?!)"
        parts.append(choice if len(before) == 1 else f"(?:{choice})")
    return "".join(parts)
