from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import Config, exchange, signatures_schema
from corpus.dedup.exchange import SLOTS, Source, partition_edges, read_edges, write_edges, write_pairs
from tests.corpus.dedup_files import cut, pairs_source, write_all_pairs
from tests.oracles import dedup_cluster as oracle

CONFIG = Config(bands=2, rows=1)
# Few words, all over the range of hashes, so that texts and bands share them and partitions divide them.
WORDS = [0, 1, 2**54 - 1, 2**54, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
WORD = st.sampled_from(WORDS)
ROWS = st.lists(st.tuples(st.tuples(WORD, WORD), st.tuples(WORD, WORD), st.sampled_from([0, 1])), max_size=20)
CUTS = st.lists(st.integers(0, 99), max_size=4)


def signatures(rows: list[Any], config: Config = CONFIG) -> pa.Table:
    columns: dict[str, Any] = {
        "id": [f"doc{i}" for i in range(len(rows))],
        "text_hash": [np.array(row[0], "<u8").tobytes() for row in rows],
        "bands": [list(row[1]) for row in rows],
        "signature": [bytes(4 * config.num_perm)] * len(rows),
        "shingles": [row[2] for row in rows],
    }
    return pa.table(columns, schema=signatures_schema(config))


def all_edges(sources: list[Source], parts: int, threads: int = 1) -> set[tuple[int, int]]:
    """The edges of all partitions, each of them checked for order and repeats."""
    found: set[tuple[int, int]] = set()
    for part in range(parts):
        edges = partition_edges(sources, part, parts, threads)
        listed = [(one, other) for one, other in edges.tolist()]
        assert edges.dtype == np.uint64
        assert listed == sorted(set(listed))
        found.update(listed)
    return found


@given(ROWS, CUTS, st.sampled_from([1, 2, 16]), st.booleans(), st.booleans())
def test_edges_equal_the_slow_twin(rows: list[Any], cuts: list[int], parts: int, exact: bool, minhash: bool) -> None:
    config = Config(bands=2, rows=1, exact=exact, minhash=minhash)
    table = signatures(rows, config)
    with tempfile.TemporaryDirectory() as folder:
        sources = write_all_pairs(cut(table, cuts), config, Path(folder))
        assert all_edges(sources, parts) == oracle.edges(table.to_pylist(), config)


def test_a_whole_bucket_of_equal_records_and_many_of_different_ones(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    keys = random.integers(0, 2**64, (30_000, 2), dtype=np.uint64)
    keys[random.random(len(keys)) < 0.7, 0] = 2**63 + 5
    keys[20_000:, 1] = keys[:10_000, 1]
    hashes = random.integers(0, 2**64, keys.shape, dtype=np.uint64)
    hashes[25_000:] = hashes[:5_000]
    table = signatures(list(zip(hashes.tolist(), keys.tolist(), [1] * len(keys), strict=True)))
    sources = write_all_pairs(cut(table, [1, 9_000]), CONFIG, tmp_path)
    expected = oracle.edges(table.to_pylist(), CONFIG)
    assert all_edges(sources, 1) == expected
    assert all_edges(sources, 8, threads=4) == expected
    # Reducers see each record once: what partitions read is the whole files, but for their headers.
    wanted = SLOTS // 8 * np.arange(9)
    offsets = [np.frombuffer(source.read(0, 8 * (2 * SLOTS + 1)), "<u8") for source in sources]
    assert all((np.diff(one[2 * wanted].astype(np.int64)) > 0).all() for one in offsets[1:])
    total = sum(int(one[-1] - one[0]) for one in offsets)
    assert total == len(keys) * (2 * 16 + 24)


def test_rows_count_over_all_units_beyond_32_bits(tmp_path: Path) -> None:
    (source,) = write_all_pairs([signatures([((1, 1), (2, 3), 1)] * 3)], CONFIG, tmp_path)
    far = 2**40
    edges = partition_edges([source, Source(far, source.read)], 0, 1)
    assert edges.tolist() == [[0, 1], [0, 2], [0, far], [0, far + 1], [0, far + 2]]


def test_the_file_tells_nothing_but_the_rows(tmp_path: Path) -> None:
    table = signatures([((i, 7), (2**63 + i % 3, i), i % 2) for i in range(50)])
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=7, compression="zstd")
    assert write_pairs(tmp_path / "a.parquet", tmp_path / "a", CONFIG) == 50 + 2 * 25
    assert write_pairs(tmp_path / "b.parquet", tmp_path / "b", CONFIG) == 50 + 2 * 25
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_as_many_bands_as_there_may_be(tmp_path: Path) -> None:
    config = Config(bands=1000, rows=1, exact=False)
    keys = np.arange(1000)
    last = np.append(keys[:-1] + 5000, 999)  # equal to the first document's in the last band alone
    table = signatures([((0, 0), list(row), 1) for row in (keys, keys[::-1], last)], config)
    assert all_edges(write_all_pairs([table], config, tmp_path), 1) == {(0, 2)}
    assert oracle.edges(table.to_pylist(), config) == {(0, 2)}


def test_nothing_to_exchange(tmp_path: Path) -> None:
    assert partition_edges([], 0, 1).shape == (0, 2)
    sources = write_all_pairs([signatures([]), signatures([((1, 1), (2, 3), 0)])], CONFIG, tmp_path)
    assert all_edges(sources, SLOTS) == set()


def test_signatures_of_another_configuration_are_refused(tmp_path: Path) -> None:
    pq.write_table(signatures([((1, 1), (2, 3), 1)]), tmp_path / "unit7.parquet")
    with pytest.raises(ValueError, match=r"unit7.parquet: signed as .*seed=1.*expected .*seed=2"):
        write_pairs(tmp_path / "unit7.parquet", tmp_path / "pairs", Config(bands=2, rows=1, seed=2))


def test_partitions_are_a_power_of_two() -> None:
    for part, parts in ((0, 3), (2, 2), (-1, 4), (0, 2 * SLOTS)):
        with pytest.raises(ValueError, match=f"partition {part} of {parts}: "):
            partition_edges([], part, parts)


def test_damaged_pairs_are_named(tmp_path: Path) -> None:
    write_all_pairs([signatures([((1, 1), (2, 3), 1)] * 3)], CONFIG, tmp_path)
    path = tmp_path / "0.pairs"
    data = path.read_bytes()
    for damaged, message in (
        (data[:-1], "0.pairs: 167 of 168 bytes at 16392; remove it"),
        (data[:100], "0.pairs: 100 of 16392 bytes at 0; remove it"),
        (bytes(range(256)) * 100, "0.pairs: not a pairs file; remove it"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            partition_edges([pairs_source(path)], 0, 1)


def test_edges_come_back_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edges = np.arange(14, dtype=np.uint64).reshape(7, 2)
    path = tmp_path / "edges"
    write_edges(edges, path)
    monkeypatch.setattr(exchange, "EDGES_AT_A_TIME", 3)
    with path.open("rb") as stream:
        portions = list(read_edges(stream))
    assert [len(portion) for portion in portions] == [3, 3, 1]
    assert np.concatenate(portions).tolist() == edges.tolist()
    write_edges(edges[:0], path)
    with path.open("rb") as stream:
        assert list(read_edges(stream)) == []
    with pytest.raises(ValueError, match="ends within an edge"):
        list(read_edges(io.BytesIO(bytes(24))))
