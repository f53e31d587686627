"""DOCUMENTS -> DOCUMENTS that look like running text: the quality rules of Gopher.

Source: Rae et al. 2021 (arXiv 2112.11446), section A.1.1. `corpus.filters.words` splits a text into words, where
a punctuation mark is a word too. The number of words and their mean length are taken over the words that have a letter,
a digit or another character outside of `corpus.filters.characters.PUNCTUATION`; all other shares are taken over all
words. Both are so in the run that made FineWeb.

Stop words belong to one language. They are asked only of documents in that language, or of unknown language; all other
documents pass the rule. To keep German alone, name German words and `stop_words_language = "de"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from corpus.config import setting
from corpus.filters.languages import check_tables, file_setting, tables_setting
from corpus.filters.rules import Limits, judge_each, limit, resources
from corpus.filters.statistics import Words, words_of
from corpus.filters.words import check_splitter, kind_of, words_setting
from corpus.schema import Drop, Outcome
from corpus.stage import Stage

NAME = "gopher_quality"
_PAPER = "Gopher, arXiv 2112.11446, A.1.1"


def _limit(
    rule: str, default: float, drops: Literal["above", "below"], measures: str, high: float | None = None
) -> Any:
    return limit(default, drops, measures, _PAPER, rule=rule, high=high)


@dataclass(frozen=True)
class Config:
    min_words: int | None = _limit("few_words", 50, "below", "number of words with more than symbols")
    max_words: int | None = _limit("many_words", 100_000, "above", "number of words with more than symbols")
    min_word_length: float | None = _limit("short_words", 3.0, "below", "mean length of a word in characters")
    max_word_length: float | None = _limit("long_words", 10.0, "above", "mean length of a word in characters")
    max_hash_ratio: float | None = _limit("hash_ratio", 0.1, "above", "number of # per word")
    max_ellipsis_ratio: float | None = _limit("ellipsis_ratio", 0.1, "above", "number of ellipses (... or …) per word")
    max_bullet_lines: float | None = _limit(
        "bullet_lines", 0.9, "above", "share of lines that begin with • or -", high=1
    )
    max_ellipsis_lines: float | None = _limit(
        "ellipsis_lines", 0.3, "above", "share of lines that end with an ellipsis", high=1
    )
    min_alphabetic_words: float | None = _limit(
        "alphabetic_words", 0.8, "below", "share of words with a letter", high=1
    )
    min_stop_words: int | None = _limit("stop_words", 2, "below", "number of different stop words")
    stop_words: tuple[str, ...] = setting(
        ("the", "be", "to", "of", "and", "that", "have", "with"), f"the stop words, case-sensitive ({_PAPER})"
    )
    stop_words_language: str = setting("en", "language of the stop words; a document in another one skips the rule")
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

    A text without words or lines passes the rules that divide by their number.
    """
    words = words_of(text, kind_of(language, config.words))
    return (
        _word_rules(words, config)
        or _symbol_rules(text, words.number, config)
        or _line_rules(text, config)
        or _language_rules(words, language, config)
    )


def _word_rules(words: Words, config: Config) -> Drop | None:
    if drop := _LIMITS.drop("few_words", words.real, config) or _LIMITS.drop("many_words", words.real, config):
        return drop
    if not words.real:
        return None
    mean = words.real_characters / words.real
    return _LIMITS.drop("short_words", mean, config) or _LIMITS.drop("long_words", mean, config)


def _symbol_rules(text: str, words: int, config: Config) -> Drop | None:
    ellipses = text.count("...") + text.count("…")
    return _LIMITS.drop("hash_ratio", text.count("#") / max(words, 1), config) or _LIMITS.drop(
        "ellipsis_ratio", ellipses / max(words, 1), config
    )


def _line_rules(text: str, config: Config) -> Drop | None:
    if not ("•" in text or "-" in text or "…" in text or "..." in text):
        return None
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(len(lines), 1)
    if drop := _LIMITS.drop("bullet_lines", bullets, config):
        return drop
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(len(lines), 1)
    return _LIMITS.drop("ellipsis_lines", ellipses, config)


def _language_rules(words: Words, language: str | None, config: Config) -> Drop | None:
    share = words.with_letter / words.number if words.number else 1.0
    if drop := _LIMITS.drop("alphabetic_words", share, config):
        return drop
    if config.min_stop_words is None or language not in (None, config.stop_words_language):
        return None
    return _LIMITS.drop("stop_words", words.present(config.stop_words, config.min_stop_words), config)


STAGE = Stage(NAME, Config, process, _LIMITS.rules, command="filter", resources=resources)
