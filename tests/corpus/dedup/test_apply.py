from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from corpus.dedup import Config
from corpus.dedup.apply import CLUSTER_SIZE, LABELS, process
from corpus.schema import DOCUMENTS, DROPPED


def labelled(twins: list[int | None]) -> pa.RecordBatch:
    """DOCUMENTS with labels attached: each a duplicate of the one with this number, or one that stays."""
    rows: list[dict[str, Any]] = [{"text": "x", "id": f"doc{i}", "url": f"u{i}"} for i in range(len(twins))]
    batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)
    stands = [i if twin is None else twin for i, twin in enumerate(twins)]
    keep = [twin is None for twin in twins]
    labels = {
        "keep": pa.array(keep, pa.bool_()),
        "cluster_size": pa.array([stands.count(i) for i in stands], pa.int32()),
        "rule": pa.array([None if stays else "dedup.minhash" for stays in keep], pa.string()),
        "similarity": pa.array([None if stays else 0.875 for stays in keep], pa.float64()),
        "threshold": pa.array([None if stays else 0.75 for stays in keep], pa.float64()),
        "representative": pa.array([f"doc{i}" for i in stands], pa.string()),
    }
    assert tuple(labels) == LABELS
    for name, column in labels.items():
        batch = batch.append_column(f"dedup_{name}", column)
    return batch


def test_duplicates_are_dropped_with_rule_value_threshold_and_twin() -> None:
    kept, dropped, *_ = process(labelled([None, None, 0, 0]), Config())
    assert kept.schema.equals(DOCUMENTS.append(CLUSTER_SIZE))
    assert kept.column("id").to_pylist() == ["doc0", "doc1"]
    assert kept.column("minhash_cluster_size").to_pylist() == [3, 1]
    assert dropped.schema.equals(DROPPED)
    names = ("id", "stage", "rule", "value", "threshold", "duplicate_of")
    assert [tuple(row[name] for name in names) for row in dropped.to_pylist()] == [
        ("doc2", "dedup", "dedup.minhash", "0.875", "0.75", "doc0"),
        ("doc3", "dedup", "dedup.minhash", "0.875", "0.75", "doc0"),
    ]


def test_nothing_to_drop_and_no_rows() -> None:
    batch = labelled([None, None])
    kept, dropped, *_ = process(batch, Config())
    assert (kept.num_rows, dropped.num_rows) == (2, 0)
    kept, dropped, *_ = process(batch.slice(0, 0), Config())
    assert (kept.num_rows, dropped.num_rows) == (0, 0)
    assert kept.schema.equals(DOCUMENTS.append(CLUSTER_SIZE))


def test_an_older_cluster_size_is_replaced() -> None:
    batch = labelled([None, 0]).append_column("minhash_cluster_size", pa.array([7, 7], pa.int64()))
    assert process(batch, Config()).kept.column("minhash_cluster_size").to_pylist() == [2]


def test_missing_labels_are_named() -> None:
    batch = labelled([None])
    with pytest.raises(ValueError, match="column dedup_rule is missing"):
        process(batch.drop_columns(["dedup_rule"]), Config())
    holes = batch.set_column(batch.schema.get_field_index("dedup_keep"), "dedup_keep", pa.nulls(1, pa.bool_()))
    with pytest.raises(ValueError, match="dedup_keep has nulls"):
        process(holes, Config())


def test_settings_load_neither_numba_nor_datasketch() -> None:
    code = "import sys, corpus.dedup.apply; print([m for m in ('numba', 'datasketch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
