"""`corpus verify` and `corpus gc`: damage of any kind is found, and only files that no record names are removed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bpe.checksums import json_checksum
from corpus.schema import DOCUMENTS, DROPPED
from corpus.store.open import storage
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from corpus.store.verify import Orphan, datasets_below, orphans, remove, verify
from tests.support.command import answer, inside
from tests.support.object_server import BUCKET, object_server


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two units, each with a document and two drops."""
    folder = tmp_path_factory.mktemp("whole") / "data set"
    dataset = Dataset(folder)
    digest = dataset.begin({})
    for unit in ("a", "b"):
        with dataset.storage.scratch() as scratch:
            kept, dropped = ShardWriter(scratch / "k", DOCUMENTS), ShardWriter(scratch / "d", DROPPED)
            kept.write(pa.RecordBatch.from_pylist([{"text": f"kept {unit}", "id": unit}], schema=DOCUMENTS))
            rows = [{"id": unit, "rule": rule} for rule in ("s.x", "s.y")]
            dropped.write(pa.RecordBatch.from_pylist(rows, schema=DROPPED))
            for writer in (kept, dropped):
                writer.close()
            outputs = (kept.output(unit, "documents"), dropped.output(unit, "dropped"))
            counts = ({"stage": "s", "read": 3, "kept": 1, "dropped": {"s.x": 1, "s.y": 1}},)
            dataset.commit(CommitRecord(unit, "s", digest, (), outputs, counts), [kept.path, dropped.path])
    return folder


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Dataset:
    return Dataset(shutil.copytree(whole, tmp_path / "copy"))


def test_a_sound_dataset_has_no_problems(dataset: Dataset) -> None:
    result = verify(dataset)
    assert (result.units, result.files, result.problems) == (2, 4, ())
    assert result.bytes == sum(path.stat().st_size for path in Path(dataset.path).rglob("*.parquet"))


