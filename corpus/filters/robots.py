"""robots.txt -> may this crawler have this page? RFC 9309, "Robots Exclusion Protocol".

Groups that name the same crawler are one; the longest pattern that matches the path decides, and of two of the same
length the one that allows (section 2.2.2). `*` stands for anything, `$` at the end for the end. Patterns are matched
from the left without ever going back, in time linear in the path: texts from the web must not choose the time, and
regular expressions made of them would let them.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

# RFC 9309, section 2.5: a parser reads at least 500 KiB; what stands behind that is not read here.
MAX_BYTES = 500 * 1024

_LINE = re.compile(r"^[ \t]*(user-agent|allow|disallow)[ \t]*:[ \t]*([^#\r\n]*)", re.IGNORECASE | re.MULTILINE)
_ESCAPE = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_AS_THEY_ARE = "%/?#[]@!$&'()*+,;=:~"  # reserved in a URL (RFC 3986), or an escape already


class Rule(NamedTuple):
    """`pattern` in the normal form of paths."""

    allow: bool
    pattern: str


def parse_robots(text: str) -> dict[str, list[Rule]]:
    """Rules by crawler, its name in lower case. Lines that are none of the three kinds are passed over."""
    found: dict[str, list[Rule]] = {}
    group: list[str] = []
    open_ = False  # lines that name crawlers follow each other
    for field, value in _LINE.findall(text[:MAX_BYTES].removeprefix("\ufeff").replace("\r", "\n")):
        value = value.strip()
        if field.lower() == "user-agent":
            name = value.partition("/")[0].lower()  # some write a version behind it
            group = [*group, name] if open_ else [name]
            found.setdefault(name, [])
            open_ = True
        else:
            open_ = False
            if value:  # an empty Disallow forbids nothing
                for name in group:
                    found[name].append(Rule(field.lower() == "allow", normal(value)))
    return found


def allowed(rules: list[Rule], url: str) -> bool:
    """Whether these rules let a crawler have `url`; what no rule matches is allowed."""
    path = path_of(url)
    best = max((rule for rule in rules if matches(rule.pattern, path)), key=_weight, default=None)
    return best is None or best.allow


def matches(pattern: str, path: str) -> bool:
    """Does `pattern` match the beginning of `path`, or with a `$` at its end, the whole of it?"""
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
    """The path and query of a URL, as patterns are compared with."""
    parts = urlsplit(url)
    return normal((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def normal(path: str) -> str:
    """Paths that mean the same, written the same: escapes of unreserved characters undone, others escaped."""

    def written(escape: re.Match[str]) -> str:
        char = chr(int(escape[1], 16))
        return char if char in _UNRESERVED else escape[0].upper()

    return _ESCAPE.sub(written, quote(path, safe=_AS_THEY_ARE, errors="replace"))


def _weight(rule: Rule) -> tuple[int, bool]:
    return len(rule.pattern), rule.allow
