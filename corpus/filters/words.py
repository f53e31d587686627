"""Text -> words and sentences, as the filters count them.

The thresholds of the published filters were set on tokens of spaCy's blank English tokenizer, so this follows its
rules (spaCy documentation, "How spaCy's tokenizer works") without needing spaCy:

1. Split on white space. Han characters and kana are each a word of their own, the punctuation between them too.
2. Peel punctuation, quotes, currency signs and symbols off both ends, each a word; runs of dots stay together. A last
   full stop is peeled off except after an abbreviation ("Mr.", "e.g.") or a single capital ("U.S.", "J.").
3. Possessive 's, contractions ("do n't", "we 'll", "can not") and units after a digit ("10 km") are split off.
4. A web or mail address is one word.
5. Otherwise split at hyphens, commas and `: < > = /` between letters, at a dot between a small and a capital letter
   ("end.Next"), and at dots in a row.

The split of one white-space-free chunk depends on that chunk alone, so it is remembered: real text repeats its
chunks, and a repeat costs a dictionary look-up. Stages split again rather than hand words to each other.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain

# Sentence_Terminal of the Unicode Character Database (PropList.txt), living scripts.
SENTENCE_TERMINAL = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b\u1362"
    "\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f"
    "\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f"
    "\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01"
    "\uff0e\uff1f\uff61"
)

_REMEMBERED_CHUNKS = 65536  # about 20 MB in a process
_LONG_CHUNK = 100  # characters; longer ones are rare, large, and not remembered
_LONGEST_SPECIAL = 9

# Written with their full stop, which is then no end of a sentence.
_WRITTEN_SHORT = (
    "mr. mrs. ms. dr. prof. st. jr. sr. gen. gov. lt. col. sgt. capt. adm. sen. rep. rev. hon. messrs. inc. ltd. corp. "
    "co. bros. vs. v.s. e.g. i.e. a.m. p.m. ph.d. d.c. jan. feb. mar. apr. aug. sept. sep. oct. nov. dec. mt. ft. ave. "
    "blvd. ariz. calif. colo. conn. fla. ill. mich. minn. tenn. penn. wis. va."
)
_ABBREVIATIONS = frozenset(_WRITTEN_SHORT.split()) | frozenset(f"{one}." for one in "abcdefghijklmnopqrstuvwxyz")

_SPLIT_WORDS = ("cannot", "gonna", "gotta")
_CONTRACTION = re.compile(
    r"(i|you|he|she|it|we|they|who|what|when|where|why|how|there|that|this|let)(['’](?:m|re|ve|ll|d|s))"
    r"|(ca|wo|do|does|did|is|are|was|were|has|have|had|would|could|should|might|must|need|ai|sha)(n['’]t)"
    r"|(can)(not)|(gon)(na)|(got)(ta)",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"(?<=[0-9])(?:[kcmnd]?m[²³]?|km/h|kmh|mph|[km]?g|lbs?|oz|ft|yd|[kmgt]b|[kmg]?hz|%|a\.?m\.?|p\.?m\.?)$", re.I
)
_ADDRESS = re.compile(
    r"[A-Za-z][\w+.-]+://\S+"  # scheme://...
    r"|[^\s@]+@[\w-]+(?:\.[\w-]+)+"  # name@host
    r"|(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+[a-z]{2,63}(?::\d{2,5})?(?:[/?#]\S*)?"  # host, host/path
)
_LOW, _UP = "a-zß-öø-ÿ", "A-ZÀ-ÖØ-Þ"
_INFIX = re.compile(
    r"\.\.+|…"
    r"|(?<=[0-9])[+\-*^](?=[0-9-])"
    rf"|(?<=[{_LOW}'\"”’])\.(?=[{_UP}'\"“‘])"
    r"|(?<=[^\W\d_]),(?=[^\W\d_])"
    r"|(?<=[^\W_])(?:---?|——|[-–—~])(?=[^\W\d_])"
    r"|(?<=[^\W_])[:<>=/](?=[^\W\d_])"
)
_DOTS = re.compile(r"\.\.+")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CJK_PIECES = re.compile(f"[{_CJK}\u3000-\u303f]|[^{_CJK}\u3000-\u303f]+")


def split_words(text: str) -> list[str]:
    """The words of `text`, in order; punctuation marks are words, white space is not."""
    return list(chain.from_iterable(map(_remembered.__getitem__, text.split())))


def count_sentences(text: str) -> int:
    """How many sentences `text` has; 0 if it has no words.

    A sentence ends at a sentence-terminal mark, or several, and the punctuation after it; the next begins at the next
    word that is not punctuation. This is the rule of spaCy's sentencizer.
    """
    words = split_words(text)
    begun, ended = int(bool(words)), False
    for word in words:
        if word in SENTENCE_TERMINAL:
            ended = True
        elif ended and not _is_punctuation(word):
            begun, ended = begun + 1, False
    return begun


def _split_chunk(chunk: str) -> tuple[str, ...]:
    """The words of a chunk without white space."""
    if not chunk.isascii() and max(chunk) >= "\u3000":
        return tuple(chain.from_iterable(map(_split_piece, _CJK_PIECES.findall(chunk))))
    return _split_piece(chunk)


class _Remembered(dict[str, tuple[str, ...]]):
    """The split of each chunk seen, until full: frequent chunks come early, and reading is half the cost of an LRU."""

    def __missing__(self, chunk: str) -> tuple[str, ...]:
        split = _split_chunk(chunk)
        if len(self) < _REMEMBERED_CHUNKS and len(chunk) <= _LONG_CHUNK:
            self[chunk] = split
        return split


_remembered = _Remembered()


def _split_piece(piece: str) -> tuple[str, ...]:
    if piece.isalpha() and piece.lower() not in _SPLIT_WORDS:  # most chunks
        return (piece,)
    start, end = 0, len(piece)
    after: list[str] = []
    before: list[str] = []
    while start < end:
        special = _special(piece[start:end]) if end - start <= _LONGEST_SPECIAL else None
        if special is not None:
            return (*before, *special, *reversed(after))
        head = _head(piece, start, end)
        before += [piece[start : start + head]] if head else []
        tail = _tail(piece, start + head, end)
        after += [piece[end - tail : end]] if tail else []
        start, end = start + head, end - tail
        if not head and not tail:
            break
    return (*before, *_core(piece[start:end]), *reversed(after))


def _special(core: str) -> tuple[str, ...] | None:
    """A contraction in its parts, an abbreviation whole; None for anything else."""
    if (match := _CONTRACTION.fullmatch(core)) is not None:
        return tuple(part for part in match.groups() if part is not None)
    if core.lower() in _ABBREVIATIONS and (len(core) > 2 or core.islower()):
        return (core,)
    return None


def _head(piece: str, start: int, end: int) -> int:
    """How many characters to peel off the front of piece[start:end]."""
    first = piece[start]
    if first == ".":
        dots = _DOTS.match(piece, start, end)
        return 0 if dots is None else dots.end() - start
    if first == "+":
        return int(not piece[start + 1 : min(start + 2, end)].isdecimal())
    return int(not first.isalnum() and _peels(first))


def _tail(piece: str, start: int, end: int) -> int:
    """How many characters to peel off the back of piece[start:end]."""
    if start == end:
        return 0
    last = piece[end - 1]
    if last == ".":
        dots = end - start - len(piece[start:end].rstrip("."))
        return dots if dots > 1 else int(_is_full_stop(piece, start, end))
    if last in "sS" and end - start > 1 and piece[end - 2] in "'’":
        return 2
    if last == "+":
        return int(piece[max(start, end - 2)].isdecimal())
    if last.isalnum() or last in "%²³":
        unit = _UNIT.search(piece, max(start, end - 5), end)
        return 0 if unit is None else end - unit.start()
    return int(_peels(last))


def _is_full_stop(piece: str, start: int, end: int) -> bool:
    """Whether the dot that ends piece[start:end] is punctuation and not part of an abbreviation."""
    before = piece[max(start, end - 3) : end - 1]
    if not before:
        return False
    return before[-1] != "." and (
        not before[-1].isupper() or (before.isupper() and before.isalpha() and len(before) == 2)
    )


def _core(core: str) -> list[str]:
    """What is left between the peeled ends: an address, or parts around infixes."""
    if not core:
        return []
    if core.isalnum() or (("." in core or "@" in core) and _ADDRESS.fullmatch(core)):
        return [core]
    parts, start = [], 0
    for match in _INFIX.finditer(core):
        parts += [core[start : match.start()], match.group()]
        start = match.end()
    parts.append(core[start:])
    return [part for part in parts if part]


@lru_cache(maxsize=4096)
def _peels(char: str) -> bool:
    """Whether `char` comes off the ends of a word: quotes, brackets, most punctuation, currency and other symbols."""
    if char in ".@/\\":
        return False
    return char in "=<>`´—–" or unicodedata.category(char) in ("Ps", "Pe", "Pi", "Pf", "Po", "Pc", "Sc", "So")


@lru_cache(maxsize=4096)
def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(char).startswith("P") for char in word)
