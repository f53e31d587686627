"""DOCUMENTS -> DOCUMENTS without those that repeat themselves: the repetition rules of Gopher.

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher"
(arXiv 2112.11446), section A.1.1 and Table A1. Boilerplate, spam and generated pages say the same line, paragraph or
phrase again and again. Every rule divides by the characters of the whole text, as the FineWeb run did:

- a line or paragraph is duplicate from its second appearance on;
- `top_n_gram`: the most frequent n-gram (the first of equals) times its count, words joined by a space;
- `duplicate_n_gram`: read from the left, a gram of n words seen before counts its characters without spaces, and
  reading goes on behind it, so no character counts twice.

Rules run in the order of the settings; a document is dropped by the first that it fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

import pyarrow as pa

from corpus.config import setting
from corpus.filters.words import split_words
from corpus.schema import Drop, Outcome, outcome

STAGE = "gopher_repetition"
_TABLE = "(Gopher, Table A1)"

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_LONG_GRAMS = (5, 6, 7, 8, 9, 10)


@dataclass(frozen=True)
class Config:
    duplicate_paragraph_fraction: float = setting(
        0.30, f"drop above this share of paragraphs seen before {_TABLE}", low=0, high=1
    )
    duplicate_paragraph_chars: float = setting(
        0.20, f"drop above this share of characters in paragraphs seen before {_TABLE}", low=0, high=1
    )
    duplicate_line_fraction: float = setting(
        0.30, f"drop above this share of lines seen before {_TABLE}", low=0, high=1
    )
    duplicate_line_chars: float = setting(
        0.20, f"drop above this share of characters in lines seen before {_TABLE}", low=0, high=1
    )
    top_2_gram: float = setting(0.20, f"drop above this share of characters in the top 2-gram {_TABLE}", low=0)
    top_3_gram: float = setting(0.18, f"drop above this share of characters in the top 3-gram {_TABLE}", low=0)
    top_4_gram: float = setting(0.16, f"drop above this share of characters in the top 4-gram {_TABLE}", low=0)
    duplicate_5_gram: float = setting(
        0.15, f"drop above this share of characters in 5-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_6_gram: float = setting(
        0.14, f"drop above this share of characters in 6-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_7_gram: float = setting(
        0.13, f"drop above this share of characters in 7-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_8_gram: float = setting(
        0.12, f"drop above this share of characters in 8-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_9_gram: float = setting(
        0.11, f"drop above this share of characters in 9-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_10_gram: float = setting(
        0.10, f"drop above this share of characters in 10-grams seen before {_TABLE}", low=0, high=1
    )


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch into the documents that pass every rule and the others."""
    drops = {}
    for row, text in enumerate(batch.column("text").to_pylist()):
        if (drop := judge(text or "", config)) is not None:
            drops[row] = drop
    return outcome(batch, STAGE, drops)


def judge(text: str, config: Config) -> Drop | None:
    """The first rule that `text` fails, or None. An empty text repeats nothing."""
    if not text:
        return None
    return _repeated_lines(text, config) or _repeated_grams(text, config)


def duplicates(items: Sequence[str]) -> tuple[int, int]:
    """(how many items are equal to an earlier one, the characters in those)."""
    unique = set(items)
    if len(unique) == len(items):
        return 0, 0
    return len(items) - len(unique), sum(map(len, items)) - sum(map(len, unique))


def _repeated_lines(text: str, config: Config) -> Drop | None:
    for kind, items in (("paragraph", _PARAGRAPH_BREAK.split(text.strip())), ("line", _LINE_BREAK.split(text))):
        count, chars = duplicates(items)
        for what, value in (("fraction", count / len(items)), ("chars", chars / len(text))):
            name = f"duplicate_{kind}_{what}"
            if value > getattr(config, name):
                return Drop(f"{STAGE}.{name}", value, getattr(config, name))
    return None


def _repeated_grams(text: str, config: Config) -> Drop | None:
    words = split_words(text)
    most_common = 0
    for n in (2, 3, 4):
        threshold = getattr(config, f"top_{n}_gram")
        # A longer gram is no more frequent than the pairs in it, and no longer than the n longest words.
        longest = sum(nlargest(n, map(len, words))) + n - 1
        if n > 2 and most_common * longest <= threshold * len(text):
            continue
        chars, count = _top_gram(words, n)
        most_common = most_common or count
        if chars / len(text) > threshold:
            return Drop(f"{STAGE}.top_{n}_gram", chars / len(text), threshold)
    if _most_seen_chars(words) <= min(getattr(config, f"duplicate_{n}_gram") for n in _LONG_GRAMS) * len(text):
        return None
    for n in _LONG_GRAMS:
        value = _seen_chars(words, n) / len(text)
        if value > (threshold := getattr(config, f"duplicate_{n}_gram")):
            return Drop(f"{STAGE}.duplicate_{n}_gram", value, threshold)
    return None


def _grams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(islice(words, start, None) for start in range(n)), strict=False)


def _top_gram(words: list[str], n: int) -> tuple[int, int]:
    """(characters of all appearances, how many) of the most frequent gram; of equally frequent ones, the first."""
    counts = Counter(_grams(words, n))
    if not counts:
        return 0, 0
    top = max(counts, key=counts.__getitem__)
    return (sum(map(len, top)) + n - 1) * counts[top], counts[top]


def _most_seen_chars(words: list[str]) -> int:
    """No duplicate n-gram rule can count more characters than this: all within ten words of a 5-gram seen before.

    A longer gram that was seen before begins with a 5-gram that was. Most texts have few of these, and one pass
    spares them six.
    """
    grams = list(_grams(words, 5))
    if len(set(grams)) == len(grams):
        return 0
    seen: set[tuple[str, ...]] = set()
    chars = reached = 0
    for at, gram in enumerate(grams):
        if gram in seen:
            chars += sum(map(len, words[max(at, reached) : at + 10]))
            reached = at + 10
        else:
            seen.add(gram)
    return chars


def _seen_chars(words: list[str], n: int) -> int:
    """Characters in grams of n words seen before, skipping n words after each."""
    grams = list(_grams(words, n))
    seen: set[tuple[str, ...]] = set()
    chars = at = 0
    while at < len(grams):
        if grams[at] in seen:
            chars += sum(map(len, grams[at]))
            at += n
        else:
            seen.add(grams[at])
            at += 1
    return chars
