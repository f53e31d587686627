from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import LABELS, Config, cluster, signatures_schema
from corpus.dedup.kernels import exchange as kernels
from corpus.dedup.signatures import shingle_hashes, sign
from tests.corpus.dedup_files import MemoryShard, cut, label
from tests.oracles import dedup_cluster as oracle

CONFIG = Config(bands=3, rows=2)
# Few values, so that chains of all lengths come up, on both sides of the borders between partitions.
HASHES = [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), bytes(7) + b"\x80" + bytes(8), b"\xff" * 16]
KEYS = [0, 1, 2, 2**54 - 1, 2**54, 2**63 - 1, 2**63, 2**64 - 1]
# (text hash, band keys, shingles)
Row = tuple[bytes, tuple[int, ...], int]
ROWS = st.lists(
    st.tuples(st.sampled_from(HASHES), st.tuples(*[st.sampled_from(KEYS)] * 3), st.sampled_from([0, 1, 1, 5])),
    max_size=14,
)
CUTS = st.lists(st.integers(0, 99), max_size=4)


def signatures(rows: Sequence[Row], config: Config = CONFIG, first: int = 0) -> pa.Table:
    """A SIGNATURES table whose six hashes a row are its three band keys, twice each."""
    columns: dict[str, Any] = {
        "id": [f"döc{first + i}" for i in range(len(rows))],
        "text_hash": [row[0] for row in rows],
        "bands": [list(row[1]) for row in rows],
        "signature": [np.repeat(np.array([key % 2**31 for key in row[1]], "<u4"), 2).tobytes() for row in rows],
        "shingles": [row[2] for row in rows],
    }
    return pa.table(columns, schema=signatures_schema(config))


def documents(texts: list[str], config: Config = CONFIG) -> pa.Table:
    ids = pa.array([f"doc{i}" for i in range(len(texts))])
    return pa.Table.from_batches([sign(pa.record_batch([pa.array(texts), ids], names=["text", "id"]), config)])


def rows_of(labels: list[pa.Table]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.concat_tables(labels).to_pylist() if labels else []
    return rows


@given(ROWS, CUTS, st.sampled_from([1, 2, 32]), st.integers(1, 5), st.booleans(), st.booleans())
def test_labels_equal_the_slow_twin(
    rows: list[Row], cuts: list[int], parts: int, batch_rows: int, exact: bool, minhash: bool
) -> None:
    config = Config(bands=3, rows=2, exact=exact, minhash=minhash)
    tables = cut(signatures(rows, config), cuts)
    labels = label(tables, config, parts, batch_rows)
    assert [part.schema.equals(LABELS) for part in labels] == [True] * len(tables)
    for found, expected in zip(labels, oracle.labels(tables, config), strict=True):
        assert found.equals(expected)


def test_rows_beyond_32_bits_are_labelled_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(bytes(15) + bytes([i % 7]), (i % 5, i % 11, i), 1) for i in range(40)]
    tables = cut(signatures(rows), [13, 29])
    monkeypatch.setattr(cluster, "_NARROW", 0)
    assert pa.concat_tables(label(tables, CONFIG)).equals(pa.concat_tables(oracle.labels(tables, CONFIG)))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40), st.sampled_from([np.uint32, np.uint64])
)
def test_components_equal_the_slow_twin(edges: list[tuple[int, int]], dtype: type[np.unsignedinteger[Any]]) -> None:
    root, sizes = np.arange(31, dtype=dtype), np.zeros(31, np.int32)
    kernels.union_edges(root, np.array(edges, np.uint64).reshape(-1, 2))
    kernels.flatten(root)
    kernels.component_sizes(root, sizes)
    expected = oracle.roots(31, set(edges))
    assert root.tolist() == expected
    assert sizes.tolist() == [expected.count(row) for row in range(31)]


def test_signatures_stream_by_a_shard_at_a_time(tmp_path: Path) -> None:
    log: list[str] = []
    rows: list[Row] = [(HASHES[0], (7, 8, 9), 1), (HASHES[1], (1, 2, 3), 1), (HASHES[0], (4, 5, 6), 1)]
    tables = [signatures([row], first=i) for i, row in enumerate(rows)]
    shards = [MemoryShard(f"unit{i}", table, log) for i, table in enumerate(tables)]
    labels = cluster.cluster(shards, [np.array([[0, 2]], np.uint64)], CONFIG, tmp_path)
    assert log == []
    next(labels)
    assert log == ["unit0", "unit0"]  # once because its document stands for another, once for its labels
    next(labels)
    assert log == ["unit0", "unit0", "unit1"]
    assert next(labels).to_pylist()[0]["representative"] == "döc0"


