"""Text -> words and sentences, as the filters count them.

The thresholds of the published filters were set on the tokens of spaCy's blank English tokenizer. This module follows
its rules (spaCy documentation, "How spaCy's tokenizer works") without needing spaCy:

1. Split the text at white space into chunks. Each Han character and kana, and each punctuation mark between them, is a
   word of its own; spaCy's English rules would take a run of them for one word.
2. Peel marks, quotes, currency and other symbols, units behind a digit, and 's off both ends of a chunk; a run of dots
   is one word. Stop at an exception ("Mr.", "don't", ":-)"; corpus.filters.english), whose words are listed.
3. The core that is left is one word if it is an address (example.org/page). Otherwise it is split at dots in a row, at
   symbols, at hyphens and signs between letters, and at a dot between a small letter and a capital ("end.Next").
4. Exceptions that the peeling took apart, such as faces, are put together again.

The words of a chunk depend on that chunk alone, so `corpus.filters.statistics` can remember them. Documents in another
language than English are split without the exceptions of English; in French, Italian, Catalan and Occitan, an elided
article or pronoun ("l'", "qu'") is a word. With `words = "spacy"`, spaCy's English tokenizer splits every document.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import regex  # type: ignore[import-untyped, unused-ignore]

from corpus.config import setting
from corpus.filters.characters import (
    CAPITALS,
    CURRENCIES,
    DOLLARS,
    MARKS,
    QUOTES,
    SENTENCE_TERMINAL,
    SMALL_LETTERS,
    UNCASED_CLASS,
    UNITS,
    is_capital,
    is_icon,
    is_punctuation,
    is_small,
)
from corpus.filters.english import EVERYWHERE, EXCEPTIONS

SPLITTERS = ("native", "spacy")
ELIDING = ("fr", "it", "ca", "oc")
_ADDRESS_CHARS = 4096  # most characters of an address
_ADDRESS_NAMES = 32  # most places where its host may begin: behind the scheme, and behind each @

_PEELED = frozenset(MARKS + QUOTES)
_HEADS = _PEELED | frozenset(CURRENCIES + "§%=—–")
_TAILS = _PEELED | frozenset("—–")
_AFTER_LETTERS = frozenset(",;:!?)”")
_DIGITS = frozenset("0123456789")
_POSSESSIVES = ("'s", "'S", "’s", "’S")
_COUNTED = UNITS | frozenset(CURRENCIES) | frozenset(DOLLARS)  # what is peeled behind a digit
_COUNTED_ENDS = frozenset(unit[-1] for unit in _COUNTED)
_LONGEST_COUNTED = max(map(len, _COUNTED))
_BEFORE_A_STOP = _PEELED | _DIGITS | frozenset("%²-+|")  # besides small letters


def _infix(symbols: str, small: str, capitals: str, quotes: str) -> str:
    """The pattern of what splits a core from within; `small`, `capitals` and `quotes` stand inside of [...]."""
    letter = small + capitals
    return (
        rf"\.\.+|…|{symbols}"
        r"|(?<=[0-9])[+\-*^](?=[0-9-])"
        rf"|(?<=[{small}{quotes}])\.(?=[{capitals}{quotes}])"
        rf"|(?<=[{letter}]),(?=[{letter}])"
        rf"|(?<=[{letter}0-9])(?:---?|——|[-–—~])(?=[{letter}])"
        rf"|(?<=[{letter}0-9])[:<>=/](?=[{letter}])"
    )


@cache
def _any_infix() -> Any:
    """The pattern for all cores; compiled where one is needed, because that takes 30 ms."""
    small, capitals = SMALL_LETTERS + UNCASED_CLASS, CAPITALS + UNCASED_CLASS
    return regex.compile(_infix(r"\p{So}", small, capitals, re.escape(QUOTES)))


_ASCII_INFIX = re.compile(_infix("(?!)", "a-z", "A-Z", "\"'`,"))  # for cores in ASCII, which is faster
_NAME = "0-9A-Za-z\u00a1-\uffff"
_BYTE = "(?:25[0-4]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HOST_AND_PATH = re.compile(
    r"(?:"
    # a public IPv4 address
    r"(?!10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|0)"
    rf"(?:22[0-3]|2[01][0-9]|1[0-9]{{2}}|[1-9][0-9]?)(?:\.(?:255|{_BYTE}|0[0-9])){{2}}\.(?!0){_BYTE}"
    # a host's name
    rf"|(?:(?:[{_NAME}][{_NAME}_-]{{0,62}})?[{_NAME}]\.)+[{SMALL_LETTERS}{UNCASED_CLASS}]{{2,63}}"
    r")(?::\d{2,5})?(?:[/?#]\S*)?"
)
_SCHEME = re.compile(r"[\w+.-]{2,}://")
_ELISION = re.compile(
    r"(?:[cdjlmnst]|(?:(?:lors|puis|quoi|jus|pres)?q)u|(?:d[ae]|ne|a|su|co|que)?ll|un)['’](?=\w)", re.IGNORECASE
)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CJK_PIECES = re.compile(f"[{_CJK}\u3000-\u303f]|[^{_CJK}\u3000-\u303f]+")

Words = tuple[str, ...]
Splitter = Callable[[Sequence[str]], list[Words]]


class Rules(NamedTuple):
    """What differs between the kinds of rules.

    exceptions  the exceptions, with their words
    longest     the characters of the longest exception
    apart       the words that peeling and infixes alone would make of exceptions, by the first of these words
    eliding     whether an elided article or pronoun is a word
    """

    exceptions: Mapping[str, Words]
    longest: int
    apart: Mapping[str, list[Words]]
    eliding: bool


def words_setting() -> Any:
    """The setting `words` of every stage that counts words."""
    return setting("native", "what splits words: built-in rules, or spaCy's blank English tokenizer", choices=SPLITTERS)


def check_splitter(words: str) -> None:
    """Raises ValueError if `words` asks for spaCy and it is not installed."""
    if words == "spacy" and importlib.util.find_spec("spacy") is None:
        raise ValueError("words = 'spacy': spaCy is not installed; pip install spacy, or say words = \"native\"")


def splitter_resources(words: str) -> dict[str, str]:
    """What decides the words besides the setting: spaCy's version."""
    if words != "spacy":
        return {}
    from importlib.metadata import version

    return {"spacy": version("spacy")}


