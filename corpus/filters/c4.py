"""DOCUMENTS -> DOCUMENTS with page furniture cut out of the text: the rules of C4.

Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"
(arXiv 1910.10683), section 2.2; the limits are those of the FineWeb run.

Line by line, in this order: a line with an over-long word goes; citation marks ([1], [edit], [citation needed]) are
cut out; the line goes if it does not end like a sentence (off by default: FineWeb, arXiv 2406.17557, found that this
rule alone removes 30 % of tokens) or has too few words; "lorem ipsum" drops the document; "javascript" drops the
line; a curly bracket drops the document; a policy phrase drops the line. What is left must hold enough sentences,
and becomes the text. A number that is "off", and a rule that is false, leaves lines and documents alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.rules import below
from corpus.filters.statistics import ready, words_of
from corpus.filters.words import check_splitter, kind_of, splitter_resources, words_setting
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Stage

NAME = "c4"

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class Config:
    min_sentences: int | None = setting(5, "fewest sentences left in a document (C4 as FineWeb ran it)", low=0)
    min_line_words: int | None = setting(
        3, "fewest words of a line, white-space separated (C4 as FineWeb ran it)", low=0
    )
    max_word_length: int | None = setting(1000, "longest word of a line, in characters (C4 as FineWeb ran it)", low=1)
    terminal_punctuation: bool = setting(
        False, "cut lines that do not end in . ? ! or a quotation mark (C4; not in FineWeb)"
    )
    citations: bool = setting(True, "cut citation marks out of lines (C4)")
    lorem_ipsum: bool = setting(True, "drop documents with lorem ipsum (C4)")
    javascript: bool = setting(True, "cut lines that name JavaScript (C4)")
    curly_bracket: bool = setting(True, "drop documents with a curly bracket (C4)")
    policy: bool = setting(True, "cut lines about cookies, privacy and terms of use (C4)")
    words: str = words_setting()

    def __post_init__(self) -> None:
        check_splitter(self.words)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Clean the text of a DOCUMENTS batch. DROPPED rows keep the text as it came in."""
    ready(config.words)
    drops: dict[int, Drop] = {}
    texts = []
    rows = zip(batch.column("text").to_pylist(), batch.column("language").to_pylist(), strict=True)
    for row, (text, language) in enumerate(rows):
        cleaned = clean(text or "", language, config)
        if isinstance(cleaned, Drop):
            drops[row] = cleaned
        else:
            texts.append(cleaned)
    split = outcome(batch, NAME, drops)
    return split._replace(kept=replace_column(split.kept, "text", pa.array(texts, pa.string())))


def resources(config: Config) -> dict[str, str]:
    """What decides, besides the settings."""
    return splitter_resources(config.words)


def clean(text: str, language: str | None, config: Config) -> str | Drop:
    """The text with unfit lines cut out, or the first rule by which the document is dropped."""
    phrases = _phrases_in(text, config)
    kept = []
    for raw in text.splitlines():
        line = _fit_line(raw.strip(), config)
        if line is None:
            continue
        if phrases:
            unfit = _unfit(line, phrases)
            if isinstance(unfit, Drop):
                return unfit
            if unfit:
                continue
        kept.append(line)
    if drop := _few_sentences(kept, kind_of(language, config.words), config):
        return drop
    cleaned = "\n".join(kept).strip()
    return cleaned or Drop(f"{NAME}.empty", 0, 1)


def _phrases_in(text: str, config: Config) -> tuple[str, ...]:
    """Which of the phrases, in the order of the rules, may be in a line: most documents have none.

    Where citation marks are cut out, what stood around them may become a phrase, so that all of them may be there.
    """
    wanted: tuple[str, ...] = ("lorem ipsum",) if config.lorem_ipsum else ()
    wanted += ("javascript",) if config.javascript else ()
    wanted += ("{",) if config.curly_bracket else ()
    wanted += _POLICY if config.policy else ()
    if config.citations and "[" in text:
        return wanted
    lower = text.lower()
    return tuple(phrase for phrase in wanted if phrase in lower)


def _unfit(line: str, phrases: tuple[str, ...]) -> Drop | bool:
    """The drop of the document by this line, or whether the line goes."""
    lower = line.lower()
    for phrase in phrases:
        if phrase in lower:
            if phrase == "lorem ipsum":
                return Drop(f"{NAME}.lorem_ipsum", lower.count(phrase), 0)
            if phrase == "{":
                return Drop(f"{NAME}.curly_bracket", line.count(phrase), 0)
            return True
    return False


def _few_sentences(kept: list[str], kind: str, config: Config) -> Drop | None:
    """The drop of a document with too few sentences. A line with a word is one at least: most need no count."""
    if config.min_sentences is None or sum(not line.isspace() for line in kept if line) >= config.min_sentences:
        return None
    sentences = 0
    for line in kept:
        sentences += words_of(line, kind).sentences()
        if sentences >= config.min_sentences:
            return None
    return below(f"{NAME}.few_sentences", sentences, config.min_sentences)


def _fit_line(line: str, config: Config) -> str | None:
    """The line without citation marks, or None where its words or its end are not those of a sentence."""
    least = config.min_line_words or 0
    longest = config.max_word_length
    if longest is not None and len(line) > longest and max(map(len, line.split())) > longest:
        return None
    enough = len(line.split(None, least)) >= least
    if "[" in line and config.citations:
        line = _CITATION.sub("", line)
    if config.terminal_punctuation and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
        return None
    return line if enough else None


STAGE = Stage(NAME, Config, process, command="filter", resources=resources)
