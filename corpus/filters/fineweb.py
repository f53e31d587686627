"""DOCUMENTS -> DOCUMENTS whose lines are those of prose and not of lists: FineWeb's own rules.

Source: Penedo et al. 2024, "The FineWeb Datasets" (arXiv 2406.17557), section 3.6 and Table 2, and the recipe as it
was run. Two settings differ between the paper's text and the run: duplicate-line characters (text 0.1; Table 2 and
the run 0.01) and the newline rule (only in the run). The run's values are the defaults. Lines of white space alone
do not count; a line ends in punctuation if its last character has the Unicode property Sentence_Terminal, which
holds of 。 and । and ؟ as of a full stop. A threshold that is "off" drops nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.config import setting
from corpus.filters.characters import SENTENCE_TERMINAL
from corpus.filters.languages import check_tables, file_setting, for_language, tables_resources, tables_setting
from corpus.filters.rules import above, below
from corpus.filters.statistics import ready, words_of
from corpus.filters.words import check_splitter, kind_of, splitter_resources, words_setting
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Stage

NAME = "fineweb"


@dataclass(frozen=True)
class Config:
    min_line_punctuation: float | None = setting(
        0.12, "smallest share of lines that end in terminal punctuation (FineWeb)", low=0, high=1
    )
    max_short_lines: float | None = setting(0.67, "largest share of short lines (FineWeb)", low=0, high=1)
    short_line_chars: int = setting(30, "a line of at most so many characters is short (FineWeb)", low=0)
    max_duplicate_line_chars: float | None = setting(
        0.01, "largest share of characters in lines seen before (FineWeb, Table 2)", low=0, high=1
    )
    max_newline_ratio: float | None = setting(0.3, "most newlines a word (FineWeb's recipe)", low=0)
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
    """The first rule that `text` fails, or None. A text without lines has no line that ends in punctuation."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    total = max(len(lines), 1)
    punctuated = sum(line[-1] in SENTENCE_TERMINAL for line in lines) / total
    if drop := below(f"{NAME}.line_punctuation", punctuated, config.min_line_punctuation):
        return drop
    short = sum(length <= config.short_line_chars for length in map(len, lines)) / total
    if drop := above(f"{NAME}.short_lines", short, config.max_short_lines):
        return drop
    newlines = text.count("\n")
    unique = set(lines)
    if len(unique) < len(lines):
        repeated = sum(map(len, lines)) - sum(map(len, unique))
        share = repeated / max(len(text) - newlines, 1)
        if drop := above(f"{NAME}.duplicate_line_chars", share, config.max_duplicate_line_chars):
            return drop
    if newlines == 0 or config.max_newline_ratio is None:
        return None
    words = words_of(text, kind_of(language, config.words)).number
    return above(f"{NAME}.newline_ratio", newlines / max(words, 1), config.max_newline_ratio)


STAGE = Stage(NAME, Config, process, command="filter", resources=resources)