def kind_of(language: str | None, words: str = "native") -> str:
    """The kind of rules that split a document in `language`: english, plain, eliding or spacy."""
    if words == "spacy":
        return "spacy"
    if language is None or language == "en":
        return "english"
    return "eliding" if language in ELIDING else "plain"


def split_words(text: str, kind: str = "english") -> list[str]:
    """The words of `text`, in order; punctuation marks are words, white space is not."""
    return list(chain.from_iterable(splitter(kind)(text.split())))


def count_sentences(words: Sequence[str]) -> int:
    """The number of sentences in a text of these words; 0 if there is no word.

    A sentence ends with one or more sentence-terminal marks and the punctuation behind them. The next one begins at the
    next word that is not punctuation. This is the rule of spaCy's sentencizer.
    """
    begun, ended = int(bool(words)), False
    for word in words:
        if word in SENTENCE_TERMINAL:
            ended = True
        elif ended and not is_punctuation(word):
            begun, ended = begun + 1, False
    return begun


def exceptions_of(kind: str) -> Mapping[str, Words]:
    """The exceptions of a kind of rules, with their words."""
    return EXCEPTIONS if kind == "english" else EVERYWHERE


@cache
def splitter(kind: str) -> Splitter:
    """The function that splits chunks, each into its words, by a kind of rules."""
    if kind == "spacy":
        return _spacy_splitter()
    rules = rules_of(kind)
    return lambda chunks: [_split_chunk(chunk, rules) for chunk in chunks]


