"""The stage of the last pass: DOCUMENTS with their scores -> the documents whose score reaches the cutoff.

In: DOCUMENTS and, row by row, the columns of SCORES with `scored_` before their names. Out: DOCUMENTS with these
columns under their own names. All documents with the score of the cutoff are kept, also where they are more than the
share. The stage has the name of the barrier, because DROPPED rows and the report name the documents' stage by it.
"""

from __future__ import annotations

import pyarrow as pa

from corpus.classifier.config import NAME, SCORE, Apply
from corpus.classifier.cutoff import drop_below, score_rule
from corpus.classifier.model import columns
from corpus.schema import Outcome, replace_column
from corpus.stage import Labels, Stage

PREFIX = "scored_"


def labels(config: Apply) -> list[str]:
    """The columns of SCORES that it reads."""
    return [field.name for field in columns(config.settings)]


def process(batch: pa.RecordBatch, config: Apply) -> Outcome:
    """Keep the rows whose score is at least the cutoff."""
    for name in labels(config):
        batch = replace_column(batch, name, batch.column(PREFIX + name)).drop_columns([PREFIX + name])
    return drop_below(batch, batch.column(SCORE), config.cutoff)


STAGE = Stage(
    NAME,
    Apply,
    process,
    (score_rule("cutoff"),),
    columns=lambda config: columns(config.settings),
    labels=Labels(PREFIX, labels),
)
