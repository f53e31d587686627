from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import LABELS, Config, signatures_schema
from corpus.dedup.cluster import cluster
from corpus.dedup.signatures import shingle_hashes, sign
from tests.oracles import dedup_cluster as oracle

CONFIG = Config(bands=3, rows=2)
# (text hash, band keys, shingles): few values, so that chains of all lengths come up.
ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.tuples(*[st.integers(0, 9)] * 3), st.sampled_from([0, 1, 1, 5])), max_size=14
)


def signatures(rows: list[tuple[int, tuple[int, ...], int]], config: Config = CONFIG, first: int = 0) -> pa.Table:
    """A SIGNATURES table whose six hashes a row are its three band keys, twice each."""
    columns: dict[str, Any] = {
        "id": [f"doc{first + i}" for i in range(len(rows))],
        "text_hash": [bytes(15) + bytes([row[0]]) for row in rows],
        "bands": [list(row[1]) for row in rows],
        "signature": [np.repeat(np.array(row[1], "<u4"), 2).tobytes() for row in rows],
        "shingles": [row[2] for row in rows],
    }
    return pa.table(columns, schema=signatures_schema(config))


def cut(table: pa.Table, cuts: list[int]) -> list[tuple[str, pa.Table]]:
    ends = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts), table.num_rows]
    return [(f"unit{i}", table.slice(a, b - a)) for i, (a, b) in enumerate(itertools.pairwise(ends))]


def documents(texts: list[str], config: Config = CONFIG) -> pa.Table:
    ids = pa.array([f"doc{i}" for i in range(len(texts))])
    return pa.Table.from_batches([sign(pa.record_batch([pa.array(texts), ids], names=["text", "id"]), config)])


def rows_of(labels: list[pa.Table]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.concat_tables(labels).to_pylist() if labels else []
    return rows


@given(ROWS, st.booleans(), st.booleans())
def test_labels_equal_the_slow_twin(rows: list[tuple[int, tuple[int, ...], int]], exact: bool, minhash: bool) -> None:
    config = Config(bands=3, rows=2, exact=exact, minhash=minhash)
    labels = rows_of(cluster([("unit", signatures(rows, config))], config))
    roots = oracle.roots(
        [bytes([h]) for h, _, _ in rows], [b for _, b, _ in rows], [s for *_, s in rows], exact, minhash
    )
    assert [row["cluster_id"] for row in labels] == roots
    for i, (row, root) in enumerate(zip(labels, roots, strict=True)):
        assert row["keep"] == (root == i)
        assert row["representative"] == f"doc{root}"
        assert row["cluster_size"] == roots.count(root)
        same_text = exact and rows[i][0] == rows[root][0]
        equal = [a == b for a, b in zip(rows[i][1], rows[root][1], strict=True)]
        if root == i:
            assert (row["rule"], row["value"], row["threshold"]) == (None, None, None)
        elif same_text:
            assert (row["rule"], row["value"], row["threshold"]) == ("dedup.exact", 1.0, 1.0)
        else:
            assert row["rule"] == "dedup.minhash"
            assert row["value"] == pytest.approx(sum(equal) / 3)
            assert row["threshold"] == config.threshold


@given(ROWS, st.lists(st.integers(0, 99), max_size=4))
def test_the_cut_into_shards_does_not_show(rows: list[tuple[int, tuple[int, ...], int]], cuts: list[int]) -> None:
    table = signatures(rows)
    shards = cut(table, cuts)
    labels = cluster(shards, CONFIG)
    assert [part.num_rows for part in labels] == [part.num_rows for _, part in shards]
    assert all(part.schema.equals(LABELS) for part in labels)
    assert pa.concat_tables(labels).equals(pa.concat_tables(cluster([("unit", table)], CONFIG)))


def test_tables_in_chunks() -> None:
    parts = [signatures([(i, (i % 2, 5 + i, 9), 1)], first=i) for i in range(4)]
    chunked = pa.concat_tables(parts)
    assert chunked.column("bands").num_chunks == 4
    whole = chunked.combine_chunks()
    assert cluster([("a", chunked)], CONFIG)[0].equals(cluster([("a", whole)], CONFIG)[0])


def test_exact_duplicates_by_hand() -> None:
    story = "The quick brown fox jumps over the lazy dog and runs on into the wood"
    texts = [story, "something else entirely", story, story.upper(), "…", "", "…", ""]
    labels = rows_of(cluster([("unit", documents(texts))], CONFIG))
    assert [row["keep"] for row in labels] == [True, True, False, False, True, True, False, False]
    assert [row["rule"] for row in labels][2:4] == ["dedup.exact", "dedup.minhash"]
    assert [row["value"] for row in labels][2:4] == [1.0, 1.0]
    assert labels[0]["cluster_size"] == 3
    # "…" and "" have no words: each is a duplicate of its like, but they are not near-duplicates of each other.
    assert [row["representative"] for row in labels[4:]] == ["doc4", "doc5", "doc4", "doc5"]
    near_only = rows_of(cluster([("unit", documents(texts))], Config(bands=3, rows=2, exact=False)))
    assert [row["keep"] for row in near_only] == [True, True, False, False, True, True, True, True]


def test_no_shards_no_rows_one_row() -> None:
    empty, single = signatures([]), signatures([(1, (1, 2, 3), 1)])
    assert cluster([], CONFIG) == []
    assert [part.num_rows for part in cluster([("a", empty)], CONFIG)] == [0]
    labels = cluster([("a", empty), ("b", single), ("c", empty)], CONFIG)
    assert rows_of(labels) == [
        {
            "id": "doc0",
            "keep": True,
            "cluster_id": 0,
            "cluster_size": 1,
            "representative": "doc0",
            "rule": None,
            "value": None,
            "threshold": None,
        }
    ]


def test_signatures_of_another_configuration_are_refused() -> None:
    table = documents(["a b c"])
    with pytest.raises(ValueError, match="unit7: no column bands"):
        cluster([("unit7", table)], Config(bands=2, rows=3))
    with pytest.raises(ValueError, match=r"unit7: signed as .*seed=1.*expected .*seed=2"):
        cluster([("unit7", table)], Config(bands=3, rows=2, seed=2))


def test_real_near_duplicates(testdata: Path) -> None:
    config = Config()
    table = pq.read_table(testdata / "neardup" / "docs.parquet", columns=["id", "text"])
    signed = pa.Table.from_batches([sign(part, config) for part in table.to_batches()])
    labels = rows_of(cluster(cut(signed, [1000, 2500]), config))
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
