"""DOCUMENTS -> DOCUMENTS without page furniture in their text: the rules of C4.

Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"
(arXiv 1910.10683), section 2.2, with the limits of the run that made FineWeb. A document is read line by line:

1. A line with an over-long word is cut.
2. Citation marks ([1], [edit], [citation needed]) are cut out of the line.
3. A line that does not end like a sentence is cut. This is off by default: FineWeb (arXiv 2406.17557) found that this
   rule alone removes 30 % of tokens. A line with too few words is cut.
4. "lorem ipsum" drops the document, "javascript" cuts the line, a curly bracket drops the document, and a phrase of
   `_POLICY` cuts the line.

The lines that remain are the text; it must have enough sentences. A number that is "off" and a rule that is false do
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.filters.rules import Limits, ask_each, limit
from corpus.filters.statistics import words_of
from corpus.filters.words import check_splitter, kind_of, splitter_resources, words_setting
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Rule, Stage

NAME = "c4"
_PAPER = "C4, arXiv 1910.10683, section 2.2"
_AS_RUN = "C4 as FineWeb ran it"

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


@dataclass(frozen=True)
class Config:
    min_sentences: int | None = limit(5, "below", "number of sentences left", _AS_RUN, rule="few_sentences")
    min_line_words: int | None = setting(3, f"cut lines with fewer words between white space ({_AS_RUN})", low=0)
    max_word_length: int | None = setting(1000, f"cut lines with a word of more characters ({_AS_RUN})", low=1)
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


_LIMITS = Limits(NAME, Config)
_RULES = (
    Rule("lorem_ipsum", "number of lorem ipsum in a line, in small letters or capitals", "listed", source=_PAPER),
    Rule("curly_bracket", "number of { in a line", "listed", source=_PAPER),
    *_LIMITS.rules,
    Rule("empty", "number of characters left, of which one is enough", "below", source=_PAPER),
)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Clean the text of a DOCUMENTS batch. DROPPED rows keep the text as it came in."""
    answers = ask_each(batch, config.words, lambda text, language: clean(text, language, config))
    split = outcome(batch, NAME, {row: answer for row, answer in enumerate(answers) if isinstance(answer, Drop)})
    texts = [answer for answer in answers if not isinstance(answer, Drop)]
    return split._replace(kept=replace_column(split.kept, "text", pa.array(texts, pa.string())))


def clean(text: str, language: str | None, config: Config) -> str | Drop:
    """The text without the lines that a rule cuts, or the drop by the first rule that drops the document."""
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
    """The phrases that a line of the text may have, in the order of the rules; most documents have none.

    Where a citation mark is cut out, the characters around it may join and make any of the phrases: then it is all of
    them.
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
    """The drop of the whole document because of this line, or else whether the line is cut."""
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
    """The drop of a document with too few sentences.

    A line with a word has at least one sentence, so most documents have enough lines and need no count.
    """
    if config.min_sentences is None or sum(not line.isspace() for line in kept if line) >= config.min_sentences:
        return None
    sentences = 0
    for line in kept:
        sentences += words_of(line, kind).sentences()
        if sentences >= config.min_sentences:
            return None
    return _LIMITS.drop("few_sentences", sentences, config)


def _fit_line(line: str, config: Config) -> str | None:
    """The line without its citation marks; None if a rule on its words or on its end cuts it."""
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


STAGE = Stage(
    NAME, Config, process, _RULES, command="filter", resources=lambda config: splitter_resources(config.words)
)
