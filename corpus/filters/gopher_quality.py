"""DOCUMENTS -> DOCUMENTS that look like running text: the quality rules of Gopher.

Source: Rae et al. 2021 (arXiv 2112.11446), section A.1.1. Words are those of `corpus.filters.words`, punctuation
included. The number and the mean length are taken over the words with a letter or digit, the other shares over all
words, as in the FineWeb run.

The stop words belong to one language. They are asked only of documents in that language, or whose language is not
known; others pass the rule. To keep German alone, name German words and `stop_words_language = "de"`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.words import split_words
from corpus.schema import Drop, Outcome, outcome

STAGE = "gopher_quality"
_PAPER = "(Gopher, A.1.1)"


@dataclass(frozen=True)
class Config:
    min_words: int = setting(50, f"fewest words with a letter or digit {_PAPER}", low=0)
    max_words: int = setting(100_000, f"most words with a letter or digit {_PAPER}", low=0)
    min_word_length: float = setting(3.0, f"smallest mean length of a word, in characters {_PAPER}", low=0)
    max_word_length: float = setting(10.0, f"largest mean length of a word, in characters {_PAPER}", low=0)
    max_hash_ratio: float = setting(0.1, f"most `#` a word {_PAPER}", low=0)
    max_ellipsis_ratio: float = setting(0.1, f"most ellipses (... or …) a word {_PAPER}", low=0)
    max_bullet_lines: float = setting(0.9, f"largest share of lines that begin with • or - {_PAPER}", low=0, high=1)
    max_ellipsis_lines: float = setting(0.3, f"largest share of lines that end in an ellipsis {_PAPER}", low=0, high=1)
    min_alphabetic_words: float = setting(0.8, f"smallest share of words with a letter {_PAPER}", low=0, high=1)
    min_stop_words: int = setting(2, f"fewest different stop words; 0 asks for none {_PAPER}", low=0)
    stop_words: tuple[str, ...] = setting(
        ("the", "be", "to", "of", "and", "that", "have", "with"), f"the stop words, case-sensitive {_PAPER}"
    )
    stop_words_language: str = setting("en", "the language of the stop words; documents in another skip the rule")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch into the documents that pass every rule and the others."""
    drops = {}
    texts, languages = batch.column("text").to_pylist(), batch.column("language").to_pylist()
    for row, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if (drop := judge(text or "", language, config)) is not None:
            drops[row] = drop
    return outcome(batch, STAGE, drops)


def judge(text: str, language: str | None, config: Config) -> Drop | None:
    """The first rule that `text` fails, or None. Rules that divide by words or lines pass where there are none."""
    counts = Counter(split_words(text))
    return (
        _word_rules(counts, config)
        or _symbol_rules(text, counts.total(), config)
        or _line_rules(text, config)
        or _meaning_rules(counts, language, config)
    )


def _word_rules(counts: Counter[str], config: Config) -> Drop | None:
    words = chars = 0
    for word, count in counts.items():
        if word.isalnum() or any(map(str.isalnum, word)):
            words += count
            chars += count * len(word)
    if words < config.min_words:
        return Drop(f"{STAGE}.few_words", words, config.min_words)
    if words > config.max_words:
        return Drop(f"{STAGE}.many_words", words, config.max_words)
    if words and chars / words < config.min_word_length:
        return Drop(f"{STAGE}.short_words", chars / words, config.min_word_length)
    if words and chars / words > config.max_word_length:
        return Drop(f"{STAGE}.long_words", chars / words, config.max_word_length)
    return None


def _symbol_rules(text: str, words: int, config: Config) -> Drop | None:
    hashes = text.count("#") / max(words, 1)
    if hashes > config.max_hash_ratio:
        return Drop(f"{STAGE}.hash_ratio", hashes, config.max_hash_ratio)
    ellipses = (text.count("...") + text.count("…")) / max(words, 1)
    if ellipses > config.max_ellipsis_ratio:
        return Drop(f"{STAGE}.ellipsis_ratio", ellipses, config.max_ellipsis_ratio)
    return None


def _line_rules(text: str, config: Config) -> Drop | None:
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines) / max(len(lines), 1)
    if bullets > config.max_bullet_lines:
        return Drop(f"{STAGE}.bullet_lines", bullets, config.max_bullet_lines)
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines) / max(len(lines), 1)
    if ellipses > config.max_ellipsis_lines:
        return Drop(f"{STAGE}.ellipsis_lines", ellipses, config.max_ellipsis_lines)
    return None


def _meaning_rules(counts: Counter[str], language: str | None, config: Config) -> Drop | None:
    letters = sum(n for word, n in counts.items() if word.isalpha() or any(map(str.isalpha, word)))
    share = letters / counts.total() if counts else 1.0
    if share < config.min_alphabetic_words:
        return Drop(f"{STAGE}.alphabetic_words", share, config.min_alphabetic_words)
    if language is None or language == config.stop_words_language:
        found = len(set(config.stop_words) & counts.keys())
        if found < config.min_stop_words:
            return Drop(f"{STAGE}.stop_words", found, config.min_stop_words)
    return None
