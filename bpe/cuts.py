r"""Where a text that arrives in chunks may be cut, so that its parts have the pretokens of the whole text.

A split rule looks ahead: whether `\s+(?!\S)` ends before the last blank depends on the character after it. So the end
of a chunk is no place to cut. In go a split rule and the text so far; out comes a place where the cut is proved right,
whatever text follows.

The proof. A rule is made of atoms, each of which matches one character: a literal, a class, a dot. Atom j may follow
atom i if a match, or a look-ahead, can read a character by j directly after a character by i. These pairs are read off
the expression as in Glushkov's construction (1961). Counts and the order of alternatives are ignored, so that there may
be too many pairs, and never too few. Between the characters y and x the text may be cut if for every pair (i, j) y is
not in i or x is not in j, and if no atom that has y may be followed by the end of the text (`$`). Then each attempt to
match that has read y fails at x, and it fails in the same way at the end of a text, however an engine tries the
alternatives. So no match reaches across the cut, and all matches before it are those of the whole text. The text after
the cut has the matches of the whole text too, because no text is cut for a rule that looks back: `\b`, `^`, `(?<=a)`.

An expression may leave text between its matches, which is a pretoken too. For a rule without a name the cut must
therefore be the end of a match as well. Where no cut can be proved, the text is held until there is one, in the worst
case until its end: for a rule that looks back, that refers back, or that matches an empty text.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bpe.patterns import is_named, regex
from bpe.regex_split import compiled_element, match_ends
from bpe.texts import utf8

RUN = 1 << 16  # characters that are encoded at once, if they can be cut
_END = 1  # the bit of the end of the text among the atoms
_ATOM = re.compile(
    r"\\(?:[pP](?:\{[^}]*\}|[A-Za-z])|[xu]\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[sSdDwWrntf]|[^\w])"
    r"|[^\\\[\](){}|?*+^$]"
)
_REPEAT = re.compile(r"(?:([?*])|(\+)|\{(\d+)(?:,\d*)?\})[?+]?")
_GROUP = re.compile(r"\((?:\?(?:([is]+)?:|>|P?<[A-Za-z_]\w*>)|(?![?*]))")
_AHEAD = re.compile(r"\(\?[=!]")


class Held:
    """The text of a stream that is not encoded yet."""

    def __init__(self, pattern: str, run: int = RUN) -> None:
        """`pattern` is a split rule. A cut is looked for as soon as `run` characters are held."""
        self._rule, self._run = cut_rule(pattern), run
        self._wanted, self._length, self._pieces = run, 0, list[str]()

    def add(self, piece: str) -> str:
        """Take more text. Returns the beginning of the held text up to a cut, or "", and holds the rest."""
        self._pieces.append(piece)
        self._length += len(piece)
        if self._rule is None or self._length < self._wanted:
            return ""
        text = "".join(self._pieces)
        cut = self._rule.last_cut(text)
        self._pieces, self._length = [text[cut:]], len(text) - cut
        # Without a cut the text doubles before the next search, so that the searches take linear time in all.
        self._wanted = max(self._run, 2 * self._length)
        return text[:cut]

    def rest(self) -> str:
        """All of the held text, which has come to its end."""
        text = "".join(self._pieces)
        self._wanted, self._length, self._pieces = self._run, 0, []
        return text


def whole_characters(chunks: Iterable[str]) -> Iterator[str]:
    """The text of `chunks` as the encoder reads it: pairs of surrogates joined, lone surrogates as U+FFFD."""
    held = ""
    for chunk in chunks:
        text = held + chunk
        held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        yield utf8(text.removesuffix(held)).decode()
    yield utf8(held).decode()


# --- the rule ----------------------------------------------------------------------------------------------


class CutRule:
    """Between which characters a text may be cut."""

    def __init__(self, pattern: str, atoms: list[str], follow: list[int]) -> None:
        """`atoms` are regular expressions of one character; bit j of `follow[i]` says whether atom j may follow i.

        Atom 0 is the end of the text.
        """
        self._pattern, self._atoms, self._follow = pattern, atoms, follow
        self._memberships: dict[str, int] = {}
        self._after: dict[int, int] = {}
        self._engines: dict[bool, list[Any]] = {}

    def may_cut(self, before: str, after: str) -> bool:
        """Whether a text may be cut between these two characters."""
        following = self._following(self._membership(before))
        return not following & (self._membership(after) | _END)

    def last_cut(self, text: str) -> int:
        """The last place in `text` where it may be cut, in characters from its start; 0 if there is none."""
        cuts = (i for i in range(len(text) - 1, 0, -1) if self.may_cut(text[i - 1], text[i]))
        last = next(cuts, 0)
        if not last or is_named(self._pattern):  # a named rule leaves no text between its matches
            return last
        ends = match_ends(self._pattern, text[:last])
        return next((cut for cut in itertools.chain([last], cuts) if cut in ends), 0)

    def _membership(self, character: str) -> int:
        """The atoms that match the character, as bits."""
        bits = self._memberships.get(character)
        if bits is None:
            ascii_only = character.isascii()
            if ascii_only not in self._engines:  # the pinned classes of other characters take a while to make
                self._engines[ascii_only] = [compiled_element(atom, not ascii_only) for atom in self._atoms[1:]]
            matched = [engine.fullmatch(character) is not None for engine in self._engines[ascii_only]]
            bits = sum(1 << number for number, is_match in enumerate(matched, 1) if is_match)
            self._memberships[character] = bits
        return bits

    def _following(self, atoms: int) -> int:
        """The atoms that may follow one of `atoms`, as bits."""
        bits = self._after.get(atoms)
        if bits is None:
            bits = 0
            for number, follow in enumerate(self._follow):
                if atoms >> number & 1:
                    bits |= follow
            self._after[atoms] = bits
        return bits


@functools.lru_cache(maxsize=16)
def cut_rule(pattern: str) -> CutRule | None:
    """Where texts may be cut for a split rule; None if no place can be proved right."""
    try:
        reader = _Reader(regex(pattern))
        whole = reader.read()
    except _UnknownError:
        return None
    return None if whole.nullable else CutRule(pattern, reader.atoms, reader.follow)


class _UnknownError(Exception):
    """The expression has an element about which nothing is proved."""


class _Part(NamedTuple):
    """A part of an expression."""

    first: int  # atoms that may read its first character, as bits
    last: int  # atoms that may read its last character
    nullable: bool  # whether it may read no character


_EMPTY = _Part(0, 0, True)


class _Reader:
    """Reads the atoms of an expression and which of them may follow each other."""

    def __init__(self, expression: str) -> None:
        self._text, self._at = expression, 0
        self.atoms = ["$"]
        self.follow = [0]

    def read(self) -> _Part:
        """The whole expression. Raises _UnknownError."""
        whole = self._alternatives("")
        if self._at < len(self._text):
            raise _UnknownError
        return whole

    def _alternatives(self, flags: str) -> _Part:
        parts = [self._sequence(flags)]
        while self._taken("|"):
            parts.append(self._sequence(flags))
        first = functools.reduce(int.__or__, (part.first for part in parts))
        last = functools.reduce(int.__or__, (part.last for part in parts))
        return _Part(first, last, any(part.nullable for part in parts))

    def _sequence(self, flags: str) -> _Part:
        whole = _EMPTY
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            part = self._repeated(self._element(flags))
            self._join(whole.last, part.first)
            whole = _Part(
                whole.first | (part.first if whole.nullable else 0),
                part.last | (whole.last if part.nullable else 0),
                whole.nullable and part.nullable,
            )
        return whole

    def _repeated(self, part: _Part) -> _Part:
        while match := _REPEAT.match(self._text, self._at):
            self._at = match.end()
            optional, _, least = match.groups()
            if optional != "?":
                self._join(part.last, part.first)
            if optional or (least and not int(least)):
                part = part._replace(nullable=True)
        return part

    def _element(self, flags: str) -> _Part:
        if self._taken("$") or self._taken(r"\z"):
            return _Part(_END, 0, True)
        if self._match(_AHEAD):
            ahead = self._alternatives(flags)
            self._close()
            return _Part(ahead.first, 0, True)
        if group := self._match(_GROUP):
            inside = self._alternatives("".join({*flags, *(group[1] or "")}))
            self._close()
            return inside
        start = self._at
        if self._taken("["):
            self._skip_set()
        elif not self._match(_ATOM):
            raise _UnknownError
        atom = self._text[start : self._at]
        self.atoms.append(f"(?{flags}:{atom})" if flags else atom)
        self.follow.append(0)
        bit = 1 << (len(self.atoms) - 1)
        return _Part(bit, bit, False)

    def _skip_set(self) -> None:
        """Go to the end of a set in brackets, whose first bracket has been read. A set may hold other sets."""
        depth = 1
        self._match(re.compile(r"\^?\]?"))
        while depth:
            element = self._match(re.compile(r"(?s)\\.|\[\^?\]?|."))
            if not element:
                raise _UnknownError
            depth += (element[0][0] == "[") - (element[0] == "]")

    def _join(self, before: int, after: int) -> None:
        for number in range(len(self.follow)):
            if before >> number & 1:
                self.follow[number] |= after

    def _taken(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match

    def _close(self) -> None:
        if not self._taken(")"):
            raise _UnknownError
