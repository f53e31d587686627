"""Which files are found, what they are called, how they are cut, and in any storage."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from corpus.schema import DOCUMENTS
from corpus.sources.columns import Columns
from corpus.sources.documents import NAME, RULES
from corpus.sources.formats import ENDINGS
from corpus.sources.keys import unit_keys
from corpus.sources.plan import is_source, open_sources
from corpus.store.open import STORAGES
from tests.support.memory_storage import MemoryStorage
from tests.support.paths import REPOSITORY
from tests.support.sources import read_files

LINE = b'{"text": "t"}\n'


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)


def names(*paths: str | Path) -> list[str]:
    return sorted({document["source_file"] for document in read_files([str(path) for path in paths]).documents})


def test_the_ending_tells_what_a_file_is() -> None:
    known = (
        "a.parquet",
        "b.jsonl",
        "c.json.gz",
        "D.JSONL",
        "e.ndjson.zst",
        "f.csv.xz",
        "g.tsv.bz2",
        "h.txt",
        "i.text.gz",
    )
    assert all(map(is_source, known))
    assert not any(map(is_source, ("a.warc.gz", "b.parquet.gz", "c.md", "d", "e.gz", "jsonl")))
    assert len(ENDINGS) == 1 + 7 * 5


def test_a_folder_is_searched_through_all_levels(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl", "b/c/d.jsonl", "b/e.json.gz.txt", "b/lines.json")
    make(
        tmp_path, ".hidden/a.jsonl", "_private/a.jsonl", "b/.x.jsonl", "b/_y.jsonl", "README.txt", "LICENSE.txt", "x.md"
    )
    (tmp_path / "b/card.json").write_text(json.dumps({"features": [{"name": "text"}]}, indent=1))
    (tmp_path / "b/one_line.json").write_text(json.dumps({"features": {"name": "text"}}))
    (tmp_path / "dataset_infos.json").write_bytes(LINE)
    (tmp_path / "SHA256SUMS").write_text("00  a.jsonl")
    assert names(tmp_path) == ["a.jsonl", "b/c/d.jsonl", "b/e.json.gz.txt", "b/lines.json"]


def test_names_are_relative_to_what_was_given(tmp_path: Path) -> None:
    make(tmp_path, "x/data/a.jsonl", "x/data/b.jsonl", "x/other/c.jsonl")
    assert names(tmp_path / "x/data") == ["a.jsonl", "b.jsonl"]
    assert names(f"{tmp_path}/x/data/") == ["a.jsonl", "b.jsonl"]
    assert names(f"{tmp_path}/x/*/*.jsonl") == ["data/a.jsonl", "data/b.jsonl", "other/c.jsonl"]
    assert names(f"{tmp_path}/x/d*") == ["data/a.jsonl", "data/b.jsonl"]
    assert names(tmp_path / "x/data/a.jsonl", tmp_path / "x/other") == ["a.jsonl", "c.jsonl"]
    assert names(tmp_path / "x/data/a.jsonl", tmp_path / "x/data", f"{tmp_path}/x/../x/data/a.jsonl") == [
        "a.jsonl",
        "b.jsonl",
    ]


def test_equal_names_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    make(tmp_path, "x/one/a.jsonl", "x/two/deep/a.jsonl")
    assert names(tmp_path / "x/one", tmp_path / "x/two/deep") == ["one/a.jsonl", "two/deep/a.jsonl"]
    read = read_files([tmp_path / "x/one", tmp_path / "x/two/deep"])
    assert read.ids == ["one/a.jsonl@0", "two/deep/a.jsonl@0"]
    assert list(read.accounts) == ["one_a", "two_deep_a"]


def test_names_that_give_one_key_are_told_apart(tmp_path: Path) -> None:
    make(tmp_path, "a b.jsonl", "a_b.jsonl", "a/b.jsonl", "a_b.ndjson", "c.jsonl")
    keys = open_sources([str(tmp_path)]).keys()
    assert len(keys) == 5
    assert keys[-1] == "c"
    assert all(key.startswith("a_b-") and len(key) == 12 for key in keys[:4])
    assert len(read_files(tmp_path).documents) == 5


def test_keys_are_short_and_unlike() -> None:
    keys = unit_keys({"a.jsonl": 2, "a-00001.jsonl": 1, "ü" * 300 + ".parquet": 1000, "...jsonl": 1})
    flat = [key for of in keys.values() for key in of]
    assert len(set(flat)) == len(flat) == 1004
    assert max(len(key.encode()) for key in flat) <= 220
    assert not set(flat) & {"", ".", ".."}
    assert unit_keys({"a.jsonl": 1}) == {"a.jsonl": ["a"]}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("nothing.jsonl", FileNotFoundError, "nothing.jsonl: no such file"),
        ("*.csv", FileNotFoundError, "csv: no such file"),
        ("x.bin", ValueError, r"x.bin: unknown kind of file; it should end in .parquet, .jsonl"),
        ("empty", ValueError, "empty: holds no files to read: .parquet"),
        ("*.bin", ValueError, r"\*.bin: holds no files to read"),
        ("outer", ValueError, "inner: is an output of corpus among other files; give this folder alone"),
        ("cards", ValueError, "the .json files here hold no lines with a text"),
    ],
)
def test_what_is_not_there_or_no_data_is_named(
    tmp_path: Path, given: str, error: type[Exception], message: str
) -> None:
    make(tmp_path, "x.bin", "outer/inner/_units/a.json", "empty/.a.jsonl")
    make(tmp_path, "cards/a.json")
    (tmp_path / "cards/a.json").write_text("{}")
    with pytest.raises(error, match=message):
        open_sources([f"{tmp_path}/{given}"])


def test_a_json_file_that_was_named_is_read(tmp_path: Path) -> None:
    make(tmp_path, "config.json")
    assert names(tmp_path / "config.json") == ["config.json"]


def test_formats_and_schemas_of_one_folder_come_together(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    (tmp_path / "b.csv").write_text("body,score\nu,1\n")
    (tmp_path / "c.txt").write_text("v")
    read = read_files(tmp_path, Columns(keep=True))
    assert read.texts == ["t", "u", "v"]
    assert read.files.schema.names == [*DOCUMENTS.names, "source_file", "source_offset", "score", "metadata"]
    assert [(d["score"], d["metadata"]) for d in read.documents] == [(None, "{}"), ("1", None), (None, None)]


def test_units_are_the_same_for_every_caller(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}.jsonl" for number in range(40)))
    files = open_sources([str(tmp_path)])
    assert files.units(files.keys()) == open_sources([str(tmp_path)]).units(files.keys())
    assert json.loads(json.dumps(files.config())) == files.config()
    reader = pickle.loads(pickle.dumps(files.reader()))
    assert reader == files.reader()
    assert len(pickle.dumps(files.units(["7"]))) < 1000
    assert [unit.key for unit in files.units(["7", "3"])] == ["7", "3"]


def test_files_in_any_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORAGES, "mem", "tests.support.memory_storage:MemoryStorage")
    MemoryStorage.objects.clear()
    MemoryStorage("mem://bucket").replace("data/x/a.jsonl", LINE)
    MemoryStorage("mem://bucket").replace("data/b.txt", b"u")
    read = read_files("mem://bucket/data")
    assert (read.texts, read.ids) == (["u", "t"], ["b.txt@0", "x/a.jsonl@0"])
    assert read_files("mem://bucket/*/*.txt").ids == ["data/b.txt@0"]
    assert read_files("mem://bucket/data/x/a.jsonl").ids == ["a.jsonl@0"]
    MemoryStorage.objects.clear()


def test_every_rule_is_in_the_guide() -> None:
    guide = (REPOSITORY / "docs/your-data.md").read_text()
    assert all(f"| `{NAME}.{rule.name}` |" in guide for rule in RULES)
    assert {rule.setting for rule in RULES} == {None}


def test_a_column_that_another_takes_the_place_of_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.jsonl")
    (tmp_path / "b.csv").write_text("text,date,crawled\nu,1,2\n")
    read = read_files(tmp_path, Columns(keep=True, rename=(("date", "crawled"),)))
    assert [document["date"] for document in read.documents] == [None, "2"]
    assert read.files.left_out == ["date"]
    (tmp_path / "c.csv").write_text("text,metadata\nu,1\n")
    with pytest.raises(ValueError, match=r"c.csv: has a column 'metadata', where the other fields of JSON lines go"):
        open_sources([str(tmp_path)], Columns(keep=True))