@given(st.integers(0, 3), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@example(0, 0.30078125, 128)  # in a column's name
def test_one_changed_byte_is_found(whole: Path, number: int, place: float, change: int) -> None:
    path = sorted(whole.rglob("*.parquet"))[number]
    data = path.read_bytes()
    position = int(place * len(data))
    try:
        path.write_bytes(data[:position] + bytes([data[position] ^ change]) + data[position + 1 :])
        assert any(path.name in problem for problem in verify(Dataset(whole)).problems)
    finally:
        path.write_bytes(data)


def test_missing_cut_and_swapped_files(dataset: Dataset) -> None:
    first, second, third, _ = sorted(Path(dataset.path).rglob("*.parquet"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    third.write_bytes(sorted(Path(dataset.path).rglob("*.parquet"))[-1].read_bytes())
    problems = "\n".join(verify(dataset).problems)
    assert f"{first.name}: is missing" in problems
    assert f"{second.name}: has {second.stat().st_size} bytes" in problems
    assert f"{third.name}: its sha256 is not the one in its record" in problems


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ([{"stage": "s", "read": 4, "kept": 1, "dropped": {"s.x": 1, "s.y": 1}}], "4 read is not 1 kept + 2 dropped"),
        (
            [
                {"stage": "r", "read": 5, "kept": 5, "dropped": {}},
                {"stage": "s", "read": 3, "kept": 1, "dropped": {"s.x": 1, "s.y": 1}},
            ],
            "r kept 5, but s read 3",
        ),
        ([{"stage": "s", "read": 3, "kept": 1, "dropped": {"s.x": 2}}], "holds other drops than its record counts"),
    ],
)
def test_accounts_that_do_not_add_up(dataset: Dataset, counts: list[dict[str, object]], problem: str) -> None:
    path = Path(dataset.path, "_units", "a.json")
    record = CommitRecord.from_json(path.read_bytes(), path.name)
    path.write_bytes(dataclasses.replace(record, counts=tuple(counts)).to_json())
    assert any(problem in found for found in verify(dataset).problems)


def test_a_damaged_record(dataset: Dataset) -> None:
    Path(dataset.path, "_units", "a.json").write_text("{")
    (problem,) = verify(dataset).problems
    assert "a.json: not a commit record" in problem


def test_a_dataset_of_an_earlier_version(dataset: Dataset) -> None:
    for path in Path(dataset.path, "_units").iterdir():
        record = dataclasses.replace(CommitRecord.from_json(path.read_bytes(), path.name), format=1)
        path.write_bytes(record.to_json())
        assert b"checksum" not in path.read_bytes()
    for shard in Path(dataset.path).rglob("*.parquet"):
        pq.write_table(pq.read_table(shard), shard)
    assert [row["text"] for row in dataset.rows()] == ["kept a", "kept b"]
    assert verify(dataset).without_checksums == 2
    said = inside("corpus", "verify", dataset.path, code=1).stderr
    assert "2 units of an earlier version have no checksums: only this command finds damage in them" in said


DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"unit": "../../../evil/owned"}, r"unit '../../../evil/owned' is not the name of the file"),
        ({"unit": "b"}, "unit 'b' is not the name of the file"),
        ({"format": 3}, "format 3, this version reads 1 and 2; update the toolkit"),
        ({"format": "2"}, "format '2', this version reads 1 and 2"),
        ({"config": "../../x"}, "config '../../x' is no hash"),
        ({"config": "x\0"}, r"config 'x\x00' is no hash"),
        # What the manifest could not hold.
        ({"config": "\ud800"}, r"config is '\ud800', should be a string"),
        ({"inputs": [{"path": "\ud800", "size": 1, "etag": "0"}]}, r"path is '\ud800', should be a string"),
        ({"inputs": [{"path": "x", "size": 2**63, "etag": "0"}]}, "size is 9223372036854775808, should be a number"),
        ({"seconds": 10**400}, "seconds is 1000"),
        ({"attempt": 2**31}, "attempt is 2147483648, should be a number below 2147483648"),
        ({"counts": [{"stage": "s", "read": 2**70, "kept": 0, "dropped": {}}]}, "read is 1180591620717411303424 in an"),
        ({"counts": [{"stage": "s", "read": 1, "kept": 0, "dropped": {"\ud800": 1}}]}, "has a text that is no Unicode"),
        ({"counts": [{"stage": "s", "read": 1, "kept": 1, "dropped": {}, "x": DEEP}]}, "an account is nested too deep"),
        ({"attempt": "one"}, "attempt is 'one', should be a number from 0"),
        ({"stage": 5}, "stage is 5, should be a string"),
        ({"counts": [5]}, "not a commit record"),
        ({"counts": [{"stage": "s", "read": -1, "kept": 0, "dropped": {}}]}, "read is -1 in an account"),
        ({"counts": [{"stage": "s", "read": 1, "kept": 0, "dropped": {"x": "1"}}]}, "x is '1' in an account"),
        ({"outputs": {}, "inputs": 3}, "not a commit record"),
        *(
            ({"outputs": [{"path": path, "kind": "documents", "rows": 1, "bytes": 1, "sha256": "0"}]}, "lies outside")
            for path in ("../x", "/etc/passwd", "data/../../x", "data//x", "data/./x", "", "data/x\0")
        ),
        ({"outputs": [{"path": "data/x", "kind": "../x", "rows": 1, "bytes": 1, "sha256": "0"}]}, "lies outside"),
        ({"outputs": [{"path": "data/x", "kind": "x", "rows": 1.5, "bytes": 1, "sha256": "0"}]}, "rows is 1.5"),
    ],
)
def test_a_record_of_somebody_else_is_refused(dataset: Dataset, changes: dict[str, Any], problem: str) -> None:
    path = Path(dataset.path, "_units", "a.json")
    fields = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "checksum"} | changes
    path.write_text(json.dumps(fields | {"checksum": json_checksum(fields)}))
    assert any(f"{path}: not a commit record" in found and problem in found for found in verify(dataset).problems)
    for read in (dataset.records, lambda: dataset.record("a"), lambda: list(dataset.stream())):
        with pytest.raises(ValueError, match=re.escape(problem)):
            read()


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", '"x"', "5", '{"format": 2}', '{"format": 1}', ""])
def test_json_that_is_no_record_is_refused(dataset: Dataset, text: str) -> None:
    Path(dataset.path, "_units", "a.json").write_text(text)
    (problem,) = verify(dataset).problems
    assert "a.json: not a commit record" in problem


def test_a_configuration_that_was_changed(dataset: Dataset) -> None:
    (path,) = Path(dataset.path, "_config").iterdir()
    path.write_text('{"other": 1}\n')
    (problem,) = verify(dataset).problems
    assert problem == f"{path}: not the configuration that its name stands for; remove it"


