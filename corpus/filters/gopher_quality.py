"""DOCUMENTS -> DOCUMENTS that look like running text: the quality rules of Gopher.

Source: Rae et al. 2021 (arXiv 2112.11446), section A.1.1. Words are those of `corpus.filters.words`, punctuation
included. The number and the mean length are taken over the words that are not of symbols alone
(`corpus.filters.characters.PUNCTUATION`), the other shares over all words, as in the FineWeb run. A threshold that is
"off" drops nothing.

The stop words belong to one language. They are asked only of documents in that language, or whose language is not
known; others pass the rule. To keep German alone, name German words and `stop_words_language = "de"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.config import setting
from corpus.filters.languages import check_tables, file_setting, for_language, tables_resources, tables_setting
from corpus.filters.rules import above, below
from corpus.filters.statistics import Words, ready, words_of
from corpus.filters.words import check_splitter, kind_of, splitter_resources, words_setting
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Stage

NAME = "gopher_quality"
_PAPER = "(Gopher, A.1.1)"


@dataclass(frozen=True)
class Config:
    min_words: int | None = setting(50, f"fewest words that are not of symbols alone {_PAPER}", low=0)
    max_words: int | None = setting(100_000, f"most words that are not of symbols alone {_PAPER}", low=0)
    min_word_length: float | None = setting(3.0, f"smallest mean length of a word, in characters {_PAPER}", low=0)
    max_word_length: float | None = setting(10.0, f"largest mean length of a word, in characters {_PAPER}", low=0)
    max_hash_ratio: float | None = setting(0.1, f"most `#` a word {_PAPER}", low=0)
    max_ellipsis_ratio: float | None = setting(0.1, f"most ellipses (... or …) a word {_PAPER}", low=0)
    max_bullet_lines: float | None = setting(
        0.9, f"largest share of lines that begin with • or - {_PAPER}", low=0, high=1
    )
    max_ellipsis_lines: float | None = setting(
        0.3, f"largest share of lines that end in an ellipsis {_PAPER}", low=0, high=1
    )
    min_alphabetic_words: float | None = setting(0.8, f"smallest share of words with a letter {_PAPER}", low=0, high=1)
    min_stop_words: int | None = setting(2, f"fewest different stop words; 0 asks for none {_PAPER}", low=0)
    stop_words: tuple[str, ...] = setting(
        ("the", "be", "to", "of", "and", "that", "have", "with"), f"the stop words, case-sensitive {_PAPER}"
    )
    stop_words_language: str = setting("en", "the language of the stop words; documents in another skip the rule")
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
    """The first rule that `text` fails, or None. Rules that divide by words or lines pass where there are none."""
    words = words_of(text, kind_of(language, config.words))
    return (
        _word_rules(words, config)
        or _symbol_rules(text, words.number, config)
        or _line_rules(text, config)
        or _meaning_rules(words, language, config)
    )


def _word_rules(words: Words, config: Config) -> Drop | None:
    if drop := (
        below(f"{NAME}.few_words", words.real, config.min_words)
        or above(f"{NAME}.many_words", words.real, config.max_words)
    ):
        return drop
    if not words.real:
        return None
    mean = words.real_characters / words.real
    return below(f"{NAME}.short_words", mean, config.min_word_length) or above(
        f"{NAME}.long_words", mean, config.max_word_length
    )


def _symbol_rules(text: str, words: int, config: Config) -> Drop | None:
    ellipses = text.count("...") + text.count("…")
    return above(f"{NAME}.hash_ratio", text.count("#") / max(words, 1), config.max_hash_ratio) or above(
        f"{NAME}.ellipsis_ratio", ellipses / max(words, 1), config.max_ellipsis_ratio
    )


def _line_rules(text: str, config: Config) -> Drop | None:
    if not ("•" in text or "-" in text or "…" in text or "..." in text):
        return None
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(len(lines), 1)
    if drop := above(f"{NAME}.bullet_lines", bullets, config.max_bullet_lines):
        return drop
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(len(lines), 1)
    return above(f"{NAME}.ellipsis_lines", ellipses, config.max_ellipsis_lines)


def _meaning_rules(words: Words, language: str | None, config: Config) -> Drop | None:
    share = words.with_letter / words.number if words.number else 1.0
    if drop := below(f"{NAME}.alphabetic_words", share, config.min_alphabetic_words):
        return drop
    if config.min_stop_words is None or language not in (None, config.stop_words_language):
        return None
    return below(f"{NAME}.stop_words", words.present(config.stop_words, config.min_stop_words), config.min_stop_words)


STAGE = Stage(NAME, Config, process, command="filter", resources=resources)
