"""DOCUMENTS -> DOCUMENTS that do not repeat themselves: the repetition rules of Gopher.

Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher"
(arXiv 2112.11446), section A.1.1 and Table A1. Boilerplate, spam and generated pages write a line, a paragraph or a
phrase again and again. The rules run in the order of the settings; the first rule that a document fails drops it:

- A line or paragraph is a duplicate if an earlier one is equal to it. Measured are the share of lines that are
  duplicates, and the share of the text's characters that are in duplicates; paragraphs likewise.
- `top_n_gram`: the most frequent n-gram; of equally frequent ones, the first. Its characters, with a space between two
  words, times its count.
- `duplicate_n_gram`: the text is read from left to right. An n-gram that was read before adds the characters of its
  words, and reading continues behind it, so that no character counts twice.

Characters are divided by the number of characters in the whole text, white space included, as in the run that made
FineWeb. `corpus.filters.words` splits a text into words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.filters.languages import check_tables, file_setting, tables_setting
from corpus.filters.rules import Limits, judge_each, limit, resources
from corpus.filters.statistics import words_of
from corpus.filters.words import check_splitter, kind_of, words_setting
from corpus.schema import Drop, Outcome
from corpus.stage import Stage

NAME = "gopher_repetition"

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_GRAMS = [(f"{'top' if n <= 4 else 'duplicate'}_{n}_gram", n) for n in range(2, 11)]


def _share(default: float, of: str, high: float | None = 1) -> Any:
    return limit(default, "above", f"share of {of}", "Gopher, arXiv 2112.11446, Table A1", high=high)


def _top(default: float, n: int) -> Any:
    return _share(default, f"characters in its most frequent {n}-gram", high=None)


def _again(default: float, n: int) -> Any:
    return _share(default, f"characters in {n}-grams that occurred before")


@dataclass(frozen=True)
class Config:
    duplicate_paragraph_fraction: float | None = _share(0.30, "paragraphs equal to an earlier one")
    duplicate_paragraph_chars: float | None = _share(0.20, "characters in paragraphs equal to an earlier one")
    duplicate_line_fraction: float | None = _share(0.30, "lines equal to an earlier one")
    duplicate_line_chars: float | None = _share(0.20, "characters in lines equal to an earlier one")
    top_2_gram: float | None = _top(0.20, 2)
    top_3_gram: float | None = _top(0.18, 3)
    top_4_gram: float | None = _top(0.16, 4)
    duplicate_5_gram: float | None = _again(0.15, 5)
    duplicate_6_gram: float | None = _again(0.14, 6)
    duplicate_7_gram: float | None = _again(0.13, 7)
    duplicate_8_gram: float | None = _again(0.12, 8)
    duplicate_9_gram: float | None = _again(0.11, 9)
    duplicate_10_gram: float | None = _again(0.10, 10)
    words: str = words_setting()
    language_tables: bool = tables_setting()
    language_file: str = file_setting()

    def __post_init__(self) -> None:
        check_splitter(self.words)
        check_tables(NAME, self)


_LIMITS = Limits(NAME, Config)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch into the documents that pass every rule and the others."""
    return judge_each(batch, NAME, config, judge)


def judge(text: str, language: str | None, config: Config) -> Drop | None:
    """The drop by the first rule that `text` fails; None if it passes all. An empty text repeats nothing."""
    if not text:
        return None
    return (
        _repeated("duplicate_paragraph", _paragraphs(text), text, config)
        or _repeated("duplicate_line", _LINE_BREAK.split(text), text, config)
        or _repeated_grams(text, kind_of(language, config.words), config)
    )


def duplicates(items: Sequence[str]) -> tuple[int, int]:
    """(how many items are equal to an earlier one, the characters in those)."""
    unique = set(items)
    if len(unique) == len(items):
        return 0, 0
    return len(items) - len(unique), sum(map(len, items)) - sum(map(len, unique))


def _paragraphs(text: str) -> list[str]:
    return _PARAGRAPH_BREAK.split(text.strip()) if "\n\n" in text else [text]


def _repeated(rules: str, parts: Sequence[str], text: str, config: Config) -> Drop | None:
    """The drop by the two rules on the parts (lines or paragraphs) of a text."""
    count, characters = duplicates(parts)
    return _LIMITS.drop(f"{rules}_fraction", count / len(parts), config) or _LIMITS.drop(
        f"{rules}_chars", characters / len(text), config
    )


def _repeated_grams(text: str, kind: str, config: Config) -> Drop | None:
    characters = words_of(text, kind).repetition()
    for rule, n in _GRAMS:
        if drop := _LIMITS.drop(rule, characters[n] / len(text), config):
            return drop
    return None


STAGE = Stage(NAME, Config, process, _LIMITS.rules, command="filter", resources=resources)