def test_orphans_are_what_no_record_names_and_is_old_enough(dataset: Dataset) -> None:
    zombie = Path(dataset.path, "data", "a-000000000000.parquet")
    zombie.write_bytes(b"PAR1")
    assert orphans(dataset, 60) == []
    os.utime(zombie, (1, 1))
    assert orphans(dataset, 60) == [Orphan(f"data/{zombie.name}", 4)]


def test_an_orphan_that_was_adopted_meanwhile_stays(dataset: Dataset) -> None:
    path = dataset.files("documents")[0].path
    assert not remove(dataset, Orphan(path, 4))
    assert Path(dataset.path, path).exists()


def test_where_datasets_are(whole: Path, tmp_path: Path) -> None:
    for folder in ("b", "a/data", "a", "a/c", "a/_dedup/bands", "a/_tmp/x"):
        Dataset(tmp_path / folder).begin({})
    shutil.copytree(whole, tmp_path / "data" / "d")
    found = [str(Path(dataset.path).relative_to(tmp_path)) for dataset in datasets_below(f"{tmp_path}/")]
    assert sorted(found) == ["a", "a/_dedup/bands", "a/c", "b", "data/d"]
    (alone,) = datasets_below(str(tmp_path / "b"))
    assert alone.path == str(tmp_path / "b")


def test_a_manifest_that_differs_from_the_records(dataset: Dataset) -> None:
    dataset.compact()
    assert verify(dataset).problems == ()
    path = Path(dataset.path, "_manifest.parquet")
    rows = pq.read_table(path)
    changed = rows.set_column(rows.schema.get_field_index("attempt"), "attempt", pa.array([1, 7], pa.int32()))
    pq.write_table(changed, path)
    assert verify(dataset).problems == (f"{dataset.path}/_manifest.parquet differs from _units/b.json; remove it",)
    path.write_bytes(path.read_bytes()[:-10])
    (problem,) = verify(dataset).problems
    assert f"{path}: damaged" in problem


def test_a_dataset_in_an_object_store(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        place = storage(f"s3://{BUCKET}/out/clean")
        for path in whole.rglob("*"):
            if path.is_file():
                place.create(path.relative_to(whole).as_posix(), path.read_bytes())
        (dataset,) = datasets_below(f"s3://{BUCKET}/out/")
        assert dataset.path == f"s3://{BUCKET}/out/clean"
        result = verify(dataset)
        assert (result.units, result.files, result.problems) == (2, 4, ())
        assert result.bytes == verify(Dataset(whole)).bytes
        key = dataset.files("documents")[0].path
        data = place.read(key) or b""
        place.replace(key, data[:50] + bytes([data[50] ^ 1]) + data[51:])
        place.create("data/a-000000000000.parquet", b"PAR1")
        place.remove(dataset.files("dropped")[0].path)
        problems = "\n".join(verify(dataset).problems)
        assert f"{dataset.path}/{key}: its sha256 is not the one in its record" in problems
        assert f"{dataset.path}/{dataset.files('dropped')[0].path}: is missing" in problems
        said = inside("corpus", "verify", dataset.path, code=1).stderr
        assert said.startswith("".join(f"verify: {problem}\n" for problem in problems.split("\n")))
        assert inside("corpus", "gc", dataset.path).stderr.startswith("gc: 0 files")
        assert answer("corpus", "gc", dataset.path, "--min-age", "0")["files"] == [
            f"{dataset.path}/data/a-000000000000.parquet"
        ]
        assert orphans(dataset, 0) == []


def test_the_commands(dataset: Dataset, tmp_path: Path) -> None:
    zombie = Path(dataset.path, "dropped", "a-000000000000.parquet")
    zombie.write_bytes(b"PAR1")
    os.utime(zombie, (1, 1))
    assert answer("corpus", "verify", tmp_path)["problems"] == []
    assert answer("corpus", "gc", tmp_path, "--dry-run")["files"] == [str(zombie)]
    assert zombie.exists()
    inside("corpus", "gc", tmp_path)
    assert not zombie.exists()
    assert answer("corpus", "verify", tmp_path)["files"] == 4
    shard = next(Path(dataset.path, "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert f"{shard.name}: its sha256" in inside("corpus", "verify", tmp_path, code=1).stderr
    with pytest.raises(ValueError, match="holds no committed units"):
        datasets_below(str(tmp_path / "nowhere"))
