"""The stage that keeps the best share of all documents: DOCUMENTS with their scores -> those that reach the cutoff.

In: DOCUMENTS and, row by row, the columns of SCORES with `scored_` before their names. Out: DOCUMENTS with these
columns under their own names. Documents with the very score of the last one are kept as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from corpus.classifier import score as classifier
from corpus.schema import Outcome, replace_column
from corpus.stage import Labels, Stage

PREFIX = "scored_"


@dataclass(frozen=True)
class Config:
    """`cutoff` is the score that the wanted share of all documents reaches; `classifier` what scored them."""

    cutoff: float
    classifier: classifier.Config


def columns(config: Config) -> list[pa.Field]:
    """What this stage adds to DOCUMENTS."""
    return classifier.columns(config.classifier)


def labels(config: Config) -> list[str]:
    """The columns of SCORES that it reads, and takes away."""
    return [field.name for field in columns(config)]


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Keep the rows whose score is at least the cutoff."""
    for name in labels(config):
        batch = replace_column(batch, name, batch.column(PREFIX + name)).drop_columns([PREFIX + name])
    return classifier.split(batch, batch.column(classifier.SCORE), config.cutoff)


STAGE = Stage("classifier", Config, process, columns=columns, labels=Labels(PREFIX, labels))
