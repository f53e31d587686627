"""The stage that drops duplicates: DOCUMENTS with their labels -> DOCUMENTS with the size of the cluster
they stand for.

In: DOCUMENTS and, row by row, the columns of `LABELS` with `dedup_` before their names. Out: the kept documents without
these, plus `minhash_cluster_size`, by which FineWeb-2 repeats documents; a dropped one names `dedup.exact` or
`dedup.minhash`, its similarity, the threshold, and the document that it duplicates.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.config import Config
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Labels, Stage

# What this stage adds to DOCUMENTS: documents in the cluster that this one stands for, itself included.
CLUSTER_SIZE = pa.field("minhash_cluster_size", pa.int64())

# The labels that it reads, and takes away.
PREFIX = "dedup_"
LABELS = ("keep", "cluster_size", "rule", "similarity", "threshold", "representative")
REASONS = ("rule", "similarity", "threshold")  # what a Drop is made of


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Keep the rows whose `dedup_keep` is true.

    Raises ValueError if a label column is missing or a keep label is null: the labels belong to other
    documents.
    """
    columns = {name: f"{PREFIX}{name}" for name in LABELS}
    for name in columns.values():
        if name not in batch.schema.names:
            raise ValueError(f"column {name} is missing: attach the labels of the documents before this stage")
    keep = batch.column(columns["keep"])
    if keep.null_count:
        raise ValueError("dedup_keep has nulls: every document needs a label, run the deduplication over all of them")
    rows = pc.indices_nonzero(pc.invert(keep))
    told = zip(*(batch.column(columns[name]).take(rows).to_pylist() for name in REASONS), strict=True)
    drops = {row: Drop(*why) for row, why in zip(rows.to_pylist(), told, strict=True)}
    size = batch.column(columns["cluster_size"]).cast(pa.int64())
    documents = replace_column(batch.drop_columns(list(columns.values())), CLUSTER_SIZE.name, size)
    split = outcome(documents, "dedup", drops)
    twins = batch.column(columns["representative"]).take(rows)
    return split._replace(dropped=replace_column(split.dropped, "duplicate_of", twins))


STAGE = Stage(
    "dedup", Config, process, columns=lambda config: (CLUSTER_SIZE,), labels=Labels(PREFIX, lambda config: LABELS)
)
