"""The step that drops duplicates, once it is decided which documents stay.

In: DOCUMENTS and, row by row, columns of LABELS with `dedup_` before their names. Out: the documents that stay, without
these columns and with `minhash_cluster_size`, by which FineWeb-2 repeats documents. A dropped document names the rule
(`dedup.exact`, `dedup.minhash` or `dedup.chain`), its similarity, the threshold, and the document that it duplicates.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.config import Config
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Labels, Stage

# Added to DOCUMENTS: the number of documents that this one represents, itself included.
CLUSTER_SIZE = pa.field("minhash_cluster_size", pa.int64())

# The columns of LABELS that this step reads and removes.
PREFIX = "dedup_"
LABELS = ("keep", "cluster_size", "rule", "similarity", "threshold", "representative")
REASONS = ("rule", "similarity", "threshold")  # the parts of a Drop


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Keep the rows whose `dedup_keep` is true.

    Raises ValueError if a column of labels is missing, or if `dedup_keep` has nulls: then the labels belong to other
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
    reasons = zip(*(batch.column(columns[name]).take(rows).to_pylist() for name in REASONS), strict=True)
    drops = {row: Drop(*reason) for row, reason in zip(rows.to_pylist(), reasons, strict=True)}
    size = batch.column(columns["cluster_size"]).cast(pa.int64())
    documents = replace_column(batch.drop_columns(list(columns.values())), CLUSTER_SIZE.name, size)
    split = outcome(documents, "dedup", drops)
    representatives = batch.column(columns["representative"]).take(rows)
    return split._replace(dropped=replace_column(split.dropped, "duplicate_of", representatives))


STAGE = Stage(
    "dedup", Config, process, columns=lambda config: (CLUSTER_SIZE,), labels=Labels(PREFIX, lambda config: LABELS)
)