@cache
def rules_of(kind: str) -> Rules:
    """The rules of a kind: english, plain or eliding."""
    exceptions = exceptions_of(kind)
    return Rules(exceptions, max(map(len, exceptions)), _apart(exceptions), kind == "eliding")


def _spacy_splitter() -> Splitter:
    """spaCy's blank English tokenizer, one chunk at a time.

    On a whole text, spaCy works chunk by chunk too. It also searches for exceptions such as faces among neighbouring
    words of two chunks, but leaves the words of such a match as they are.
    """
    import spacy

    language = spacy.blank("en")

    def split(chunks: Sequence[str]) -> list[Words]:
        with language.memory_zone():  # without it, spaCy's store of strings grows for ever
            return [tuple(token.text for token in language.tokenizer(chunk)) for chunk in chunks]

    return split


def _split_chunk(chunk: str, rules: Rules) -> Words:
    """The words of a chunk."""
    if chunk.isascii() or max(chunk) < "\u3000":
        return _split_piece(chunk, rules)
    return tuple(chain.from_iterable(_split_piece(piece, rules) for piece in _CJK_PIECES.findall(chunk)))


def _split_piece(piece: str, rules: Rules) -> Words:
    """The words of a chunk, or of a part of it without Han characters and kana."""
    exceptions = rules.exceptions
    if piece in exceptions:
        return exceptions[piece]
    if piece.isalpha():  # true of most chunks
        return (piece,)
    stem, last = piece[:-1], piece[-1]
    if stem.isalpha() and stem not in exceptions and (last in _AFTER_LETTERS or (last == "." and is_small(stem[-1]))):
        return (stem, last)  # true of most other chunks
    core, before, after = _peeled(piece, exceptions, rules.longest)
    words = exceptions.get(core) or (_elided(core) if rules.eliding else _parts(core))
    if not before and not after:
        return _put_together(words, rules) if len(words) > 1 else words
    return _put_together((*before, *words, *reversed(after)), rules)


def _peeled(piece: str, exceptions: Mapping[str, Words], longest: int) -> tuple[str, list[str], list[str]]:
    """(the core of a piece, what was peeled off its front, what was peeled off its back from the outside in)."""
    before: list[str] = []
    after: list[str] = []
    start, end = 0, len(piece)

    def is_exception(start: int, end: int) -> bool:
        return end - start <= longest and piece[start:end] in exceptions

    while start < end and not is_exception(start, end):
        head = _head(piece, start, end)
        if head and is_exception(start + head, end):
            before.append(piece[start : start + head])
            start += head
            break
        tail = _tail(piece, start + head, end)
        if tail and is_exception(start, end - tail):
            after.append(piece[end - tail : end])
            end -= tail
            break
        if not head and not tail:
            break
        if head:
            before.append(piece[start : start + head])
            start += head
        if tail:
            after.append(piece[end - tail : end])
            end -= tail
    return piece[start:end], before, after


def _head(piece: str, start: int, end: int) -> int:
    """The number of characters to peel off the front of piece[start:end]."""
    first = piece[start]
    if first in _HEADS or (first > "\x7f" and is_icon(first)):
        return 1
    if first == ".":
        dots = _dots(piece, start, end)
        return dots if dots > 1 else 0
    if first == "+":
        return int(start + 1 == end or piece[start + 1] not in _DIGITS)
    if first in "UCA":
        return next((len(sign) for sign in DOLLARS if piece.startswith(sign, start, end)), 0)
    return 0


def _dots(piece: str, start: int, end: int) -> int:
    """The number of dots at the front of piece[start:end]."""
    at = start
    while at < end and piece[at] == ".":
        at += 1
    return at - start


