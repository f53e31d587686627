"""The stage that drops duplicates: DOCUMENTS with their labels -> DOCUMENTS with the size of the cluster
they stand for.

In: DOCUMENTS and, row by row, the columns `dedup_keep`, `dedup_cluster_size`, `dedup_rule`, `dedup_value` and
`dedup_threshold` of LABELS. Out: the kept documents without these, plus `minhash_cluster_size`, by which
FineWeb-2 repeats documents; a dropped one names `dedup.exact` or `dedup.minhash`, its similarity and the
threshold.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.config import Config
from corpus.schema import Drop, Outcome, outcome, replace_column

__all__ = ["COLUMNS", "LABEL_COLUMNS", "Config", "process"]

# What this stage adds to DOCUMENTS: documents in the cluster that this one stands for, itself included.
COLUMNS = (pa.field("minhash_cluster_size", pa.int64()),)

# Columns that it reads and takes away: the labels that it needs, under this prefix.
PREFIX = "dedup_"
LABEL_COLUMNS = tuple(PREFIX + name for name in ("keep", "cluster_size", "rule", "value", "threshold"))


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Keep the rows whose `dedup_keep` is true.

    Raises ValueError if a label column is missing or a keep label is null: the labels belong to other
    documents.
    """
    for name in LABEL_COLUMNS:
        if name not in batch.schema.names:
            raise ValueError(f"column {name} is missing: attach the labels of `cluster` before this stage")
    keep = batch.column("dedup_keep")
    if keep.null_count:
        raise ValueError("dedup_keep has nulls: every document needs a label, run `cluster` over all of them")
    rows = pc.indices_nonzero(pc.invert(keep)).to_pylist()
    rule, value, threshold = (batch.column(PREFIX + name) for name in ("rule", "value", "threshold"))
    drops = {row: Drop(rule[row].as_py(), value[row].as_py(), threshold[row].as_py()) for row in rows}
    size = batch.column("dedup_cluster_size").cast(pa.int64())
    labels = [name for name in batch.schema.names if name in LABEL_COLUMNS]
    documents = replace_column(batch.drop_columns(labels), "minhash_cluster_size", size)
    return outcome(documents, "dedup", drops)
