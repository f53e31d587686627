"""DOCUMENTS -> DOCUMENTS whose lines are those of prose and not of lists: FineWeb's own rules.

Source: Penedo et al. 2024, "The FineWeb Datasets" (arXiv 2406.17557), section 3.6 and Table 2, and the recipe as it
was run. Two settings differ between the paper's text and the run: duplicate-line characters (text 0.1; Table 2 and
the run 0.01) and the newline rule (only in the run). The run's values are the defaults. Lines of white space alone
do not count; a line ends in punctuation if its last character has the Unicode property Sentence_Terminal.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.words import SENTENCE_TERMINAL, split_words
from corpus.schema import Drop, Outcome, outcome

STAGE = "fineweb"


@dataclass(frozen=True)
class Config:
    min_line_punctuation: float = setting(
        0.12, "smallest share of lines that end in terminal punctuation (FineWeb)", low=0, high=1
    )
    max_short_lines: float = setting(0.67, "largest share of short lines (FineWeb)", low=0, high=1)
    short_line_chars: int = setting(30, "a line of at most so many characters is short (FineWeb)", low=0)
    max_duplicate_line_chars: float = setting(
        0.01, "largest share of characters in lines seen before (FineWeb, Table 2)", low=0, high=1
    )
    max_newline_ratio: float = setting(0.3, "most newlines a word (FineWeb's recipe)", low=0)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch into the documents that pass every rule and the others."""
    drops = {}
    for row, text in enumerate(batch.column("text").to_pylist()):
        if (drop := judge(text or "", config)) is not None:
            drops[row] = drop
    return outcome(batch, STAGE, drops)


def judge(text: str, config: Config) -> Drop | None:
    """The first rule that `text` fails, or None. A text without lines has no line that ends in punctuation."""
    lines = [line for line in text.split("\n") if line.strip()]
    total = max(len(lines), 1)
    punctuated = sum(line[-1] in SENTENCE_TERMINAL for line in lines) / total
    if punctuated < config.min_line_punctuation:
        return Drop(f"{STAGE}.line_punctuation", punctuated, config.min_line_punctuation)
    short = sum(len(line) <= config.short_line_chars for line in lines) / total
    if short > config.max_short_lines:
        return Drop(f"{STAGE}.short_lines", short, config.max_short_lines)
    newlines = text.count("\n")
    repeated = sum(map(len, lines)) - sum(map(len, set(lines)))
    duplicate = repeated / max(len(text) - newlines, 1)
    if duplicate > config.max_duplicate_line_chars:
        return Drop(f"{STAGE}.duplicate_line_chars", duplicate, config.max_duplicate_line_chars)
    # Splitting at white space alone finds at most as many words: most documents pass without the dearer split.
    if newlines <= config.max_newline_ratio * len(text.split()):
        return None
    ratio = newlines / max(len(split_words(text)), 1)
    if ratio > config.max_newline_ratio:
        return Drop(f"{STAGE}.newline_ratio", ratio, config.max_newline_ratio)
    return None