def test_tables_in_chunks() -> None:
    parts = [signatures([(HASHES[i], (i % 2, 5 + i, 9), 1)], first=i) for i in range(4)]
    chunked = pa.concat_tables(parts)
    assert chunked.column("bands").num_chunks == 4
    assert label([chunked], CONFIG)[0].equals(label([chunked.combine_chunks()], CONFIG)[0])


def test_exact_duplicates_by_hand() -> None:
    story = "The quick brown fox jumps over the lazy dog and runs on into the wood"
    texts = [story, "something else entirely", story, story.upper(), "…", "", "…", ""]
    labels = rows_of(label([documents(texts)], CONFIG))
    assert [row["keep"] for row in labels] == [True, True, False, False, True, True, False, False]
    assert [row["rule"] for row in labels][2:4] == ["dedup.exact", "dedup.minhash"]
    assert [row["value"] for row in labels][2:4] == [1.0, 1.0]
    assert labels[0]["cluster_size"] == 3
    # "…" and "" have no words: each is a duplicate of its like, but they are not near-duplicates of each other.
    assert [row["representative"] for row in labels[4:]] == ["doc4", "doc5", "doc4", "doc5"]
    near_only = rows_of(label([documents(texts)], Config(bands=3, rows=2, exact=False)))
    assert [row["keep"] for row in near_only] == [True, True, False, False, True, True, True, True]


def test_no_shards_no_rows_one_row() -> None:
    empty, single = signatures([]), signatures([(HASHES[1], (1, 2, 3), 1)])
    assert label([], CONFIG) == []
    assert [part.num_rows for part in label([empty], CONFIG)] == [0]
    labels = label([empty, single, empty], CONFIG)
    assert [part.num_rows for part in labels] == [0, 1, 0]
    assert rows_of(labels) == [
        {
            "id": "döc0",
            "keep": True,
            "cluster_id": 0,
            "cluster_size": 1,
            "representative": "döc0",
            "rule": None,
            "value": None,
            "threshold": None,
        }
    ]


def test_signatures_of_another_configuration_are_refused(tmp_path: Path) -> None:
    shard = MemoryShard("unit7", documents(["a b c"]))
    with pytest.raises(ValueError, match="unit7: no column bands"):
        next(cluster.cluster([shard], [], Config(bands=2, rows=3), tmp_path))
    with pytest.raises(ValueError, match=r"unit7: signed as .*seed=1.*expected .*seed=2"):
        next(cluster.cluster([shard], [], Config(bands=3, rows=2, seed=2), tmp_path))


def test_edges_of_other_signatures_are_refused(tmp_path: Path) -> None:
    shard = MemoryShard("unit7", documents(["a b c"]))
    with pytest.raises(ValueError, match="edge to row 1 of 1 documents"):
        next(cluster.cluster([shard], [np.array([[0, 1]], np.uint64)], CONFIG, tmp_path))


def test_real_near_duplicates(testdata: Path) -> None:
    config = Config()
    table = pq.read_table(testdata / "neardup" / "docs.parquet", columns=["id", "text"])
    signed = pa.Table.from_batches([sign(part, config) for part in table.to_batches()])
    shards = cut(signed, [1000, 2500])
    tables = label(shards, config, parts=4)
    assert pa.concat_tables(tables).equals(pa.concat_tables(oracle.labels(shards, config)))
    labels = rows_of(tables)
    found = {row["id"]: row["cluster_id"] for row in labels}
    pairs = pq.read_table(testdata / "neardup" / "pairs.parquet").to_pylist()
    close = [(pair["a"], pair["b"]) for pair in pairs if pair["jaccard"] >= 0.8]
    # 0.9887; the banding's curve over the pairs' similarities after our normalisation promises 0.989.
    assert sum(found[a] == found[b] for a, b in close) >= 0.985 * len(close)
    # The estimate is what the kept signature says about the true overlap: error sqrt(J (1 - J) / 112) <= .047.
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    errors = []
    for row in [row for row in labels if row["rule"] == "dedup.minhash"][:200]:
        one, other = (set(shingle_hashes(texts[row[name]], config).tolist()) for name in ("id", "representative"))
        errors.append(row["value"] - len(one & other) / len(one | other))
    assert np.sqrt(np.mean(np.square(errors))) < 0.047
    assert abs(np.mean(errors)) < 0.01
