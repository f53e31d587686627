r"""Splits texts by any regular expression, at about 10 MB/s: the slow way beside the named rules.

In go a pattern and texts. Out come the ends of all pretokens, in the table that `kernels.split.next_ends` reads with
the scheme BY_REGEX. The text between two matches is a pretoken too, as in Hugging Face's Split "isolated"; tiktoken
would drop it. Each text is matched alone, so its start and end are those of the whole text for the pattern.

Patterns are written for tiktoken's engine (Rust's fancy-regex) and matched by the package `regex`. The two read them
alike, with these exceptions:

- Unicode's version. \p{L}, \p{N}, \p{M}, the kinds of letters (\p{Lu} ...) and \s are pinned to `bpe.unicode`. The
  `regex` package of today differs from it on 17,480 code points. A text without any of these, as nearly every text
  is, is matched by the pattern as it is. For any other text the classes are corrected code point by code point, which
  takes up to twice as long. All other classes (\p{P}, \p{Han}, \w, \d) are the package's own.
- `$` and \z are the end of the text, and \x{...}, \u{...}, \pL are read. (?i) folds one character to one: s to U+017F,
  but not ss to U+00DF. Flags other than i and s are refused, and so are \h, \H, \Z, \G and \K, whose meaning differs
  from engine to engine.

A byte that is not part of valid UTF-8 is a character of its own, of no class.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.parse import brief
from bpe.texts import Utf8
from bpe.unicode import CODE_POINTS, category_table

# Category of the table -> its names in \p, in lower case and without _, - and blanks.
_NAMES = {
    "L": ("l", "letter"),
    "Lu": ("lu", "uppercaseletter"),
    "Lt": ("lt", "titlecaseletter"),
    "Ll": ("ll", "lowercaseletter"),
    "Lm": ("lm", "modifierletter"),
    "Lo": ("lo", "otherletter"),
    "M": ("m", "mark", "combiningmark"),
    "N": ("n", "number"),
}
_CATEGORY = {name: category for category, names in _NAMES.items() for name in names}


class Compiled(NamedTuple):
    """A pattern, ready to match."""

    plain: Any  # with the package's own classes
    corrected: str  # with the pinned classes
    differs: NDArray[np.bool_]  # the code points for which the two differ


def regex_table(pattern: str, texts: Utf8) -> NDArray[np.int64]:
    """int64 [address of texts.content, 0, the end of each pretoken of each text in order ...].

    Ends are in bytes from the start of `texts.content`. The 0 becomes the number of ends that `next_ends` has read, so
    a table can be read once. Raises ValueError for a pattern that is no regular expression or has no exact counterpart.
    """
    compiled = compile_pattern(pattern)
    head = np.array([texts.content.ctypes.data, 0], np.int64)
    bounds = itertools.pairwise(texts.offsets.tolist())
    return np.concatenate([head, *(start + _ends(compiled, texts.content[start:stop]) for start, stop in bounds)])


@functools.lru_cache(maxsize=16)
def compile_pattern(pattern: str) -> Compiled:
    """`pattern` compiled. Raises ValueError if it is no regular expression or has no exact counterpart."""
    plain, corrected, used = _rewritten(pattern)
    differs = np.zeros(CODE_POINTS, np.bool_)
    for category in used:
        differs |= _members(_class(category)) != _pinned(category)
    try:
        return Compiled(_compile(plain), corrected, differs)
    except (_regex().error, RecursionError) as error:
        reason = "brackets are nested too deep" if isinstance(error, RecursionError) else error
        shown = brief(repr(pattern))
        raise ValueError(f"pattern = {shown}: no regular expression that can be read ({reason})") from error


def _ends(compiled: Compiled, content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The ends of the pretokens of one text, in bytes from its start."""
    text = content.tobytes().decode("utf-8", "surrogateescape")
    spans = itertools.chain.from_iterable(match.span() for match in _matcher(compiled, text).finditer(text))
    # The start of a match ends the pretoken before it. An empty match ends one too, but is none itself.
    ends = np.fromiter(itertools.chain(spans, [len(text)]), np.int64)
    ends = ends[np.diff(ends, prepend=0) > 0]
    if text.isascii():
        return ends
    codes = _code_points(text)
    after = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(_utf8_lengths(codes), out=after[1:])
    return after[ends]


def match_ends(pattern: str, text: str) -> set[int]:
    """The ends of the matches of `pattern` in `text`, in characters; empty matches are left out."""
    matches = _matcher(compile_pattern(pattern), text).finditer(text)
    return {match.end() for match in matches if match.end() > match.start()}


def compiled_element(pattern: str, pinned: bool) -> Any:
    """A part of a pattern compiled for the `regex` package, with its own classes or with the pinned ones."""
    plain, corrected, _ = _rewritten(pattern)
    return _compile(corrected if pinned else plain)