def _tail(piece: str, start: int, end: int) -> int:
    """The number of characters to peel off the back of piece[start:end]."""
    if start >= end:
        return 0
    last = piece[end - 1]
    if last == ".":
        at = end
        while at > start and piece[at - 1] == ".":
            at -= 1
        return end - at if end - at > 1 else int(_is_full_stop(piece, start, end))
    if last == "…":
        return 2 if end - start > 1 and piece[end - 2] == "…" else 1
    if last in "sS" and end - start > 1 and piece[end - 2 : end] in _POSSESSIVES:
        return 2
    if last == "+":
        return int(end - start > 1 and piece[end - 2] in _DIGITS)
    if last in _COUNTED_ENDS:
        for size in range(1, min(_LONGEST_COUNTED, end - start - 1) + 1):
            if piece[end - size - 1] in _DIGITS and piece[end - size : end] in _COUNTED:
                return size
    return int(last in _TAILS or (last > "\x7f" and is_icon(last)))


def _is_full_stop(piece: str, start: int, end: int) -> bool:
    """Whether the dot at the end of piece[start:end] is punctuation, and not part of an abbreviation."""
    if end - start < 2:
        return False
    before = piece[end - 2]
    if before in _BEFORE_A_STOP or is_small(before):
        return True
    if end - start < 3:
        return False
    return (is_capital(before) and is_capital(piece[end - 3])) or (piece[end - 3] == "°" and before in "FCK")


def _elided(core: str) -> Words:
    """The words of a core; an elided article or pronoun at its front is split off."""
    match = _ELISION.match(core)
    if match is None:
        return _parts(core)
    return (match.group(), *_elided(core[match.end() :]))


def _parts(core: str) -> Words:
    """The words of a core: one if it is an address, else the parts around infixes."""
    if core.isalnum() or _is_address(core):
        return (core,) if core else ()
    parts: list[str] = []
    start = 0
    for match in (_ASCII_INFIX if core.isascii() else _any_infix()).finditer(core):
        if match.start() == 0:
            continue
        if match.start() > start:
            parts.append(core[start : match.start()])
        parts.append(match.group())
        start = match.end()
    if start < len(core):
        parts.append(core[start:])
    return tuple(parts)


def _is_address(core: str) -> bool:
    """Whether a core is a web or mail address: [scheme://][anyone@]host[:port][/path]."""
    if len(core) > _ADDRESS_CHARS or "." not in core:
        return False
    scheme = _SCHEME.match(core)
    starts = [0] if scheme is None else [0, scheme.end()]
    at = core.find("@", 1)
    while at >= 0 and len(starts) < _ADDRESS_NAMES:
        starts.append(at + 1)
        at = core.find("@", at + 1)
    return any(_HOST_AND_PATH.fullmatch(core, start) for start in starts)


def _put_together(words: Words, rules: Rules) -> Words:
    """The words with every exception that was peeled apart put together, the longest first."""
    patterns = rules.apart
    if patterns.keys().isdisjoint(words):
        return words
    matches = [
        (-len(pattern), at, pattern)
        for at, word in enumerate(words)
        for pattern in patterns.get(word, ())
        if words[at : at + len(pattern)] == pattern
    ]
    if not matches:
        return words
    covered: set[int] = set()
    chosen: dict[int, Words] = {}
    for size, at, pattern in sorted(matches):
        if at not in covered and at - size - 1 not in covered:
            chosen[at] = pattern
        covered.update(range(at, at - size))
    together: list[str] = []
    at = 0
    while at < len(words):
        pattern = chosen.get(at, ())
        together += rules.exceptions["".join(pattern)] if pattern else (words[at],)
        at += len(pattern) or 1
    return tuple(together)


def _apart(exceptions: Mapping[str, Words]) -> dict[str, list[Words]]:
    """`Rules.apart`; exceptions that peeling and infixes leave whole are left out."""
    patterns: dict[str, list[Words]] = {}
    for written in exceptions:
        core, before, after = _peeled(written, {}, 0)
        words = (*before, *_parts(core), *reversed(after))
        if before or after or _any_infix().search(written):
            patterns.setdefault(words[0], []).append(words)
    return patterns
