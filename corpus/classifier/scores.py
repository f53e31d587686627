"""DOCUMENTS -> SCORES, a row a document: what the classifier says of each, before it is known where to cut.

In: DOCUMENTS. Out: `id`, `quality_score` and, of a model that grades, `quality_int_score`.
"""

from __future__ import annotations

import pyarrow as pa

from corpus.classifier.score import Config, columns, score
from corpus.schema import Outcome
from corpus.stage import Stage


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """The scores of a batch; nothing is dropped."""
    return score(batch, config)


def schema(config: Config) -> pa.Schema:
    """SCORES."""
    return pa.schema([("id", pa.string()), *columns(config)])


STAGE = Stage("scores", Config, process, schema=schema)
