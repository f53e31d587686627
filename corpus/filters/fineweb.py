"""DOCUMENTS -> DOCUMENTS whose lines are prose and not lists: the rules that FineWeb added.

Source: Penedo et al. 2024, "The FineWeb Datasets" (arXiv 2406.17557), section 3.6 and Table 2, and the recipe that made
FineWeb. The paper's text and that recipe differ in two settings: the characters in duplicate lines (0.1 in the text,
0.01 in Table 2 and in the recipe), and the rule on newlines, which only the recipe has. The defaults are the recipe's.

A line of white space alone does not count. A line ends with punctuation if its last character has the Unicode property
Sentence_Terminal; 。, । and ؟ have it, as the full stop has.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.characters import SENTENCE_TERMINAL
from corpus.filters.languages import check_tables, file_setting, tables_setting
from corpus.filters.rules import Limits, judge_each, limit, resources
from corpus.filters.statistics import words_of
from corpus.filters.words import check_splitter, kind_of, words_setting
from corpus.schema import Drop, Outcome
from corpus.stage import Stage

NAME = "fineweb"
_PAPER = "FineWeb, arXiv 2406.17557, Table 2"


@dataclass(frozen=True)
class Config:
    min_line_punctuation: float | None = limit(
        0.12, "below", "share of lines that end with punctuation", _PAPER, rule="line_punctuation", high=1
    )
    max_short_lines: float | None = limit(0.67, "above", "share of short lines", _PAPER, rule="short_lines", high=1)
    short_line_chars: int = setting(30, f"a line of at most this many characters is short ({_PAPER})", low=0)
    max_duplicate_line_chars: float | None = limit(
        0.01,
        "above",
        "share of characters in lines equal to an earlier one",
        _PAPER,
        rule="duplicate_line_chars",
        high=1,
    )
    max_newline_ratio: float | None = limit(
        0.3, "above", "number of newlines per word", "FineWeb's recipe", rule="newline_ratio"
    )
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
    """The drop by the first rule that `text` fails; None if it passes all.

    The share of lines that end with punctuation is 0 in a text without lines.
    """
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    total = max(len(lines), 1)
    punctuated = sum(line[-1] in SENTENCE_TERMINAL for line in lines) / total
    if drop := _LIMITS.drop("line_punctuation", punctuated, config):
        return drop
    short = sum(length <= config.short_line_chars for length in map(len, lines)) / total
    if drop := _LIMITS.drop("short_lines", short, config):
        return drop
    newlines = text.count("\n")
    unique = set(lines)
    if len(unique) < len(lines):
        repeated = sum(map(len, lines)) - sum(map(len, unique))
        if drop := _LIMITS.drop("duplicate_line_chars", repeated / max(len(text) - newlines, 1), config):
            return drop
    if newlines == 0 or config.max_newline_ratio is None:
        return None
    words = words_of(text, kind_of(language, config.words)).number
    return _LIMITS.drop("newline_ratio", newlines / max(words, 1), config)


STAGE = Stage(NAME, Config, process, _LIMITS.rules, command="filter", resources=resources)