def _matcher(compiled: Compiled, text: str) -> Any:
    """What matches the pattern in `text`: the pinned classes are slower, and few texts need them."""
    if not text.isascii() and compiled.differs[_code_points(text)].any():
        return _compile(compiled.corrected)
    return compiled.plain


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _utf8_lengths(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The bytes of each character: one for U+DC80..DCFF, which stand for bytes that are not UTF-8."""
    lengths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    lengths[(codes >= 0xDC80) & (codes < 0xDD00)] = 1
    return lengths


def _rewritten(pattern: str) -> tuple[str, str, set[str]]:
    """(`pattern` for the `regex` package, that with pinned classes, the pinned classes in it)."""
    plain: list[str] = []
    corrected: list[str] = []
    used: set[str] = set()
    depth = i = 0  # depth: how many brackets are open
    while i < len(pattern):
        width, text, category, negated = _element(pattern, i, depth > 0)
        plain.append(text)
        if category:
            used.add(category)
            text = _corrected(category, negated)
        corrected.append(text)
        if not category and text in ("[", "[^"):
            # A closing bracket right after the opening one is a literal.
            depth += 1
            if pattern[i + width : i + width + 1] == "]":
                plain.append(r"\]")
                corrected.append(r"\]")
                width += 1
        elif not category and text == "]" and depth:
            depth -= 1
        i += width
    return "".join(plain), "".join(corrected), used


def _element(pattern: str, i: int, inside: bool) -> tuple[int, str, str, bool]:
    """The element at `i`: (its width, its text for the `regex` package, its pinned category or "", negated)."""
    c = pattern[i]
    if c == "\\":
        return _escape(pattern, i)
    if c == "[":
        width = 2 if pattern[i + 1 : i + 2] == "^" else 1
        return width, pattern[i : i + width], "", False
    if c == "$" and not inside:
        return 1, r"\Z", "", False
    if c == "(" and not inside and pattern[i + 1 : i + 2] == "?":
        return _group(pattern, i)
    return 1, c, "", False


def _escape(pattern: str, i: int) -> tuple[int, str, str, bool]:
    """As `_element`, for a backslash at `i`."""
    letter = pattern[i + 1 : i + 2]
    if letter and letter in "hHZGK":
        raise ValueError(
            f"pattern = {brief(repr(pattern))}: \\{letter} means different things to different engines; write it out"
        )
    if letter == "z":
        return 2, r"\Z", "", False
    if letter and letter in "sS":
        return 2, "\\" + letter, "s", letter == "S"
    if letter and letter in "pPxu":
        name, width = pattern[i + 2 : i + 3], 3
        if name == "{":
            close = pattern.find("}", i)
            name, width = pattern[i + 3 : close], close + 1 - i
            if close < 0:
                raise ValueError(f"pattern = {brief(repr(pattern))}: no }} after \\{letter}{{")
            if letter in "xu":
                return width, _character(pattern, name), "", False
        elif letter in "xu":
            return 2, "\\" + letter, "", False
        negated = (letter == "P") != name.startswith("^")
        category = _CATEGORY.get(name.removeprefix("^").lower().translate({ord(mark): None for mark in "_- "}), "")
        return width, f"\\{'P' if negated else 'p'}{{{name.removeprefix('^')}}}", category, negated
    return 2, pattern[i : i + 2], "", False


def _character(pattern: str, digits: str) -> str:
    """The character of a code point in hexadecimal, as the `regex` package reads it."""
    try:
        return f"\\U{ord(chr(int(digits, 16))):08X}"
    except (ValueError, OverflowError) as error:
        shown, number = brief(repr(pattern)), brief(repr(digits), 40)
        raise ValueError(f"pattern = {shown}: {number} is no code point in hexadecimal") from error


def _group(pattern: str, i: int) -> tuple[int, str, str, bool]:
    """As `_element`, for the opening of a group with a question mark, and its flags if it has any."""
    j = i + 2
    while pattern[j : j + 1].isalpha() or pattern[j : j + 1] == "-":
        j += 1
    flags = pattern[i + 2 : j]
    if flags in ("", "P") or pattern[j : j + 1] not in (":", ")"):
        return 2, "(?", "", False
    if set(flags) - set("is-"):
        raise ValueError(
            f"pattern = {brief(repr(pattern))}: flags {brief(repr(flags), 40)} are not supported, only i and s"
        )
    # Full case folding, of one character to several, is off in other engines.
    turned_on, _, turned_off = flags.partition("-")
    turned_off += "f" if "i" in turned_on else ""
    return j - i, "(?" + turned_on + (f"-{turned_off}" if turned_off else ""), "", False


def _class(category: str) -> str:
    """A category as a class of a pattern."""
    return r"\s" if category == "s" else f"\\p{{{category}}}"


@functools.cache
def _pinned(category: str) -> NDArray[np.bool_]:
    """The code points in a category of Unicode 16.0, as flags. Surrogates are in none."""
    return category_table(category)


@functools.cache
def _corrected(category: str, negated: bool) -> str:
    """The pinned class as a set in brackets: the package's class with code points taken away and added."""
    has, wanted = _members(_class(category)), _pinned(category)
    extra, missing = _ranges(has & ~wanted), _ranges(wanted & ~has)
    return f"[{'^' * negated}[{_class(category)}--[\\U0000D800{extra}]]{missing}]"


def _ranges(members: NDArray[np.bool_]) -> str:
    """Code points as ranges for a set in brackets."""
    edges = np.flatnonzero(np.diff(members.astype(np.int8), prepend=0, append=0))
    return "".join(f"\\U{first:08X}-\\U{last - 1:08X}" for first, last in edges.reshape(-1, 2).tolist())


@functools.cache
def _members(expression: str) -> NDArray[np.bool_]:
    """The code points that the `regex` package has in a class, as flags."""
    members = np.zeros(CODE_POINTS, np.bool_)
    for match in _regex().finditer(expression + "+", "".join(map(chr, range(CODE_POINTS)))):
        members[match.start() : match.end()] = True
    return members


@functools.lru_cache(maxsize=128)
def _compile(expression: str) -> Any:
    return _regex().compile(expression, _regex().VERSION1)


def _regex() -> Any:
    import regex  # type: ignore[import-untyped, unused-ignore]  # only patterns need it

    return regex
