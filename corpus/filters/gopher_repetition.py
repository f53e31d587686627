"""DOCUMENTS -> DOCUMENTS without those that repeat themselves: the repetition rules of Gopher.

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher"
(arXiv 2112.11446), section A.1.1 and Table A1. Boilerplate, spam and generated pages say the same line, paragraph or
phrase again and again. Every rule divides by the characters of the whole text, as the FineWeb run did:

- a line or paragraph is duplicate from its second appearance on;
- `top_n_gram`: the most frequent n-gram (the first of equals) times its count, words joined by a space;
- `duplicate_n_gram`: read from the left, a gram of n words seen before counts its characters without spaces, and
  reading goes on behind it, so no character counts twice.

Rules run in the order of the settings; a document is dropped by the first that it fails. A threshold that is "off"
drops nothing. Words are those of `corpus.filters.words`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.config import setting
from corpus.filters.languages import check_tables, file_setting, for_language, tables_resources, tables_setting
from corpus.filters.rules import above
from corpus.filters.statistics import ready, words_of
from corpus.filters.words import check_splitter, kind_of, splitter_resources, words_setting
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Stage

NAME = "gopher_repetition"
_TABLE = "(Gopher, Table A1)"

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_GRAMS = [(f"{'top' if n <= 4 else 'duplicate'}_{n}_gram", n) for n in range(2, 11)]


@dataclass(frozen=True)
class Config:
    duplicate_paragraph_fraction: float | None = setting(
        0.30, f"drop above this share of paragraphs seen before {_TABLE}", low=0, high=1
    )
    duplicate_paragraph_chars: float | None = setting(
        0.20, f"drop above this share of characters in paragraphs seen before {_TABLE}", low=0, high=1
    )
    duplicate_line_fraction: float | None = setting(
        0.30, f"drop above this share of lines seen before {_TABLE}", low=0, high=1
    )
    duplicate_line_chars: float | None = setting(
        0.20, f"drop above this share of characters in lines seen before {_TABLE}", low=0, high=1
    )
    top_2_gram: float | None = setting(0.20, f"drop above this share of characters in the top 2-gram {_TABLE}", low=0)
    top_3_gram: float | None = setting(0.18, f"drop above this share of characters in the top 3-gram {_TABLE}", low=0)
    top_4_gram: float | None = setting(0.16, f"drop above this share of characters in the top 4-gram {_TABLE}", low=0)
    duplicate_5_gram: float | None = setting(
        0.15, f"drop above this share of characters in 5-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_6_gram: float | None = setting(
        0.14, f"drop above this share of characters in 6-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_7_gram: float | None = setting(
        0.13, f"drop above this share of characters in 7-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_8_gram: float | None = setting(
        0.12, f"drop above this share of characters in 8-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_9_gram: float | None = setting(
        0.11, f"drop above this share of characters in 9-grams seen before {_TABLE}", low=0, high=1
    )
    duplicate_10_gram: float | None = setting(
        0.10, f"drop above this share of characters in 10-grams seen before {_TABLE}", low=0, high=1
    )
    words: str = words_setting()
    language_tables: bool = tables_setting()
    language_file: str = file_setting()

    def __post_init__(self) -> None:
        check_splitter(self.words)
        check_tables(NAME, self)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch into the documents that pass every rule and the others."""
    ready(config.words)
    drops = {}
    texts, languages = batch.column("text").to_pylist(), batch.column("language").to_pylist()
    for row, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if (drop := judge(text or "", language, for_language(NAME, config, language))) is not None:
            drops[row] = drop
    return outcome(batch, NAME, drops)


def resources(config: Config) -> dict[str, Any]:
    """What decides, besides the settings."""
    return splitter_resources(config.words) | tables_resources(config)


def judge(text: str, language: str | None, config: Config) -> Drop | None:
    """The first rule that `text` fails, or None. An empty text repeats nothing."""
    if not text:
        return None
    return _repeated_lines(text, config) or _repeated_grams(text, kind_of(language, config.words), config)


def duplicates(items: Sequence[str]) -> tuple[int, int]:
    """(how many items are equal to an earlier one, the characters in those)."""
    unique = set(items)
    if len(unique) == len(items):
        return 0, 0
    return len(items) - len(unique), sum(map(len, items)) - sum(map(len, unique))


def _repeated_lines(text: str, config: Config) -> Drop | None:
    paragraphs = _PARAGRAPH_BREAK.split(text.strip()) if "\n\n" in text else [text]
    count, chars = duplicates(paragraphs)
    rule = f"{NAME}.duplicate_paragraph"
    if count and (
        drop := above(f"{rule}_fraction", count / len(paragraphs), config.duplicate_paragraph_fraction)
        or above(f"{rule}_chars", chars / len(text), config.duplicate_paragraph_chars)
    ):
        return drop
    lines = _LINE_BREAK.split(text)
    count, chars = duplicates(lines)
    rule = f"{NAME}.duplicate_line"
    return above(f"{rule}_fraction", count / len(lines), config.duplicate_line_fraction) or above(
        f"{rule}_chars", chars / len(text), config.duplicate_line_chars
    )


def _repeated_grams(text: str, kind: str, config: Config) -> Drop | None:
    measured = words_of(text, kind).repetition()
    for name, n in _GRAMS:
        if (limit := getattr(config, name)) is not None and measured[n] / len(text) > limit:
            return Drop(f"{NAME}.{name}", measured[n] / len(text), limit)
    return None


STAGE = Stage(NAME, Config, process, command="filter", resources=resources)
