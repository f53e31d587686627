"""The stage of the first pass: DOCUMENTS -> SCORES, one row for each document.

Out: `id`, `quality_score` and, of a model with grades, `quality_int_score`. No document is dropped: the cutoff is known
when all scores are.
"""

from __future__ import annotations

import pyarrow as pa

from corpus.classifier.config import Config
from corpus.classifier.model import add_scores, columns
from corpus.schema import Outcome, outcome
from corpus.stage import Stage


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """The ids of a batch with their scores."""
    return outcome(add_scores(batch, config).select(schema(config).names), "scores", {})


def schema(config: Config) -> pa.Schema:
    """SCORES."""
    return pa.schema([("id", pa.string()), *columns(config)])


STAGE = Stage("scores", Config, process, schema=schema)
