"""Datasets: the bytes of a shard, commit records and the manifest, conflicts between runs, and damage."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.schema import DOCUMENTS
from corpus.store.records import CommitRecord, Conflict, Input, difference
from corpus.store.shards import ROW_GROUP, Dataset, ShardWriter

INPUTS = (Input("a.warc.gz", 10, "etag-a"),)


def documents(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"text": text, "id": str(i)} for i, text in enumerate(texts)], schema=DOCUMENTS)


def write(path: Path, batches: list[pa.RecordBatch]) -> ShardWriter:
    writer = ShardWriter(path, DOCUMENTS)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return writer


def commit(folder: Path, unit: str, texts: list[str], config: dict[str, object]) -> CommitRecord:
    dataset = Dataset(folder)
    digest = dataset.begin(config)
    with dataset.storage.scratch() as scratch:
        writer = write(scratch / "x", [documents(texts)])
        output = writer.output(unit, "documents")
        counts = ({"stage": "s", "read": len(texts), "kept": len(texts), "dropped": {}},)
        return dataset.commit(CommitRecord(unit, "s", digest, INPUTS, (output,), counts), [writer.path])


@given(st.lists(st.integers(1, 900), max_size=6))
def test_bytes_depend_on_the_rows_alone(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("shards")
    batch = documents([f"text {i} " * (i % 9) for i in range(2500)])
    edges = sorted({0, 2500, *(sum(cuts[: i + 1]) for i in range(len(cuts)) if sum(cuts[: i + 1]) < 2500)})
    parts = [batch.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    whole, pieces = write(folder / "whole", [batch]), write(folder / "pieces", parts)
    assert whole.output("u", "documents") == pieces.output("u", "documents")
    metadata = pq.ParquetFile(folder / "pieces").metadata
    assert [metadata.row_group(i).num_rows for i in range(3)] == [ROW_GROUP, ROW_GROUP, 2500 - 2 * ROW_GROUP]


def test_a_committed_unit_is_read_back(tmp_path: Path) -> None:
    record = commit(tmp_path, "u", ["one", "two"], {"a": 1})
    dataset = Dataset(tmp_path)
    assert dataset.records() == [record]
    (output,) = dataset.files("documents")
    assert [b.column("text").to_pylist() for b in dataset.batches(output, 1)] == [["one"], ["two"]]
    assert output.path == f"data/u-{output.sha256[:12]}.parquet"
    assert not (tmp_path / "_tmp").exists()


def test_only_files_that_a_record_names_are_there(tmp_path: Path) -> None:
    commit(tmp_path, "u", ["one"], {})
    (tmp_path / "data" / "zombie-000000000000.parquet").write_bytes(b"PAR1")
    assert len(Dataset(tmp_path).files("documents")) == 1


def test_the_first_commit_stands(tmp_path: Path) -> None:
    first = commit(tmp_path, "u", ["one"], {})
    second = commit(tmp_path, "u", ["another"], {})
    assert second == first
    assert [path.name for path in (tmp_path / "data").iterdir()] == [Path(first.outputs[0].path).name]


def test_the_manifest_stands_for_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["b", "a", "a-b", "a.b"]  # sorted as keys, `a-b.json` comes before `a.json`
    for key in keys:
        commit(tmp_path, key, [key] * 3, {})
    records = Dataset(tmp_path).records()
    Dataset(tmp_path).compact()
    before = (tmp_path / "_manifest.parquet").stat().st_mtime_ns
    Dataset(tmp_path).compact()
    assert (tmp_path / "_manifest.parquet").stat().st_mtime_ns == before
    dataset = Dataset(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(CommitRecord, "from_json", lambda data, name: pytest.fail(f"{name} was read"))
        assert dataset.records() == records
        assert dataset.units() == sorted(keys)
        assert dataset.missing(["z", "a"]) == ["z"]
    assert sorted(record.unit for record in records) == sorted(keys)
    assert list(dataset.outdated()) == []


def test_an_old_manifest_does_no_harm(tmp_path: Path) -> None:
    for key in ("a", "b", "c"):
        commit(tmp_path, key, [key], {})
    dataset = Dataset(tmp_path)
    dataset.compact()
    commit(tmp_path, "bb", ["later"], {})
    (tmp_path / "_units" / "a.json").unlink()
    (tmp_path / "_units" / "c.json").unlink()
    again = commit(tmp_path, "c", ["made again", "and longer"], {})
    assert [record.unit for record in dataset.scan()] == ["b", "bb", "c"]
    assert dataset.records()[-1] == again
    assert list(dataset.outdated()) == []
    dataset.compact()
    assert pq.read_table(tmp_path / "_manifest.parquet").column("unit").to_pylist() == ["b", "bb", "c"]


def test_a_manifest_that_lies_is_found(tmp_path: Path) -> None:
    record = commit(tmp_path, "u", ["one"], {})
    dataset = Dataset(tmp_path)
    dataset.compact()
    path = tmp_path / "_units" / "u.json"
    before = path.stat()
    path.write_bytes(dataclasses.replace(record, seconds=7.0).to_json())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(dataset.outdated()) == ["_manifest.parquet differs from _units/u.json; remove it"]
    (tmp_path / "_manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"_manifest.parquet: damaged"):
        dataset.records()


@pytest.mark.parametrize(
    "rows", [[{"key": None, "stamp": "x"}], [{"stamp": "x"}], [{"key": "x"}], [{"key": 1, "stamp": 1}]]
)
def test_a_manifest_of_other_columns_is_named(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    commit(tmp_path, "u", ["one"], {})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "_manifest.parquet")
    for read in (Dataset(tmp_path).records, Dataset(tmp_path).compact, lambda: list(Dataset(tmp_path).outdated())):
        with pytest.raises(ValueError, match=r"_manifest.parquet: damaged \(a row has no key or no stamp\); remove it"):
            read()


def test_a_whole_dataset_as_an_input(tmp_path: Path) -> None:
    commit(tmp_path, "a", ["one"], {})
    one = Dataset(tmp_path).whole("documents")
    commit(tmp_path, "b", ["two"], {})
    two = Dataset(tmp_path).whole("documents")
    assert one.etag != two.etag
    assert two.size == sum(output.bytes for output in Dataset(tmp_path).files("documents"))
    with pytest.raises(ValueError, match="no committed labels"):
        Dataset(tmp_path).whole("labels")


def test_done_needs_the_same_config_and_input(tmp_path: Path) -> None:
    config = {"order": ["extract"], "extract": {"favor": "balanced"}}
    record = commit(tmp_path, "u", ["one"], config)
    dataset = Dataset(tmp_path)
    assert dataset.is_done("u", record.config, INPUTS)
    assert not dataset.is_done("v", record.config, INPUTS)
    other = dataset.begin({"order": ["extract"], "extract": {"favor": "precision"}})
    with pytest.raises(Conflict) as raised:
        dataset.is_done("u", other, INPUTS)
    for part in (record.config[:12], other[:12], 'extract.favor is "balanced" there, "precision" here'):
        assert part in str(raised.value)
    with pytest.raises(
        Conflict, match=r"made from a.warc.gz \(10 bytes, etag-a\), now it is b.warc.gz \(11 bytes, etag-b\)"
    ):
        dataset.is_done("u", record.config, [Input("b.warc.gz", 11, "etag-b")])
    with pytest.raises(Conflict, match="made from 1 files, now there are 2"):
        dataset.is_done("u", record.config, [*INPUTS, Input("c", 1, "c")])


def test_the_same_input_at_another_place_is_the_same(tmp_path: Path) -> None:
    record = commit(tmp_path, "u", ["one"], {})
    assert Dataset(tmp_path).is_done("u", record.config, [Input("/elsewhere/a.warc.gz", 10, "etag-a")])


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    record = commit(tmp_path, "u", ["one"] * 100, {})
    path = tmp_path / record.outputs[0].path
    path.write_bytes(path.read_bytes()[:-200])
    dataset = Dataset(tmp_path)
    with pytest.raises(ValueError, match=r"data/u-\w+.parquet: damaged shard"):
        list(dataset.batches(record.outputs[0], 10))


def test_a_shard_with_other_rows_than_its_record_says(tmp_path: Path) -> None:
    record = commit(tmp_path, "u", ["one"], {})
    wrong = dataclasses.replace(record.outputs[0], rows=2)
    with pytest.raises(ValueError, match="1 rows, but its record says 2"):
        list(Dataset(tmp_path).batches(wrong, 10))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    commit(tmp_path, "u", ["one"], {})
    (tmp_path / "_units" / "u.json").write_text("{}")
    with pytest.raises(ValueError, match=r"_units/u.json: not a commit record .*; remove it to redo"):
        Dataset(tmp_path).records()


@pytest.mark.parametrize("text", ["[1]", "3", "[" * 100_000, "{", '"' + "x" * 9000])
def test_a_configuration_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    commit(tmp_path, "u", ["one"], {})
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = tmp_path / "_config" / f"{digest[:12]}.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"not a configuration.*; remove it") as caught:
        Dataset(tmp_path).configuration(digest)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500


def test_differences_of_configurations_are_short() -> None:
    line = difference({"a": "x" * 10**5, "b" * 10**5: 1}, {"a": ["y"] * 10**5})
    assert len(line) < 2000
