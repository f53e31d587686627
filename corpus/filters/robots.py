"""robots.txt -> whether a crawler may fetch a page (RFC 9309, "Robots Exclusion Protocol").

Groups that name one crawler are read as one group. The longest pattern that matches the path decides; of two patterns
of one length, `Allow` decides (section 2.2.2). `*` in a pattern matches any characters, `$` at its end the end of
the path. Patterns are matched from left to right without going back, in time linear in the path. A text from the web
could make a regular expression take any time.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

# RFC 9309, section 2.5: a parser must read at least 500 KiB. Nothing behind them is read here.
MAX_BYTES = 500 * 1024

_LINE = re.compile(r"^[ \t]*(user-agent|allow|disallow)[ \t]*:[ \t]*([^#\r\n]*)", re.IGNORECASE | re.MULTILINE)
_ESCAPE = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_UNESCAPED = "%/?#[]@!$&'()*+,;=:~"  # reserved in a URL (RFC 3986), and the % of an escape


class Rule(NamedTuple):
    """A line `Allow` or `Disallow`; its pattern is in the form of `normal`."""

    allow: bool
    pattern: str


def parse_robots(text: str) -> dict[str, list[Rule]]:
    """The rules by crawler, with its name in lower case.

    Lines that are not user-agent, allow or disallow are skipped.
    """
    rules: dict[str, list[Rule]] = {}
    group: list[str] = []
    is_naming = False  # the line before names a crawler
    for field, value in _LINE.findall(text[:MAX_BYTES].removeprefix("\ufeff").replace("\r", "\n")):
        value = value.strip()
        if field.lower() == "user-agent":
            name = value.partition("/")[0].lower()  # some files have a version behind the name
            group = [*group, name] if is_naming else [name]
            rules.setdefault(name, [])
            is_naming = True
        else:
            is_naming = False
            if value:  # an empty Disallow forbids nothing
                for name in group:
                    rules[name].append(Rule(field.lower() == "allow", normal(value)))
    return rules


def allowed(rules: list[Rule], url: str) -> bool:
    """Whether these rules allow a crawler the page at `url`; a page that no rule matches is allowed."""
    path = path_of(url)
    best = max((rule for rule in rules if matches(rule.pattern, path)), key=_weight, default=None)
    return best is None or best.allow


def matches(pattern: str, path: str) -> bool:
    """Whether `pattern` matches the beginning of `path`, or with a `$` at its end, the whole path."""
    anchored = pattern.endswith("$")
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if not others:
        return not anchored or path == first
    at = len(first)
    *between, last = others
    for part in between:
        at = path.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(path) - len(last) >= at and path.endswith(last) if anchored else path.find(last, at) >= 0


def path_of(url: str) -> str:
    """The path and query of a URL in the form of `normal`."""
    parts = urlsplit(url)
    return normal((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def normal(path: str) -> str:
    """The normal form of a path: unreserved characters are unescaped, and all others are escaped."""

    def written(escape: re.Match[str]) -> str:
        char = chr(int(escape[1], 16))
        return char if char in _UNRESERVED else escape[0].upper()

    return _ESCAPE.sub(written, quote(path, safe=_UNESCAPED, errors="replace"))


def _weight(rule: Rule) -> tuple[int, bool]:
    return len(rule.pattern), rule.allow
