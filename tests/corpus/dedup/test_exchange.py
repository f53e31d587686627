from __future__ import annotations

import tempfile
from pathlib import Path

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import Config, exchange
from corpus.dedup.exchange import partition_edges, read_edges, write_edges, write_keys
from corpus.dedup.index import fill_lsh
from corpus.dedup.keys import band_keys, keys
from corpus.dedup.signatures import to_datasketch
from corpus.dedup.slots import SLOTS, PairFile
from tests.oracles import dedup_cluster as oracle
from tests.support.dedup_files import Row, cut, pairs_source, signatures, without_checksums, write_all_pairs

HEADER = 8 * (SLOTS + 1)
CONFIG = Config(bands=2, rows=2)
# Few values, so that texts and bands share them; a document may lack words, and a dump.
MINIMUM = st.sampled_from([0, 1, 2**32 - 1])
ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2**64, 2**128 - 1]),
        st.tuples(MINIMUM, MINIMUM, MINIMUM, MINIMUM),
        st.sampled_from([0, 1, 1]),
        st.sampled_from([None, "", "2024-10"]),
    ),
    max_size=20,
)
CUTS = st.lists(st.integers(0, 99), max_size=4)
WANTED = st.sampled_from([(True, True), (True, False), (False, True)])  # exact, minhash


def all_edges(sources: list[PairFile], parts: int, threads: int = 1) -> set[tuple[int, int]]:
    """The edges of all partitions."""
    found: set[tuple[int, int]] = set()
    for part in range(parts):
        edges = partition_edges(sources, part, parts, threads)
        assert edges.dtype == np.uint64
        assert (edges[:, 0] < edges[:, 1]).all()
        found.update((one, other) for one, other in edges.tolist())
    return found


def units_of_keys(folder: Path, units: list[list[int]]) -> list[PairFile]:
    """A pairs file for each unit, whose documents have one key each."""
    sources, first_row = [], 0
    for number, unit in enumerate(units):
        path = folder / f"{number}.pairs"
        write_keys([(np.array(unit, np.uint64), np.arange(len(unit), dtype=np.uint32))], path)
        sources.append(pairs_source(path, first_row))
        first_row += len(unit)
    return sources


@given(ROWS, CUTS, st.sampled_from([1, 2, 16]), WANTED, st.booleans())
def test_edges_equal_the_slow_twin(
    rows: list[Row], cuts: list[int], parts: int, wanted: tuple[bool, bool], per_dump: bool
) -> None:
    config = Config(bands=2, rows=2, exact=wanted[0], minhash=wanted[1], per_dump=per_dump)
    table = signatures(rows, config)
    with tempfile.TemporaryDirectory() as folder:
        sources = write_all_pairs(cut(table, cuts), config, Path(folder))
        assert all_edges(sources, parts) == oracle.edges(table.to_pylist(), config)


@given(st.lists(st.sampled_from([0, 1, 2**54 - 1, 2**54, 2**63, 2**64 - 1]), max_size=30), CUTS)
def test_any_numbers_may_be_keys(numbers: list[int], cuts: list[int]) -> None:
    first = {number: numbers.index(number) for number in numbers}
    expected = {(first[number], row) for row, number in enumerate(numbers) if first[number] != row}
    units = [part.column(0).to_pylist() for part in cut(pa.table([pa.array(numbers, pa.uint64())], ["key"]), cuts)]
    with tempfile.TemporaryDirectory() as folder:
        sources = units_of_keys(Path(folder), units)
        for parts in (1, 4, 32):
            assert all_edges(sources, parts) == expected


def test_equal_bands_at_other_places_have_other_keys() -> None:
    found = band_keys(np.array([[1, 2, 1, 2], [1, 2, 2, 1], [1, 3, 1, 2]], np.uint32), CONFIG)
    assert found.shape == (3, 2)
    assert found[0, 0] == found[1, 0]
    assert found[0, 1] == found[2, 1]
    assert len(np.unique(found)) == 4


def test_keys_are_of_documents_with_words_and_of_texts() -> None:
    batch = signatures([(7, (1, 2, 3, 4), 0, None), (8, (1, 2, 3, 4), 5, None)], CONFIG).to_batches()[0]
    found, rows = keys(batch, CONFIG)
    assert found.dtype == np.uint64
    assert rows.dtype == np.uint32
    assert rows.tolist() == [1, 1, 0, 1]
    assert len(set(found.tolist())) == 4
    assert keys(batch.slice(1), CONFIG)[0].tolist() == found[[0, 1, 3]].tolist()
    without, _ = keys(batch, Config(bands=2, rows=2, exact=False))
    assert without.tolist() == found[:2].tolist()


