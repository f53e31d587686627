from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from corpus.dedup import Config
from corpus.dedup.apply import COLUMNS, LABEL_COLUMNS, process
from corpus.dedup.signatures import sign
from corpus.schema import DOCUMENTS, DROPPED
from tests.corpus.dedup_files import label

STORY = "It was a bright cold day in April and the clocks were striking an hour that no clock has"


def labelled(texts: list[str]) -> pa.RecordBatch:
    """DOCUMENTS with the labels of a real clustering attached."""
    rows: list[dict[str, Any]] = [{"text": text, "id": f"doc{i}", "url": f"u{i}"} for i, text in enumerate(texts)]
    documents = pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)
    (labels,) = label([pa.Table.from_batches([sign(documents, Config())])], Config())
    batch = documents
    for name in LABEL_COLUMNS:
        batch = batch.append_column(name, labels.column(name.removeprefix("dedup_")).combine_chunks())
    return batch


def test_duplicates_are_dropped_with_rule_value_and_threshold() -> None:
    kept, dropped = process(labelled([STORY, "another text", STORY, STORY + "!"]), Config())
    assert kept.schema.equals(DOCUMENTS.append(COLUMNS[0]))
    assert kept.column("id").to_pylist() == ["doc0", "doc1"]
    assert kept.column("minhash_cluster_size").to_pylist() == [3, 1]
    assert dropped.schema.equals(DROPPED)
    reasons = [(row["id"], row["stage"], row["rule"], row["value"], row["threshold"]) for row in dropped.to_pylist()]
    assert reasons == [
        ("doc2", "dedup", "dedup.exact", "1", "1"),
        ("doc3", "dedup", "dedup.minhash", "1", str(Config().threshold)),
    ]


def test_nothing_to_drop_and_no_rows() -> None:
    batch = labelled(["one text", "another text"])
    kept, dropped = process(batch, Config())
    assert (kept.num_rows, dropped.num_rows) == (2, 0)
    kept, dropped = process(batch.slice(0, 0), Config())
    assert (kept.num_rows, dropped.num_rows) == (0, 0)
    assert kept.schema.equals(DOCUMENTS.append(COLUMNS[0]))


def test_an_older_cluster_size_is_replaced() -> None:
    batch = labelled([STORY, STORY]).append_column("minhash_cluster_size", pa.array([7, 7], pa.int64()))
    assert process(batch, Config()).kept.column("minhash_cluster_size").to_pylist() == [2]


def test_missing_labels_are_named() -> None:
    batch = labelled(["one text"])
    with pytest.raises(ValueError, match="column dedup_rule is missing"):
        process(batch.drop_columns(["dedup_rule"]), Config())
    holes = batch.set_column(batch.schema.get_field_index("dedup_keep"), "dedup_keep", pa.nulls(1, pa.bool_()))
    with pytest.raises(ValueError, match="dedup_keep has nulls"):
        process(holes, Config())


def test_settings_load_neither_numba_nor_datasketch() -> None:
    code = "import sys, corpus.dedup.apply; print([m for m in ('numba', 'datasketch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