def test_documents_without_words_are_asked_for_by_no_service() -> None:
    none = [2**32 - 1] * 4
    batch = signatures([(7, none, 0, None), (8, (1, 2, 3, 4), 5, None)], CONFIG).to_batches()[0]
    lsh = datasketch.MinHashLSH(num_perm=CONFIG.num_perm, params=(CONFIG.bands, CONFIG.rows))
    assert fill_lsh([batch], CONFIG, lsh) == 1
    one, other = (to_datasketch(row, CONFIG) for row in batch.to_pylist())
    assert (lsh.query(one), lsh.query(other)) == ([], ["doc1"])


@given(st.lists(st.tuples(MINIMUM, MINIMUM, MINIMUM, MINIMUM), max_size=4))
def test_band_keys_equal_the_slow_twin(rows: list[tuple[int, ...]]) -> None:
    found = band_keys(np.array(rows, np.uint32).reshape(-1, 4), CONFIG)
    assert found.tolist() == [[oracle.band_key(row[:2], 0), oracle.band_key(row[2:], 1)] for row in rows]


def test_many_documents_with_one_key_among_many_others(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = random.integers(0, 2**64, 300_000, dtype=np.uint64)
    numbers[random.permutation(len(numbers))[:200_000]] = 2**63 + 5
    numbers[-20_000:] = numbers[:20_000]
    sources = units_of_keys(tmp_path, [part.tolist() for part in np.split(numbers, [1, 90_000])])
    first: dict[int, int] = {}
    expected = {
        (first[number], row) for row, number in enumerate(numbers.tolist()) if first.setdefault(number, row) != row
    }
    assert len(expected) > 199_999
    assert all_edges(sources, 1) == expected
    assert all_edges(sources, 8, threads=4) == expected


def test_a_key_takes_twelve_bytes_and_is_read_by_one_partition(tmp_path: Path) -> None:
    config = Config(bands=14, rows=8, exact=False)
    random = np.random.default_rng(0)
    rows: list[Row] = [(0, random.integers(0, 2**32, config.num_perm).tolist(), 1, None) for _ in range(1000)]
    (batch,) = signatures(rows, config).to_batches()
    assert write_keys([keys(batch, config)], tmp_path / "pairs") == 14 * 1000
    data = (tmp_path / "pairs").read_bytes()
    assert len(data) == HEADER + 168 * 1000
    asked = []

    def read(start: int, length: int) -> bytes:
        asked.append((start, start + length))
        return data[start : start + length]

    for part in range(8):
        partition_edges([PairFile(0, read)], part, 8)
    bodies = asked[1::2]
    assert [start for start, _ in bodies] == [HEADER, *(end for _, end in bodies[:-1])]
    assert bodies[-1][1] == len(data)


def test_rows_count_over_all_units_beyond_32_bits(tmp_path: Path) -> None:
    (source,) = units_of_keys(tmp_path, [[5, 5, 5]])
    far = 2**40
    edges = partition_edges([source, PairFile(far, source.read)], 0, 1)
    assert edges.tolist() == [[0, 1], [0, 2], [0, far], [0, far + 1], [0, far + 2]]


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    units = [random.integers(0, 500, 1000, dtype=np.uint64).tolist() for _ in range(3)]
    one, two = tmp_path / "one", tmp_path / "two"
    for path, threads in ((one, 1), (two, 3)):
        write_edges(partition_edges(units_of_keys(tmp_path, units), 0, 2, threads), path)
    assert one.read_bytes() == two.read_bytes() != b""


def test_nothing_to_exchange(tmp_path: Path) -> None:
    assert partition_edges([], 0, 1).shape == (0, 2)
    tables = [signatures([], CONFIG), signatures([(1, (1, 2, 3, 4), 0, None)], CONFIG), signatures([], CONFIG)]
    assert all_edges(write_all_pairs(tables, CONFIG, tmp_path), SLOTS) == set()


def test_partitions_are_a_power_of_two() -> None:
    for part, parts in ((0, 3), (2, 2), (-1, 4), (0, 2 * SLOTS)):
        with pytest.raises(ValueError, match=f"partition {part} of {parts}: "):
            partition_edges([], part, parts)


def test_damaged_pairs_are_named(tmp_path: Path) -> None:
    units_of_keys(tmp_path, [[1, 2, 3]])
    path = tmp_path / "0.pairs"
    data = path.read_bytes()
    for damaged, message in (
        (data[:-1], "0.pairs: 35 of 36 bytes at 8200; remove it"),
        (data[:100], "0.pairs: 100 of 8200 bytes at 0; remove it"),
        (bytes(8) + data[8:], "0.pairs: not a file of pairs; remove it"),  # begins within the header
        (data[: HEADER - 8] + bytes(4) + data[HEADER - 4 :], "0.pairs: not a file of pairs; remove it"),  # falls
        (data[:-1] + b"\x03", "0.pairs: records differ from their checksum; remove it"),
        (bytes(range(256)) * 100, "0.pairs: not a file of pairs; remove it"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            partition_edges([pairs_source(path)], 0, 1)


def test_pairs_of_impossible_length_are_named(tmp_path: Path) -> None:
    sources = units_of_keys(tmp_path, [[1], [2, 3]])
    path = tmp_path / "1.pairs"
    data = path.read_bytes()
    for records in (2**30, 2**32 - 1):
        path.write_bytes(data[: HEADER - 8] + records.to_bytes(4, "little") + data[HEADER - 4 :])
        with pytest.raises(ValueError, match=r"1\.pairs: (no memory for|24 of) .*remove it to make it again"):
            partition_edges(sources, 0, 1)


def test_more_equal_keys_than_can_be_numbered_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = units_of_keys(tmp_path, [[5, 5, 5], [5]])
    assert len(partition_edges(sources, 0, 1)) == 3
    monkeypatch.setattr(exchange, "_MOST", 3)
    with pytest.raises(ValueError, match="4 records of repeated keys in one of 1024 ranges: no more than 3"):
        partition_edges(sources, 0, 1)


def test_keys_of_another_partition_are_refused(tmp_path: Path) -> None:
    (source,) = units_of_keys(tmp_path, [[2**63, 2**63 + 1, 2**64 - 1]])
    path = tmp_path / "0.pairs"
    data = without_checksums(path.read_bytes(), 12)
    assert partition_edges([source], 1, 2).shape == (0, 2)
    path.write_bytes(data[: HEADER + 7] + b"\x00" + data[HEADER + 8 :])  # the first key's highest byte
    with pytest.raises(ValueError, match=r"0\.pairs: keys of another partition than 1 of 2; remove it"):
        partition_edges([source], 1, 2)


def test_pairs_without_checksums_are_read(tmp_path: Path) -> None:
    sources = units_of_keys(tmp_path, [[5, 2**63], [7, 5, 2**63]])
    expected = [partition_edges(sources, part, 2).tolist() for part in (0, 1)]
    for path in tmp_path.iterdir():
        path.write_bytes(without_checksums(path.read_bytes(), 12))
    assert [partition_edges(sources, part, 2).tolist() for part in (0, 1)] == expected == [[[0, 3]], [[1, 4]]]


@given(st.data())
def test_any_bytes_may_be_wrong_in_pairs(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sources = units_of_keys(Path(folder), [[7] * 5, [7, 2**64 - 1]])
        path = Path(folder, data.draw(st.sampled_from(["0.pairs", "1.pairs"])))
        wrong = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(wrong) - 1) | st.integers(HEADER, len(wrong) - 1))):
            wrong[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(wrong)
        told = ""
        try:
            assert partition_edges(sources, 0, 1).shape[1] == 2
        except ValueError as error:
            told = str(error)
        assert told.startswith(("0.pairs: ", "1.pairs: ")) or not told


def test_a_row_beyond_the_unit_is_refused(tmp_path: Path) -> None:
    first, second = units_of_keys(tmp_path, [[1, 2, 3], [4]])
    with pytest.raises(ValueError, match=r"0.pairs: row 2 of 2; remove it"):
        partition_edges([first, second._replace(first_row=2)], 0, 1)


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


def test_damaged_edges_are_named(tmp_path: Path) -> None:
    path = tmp_path / "edges"
    write_edges(np.arange(6, dtype=np.uint64).reshape(3, 2), path)
    whole = path.read_bytes()
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    for damaged in (b"", whole[:8], whole[:-16], whole[:-8], whole[:16], whole + bytes(16), bytes(24), *flipped):
        path.write_bytes(damaged)
        with path.open("rb") as stream, pytest.raises(ValueError, match=r"edges: damaged edges; remove it"):
            list(read_edges(stream))
