"""What concerns the file system alone: removed folders, missing hard links, files of processes that were killed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpus.store.local import LocalStorage
from corpus.store.open import fingerprint


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, such as FAT."""

    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


def test_a_root_that_was_removed_is_not_made_anew(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path / "out")
    place.make_folder("_config")
    place.create("_config/c.json", b"{}")
    shard = tmp_path / "shard"
    shard.write_bytes(b"x")
    (tmp_path / "out").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="out: was removed while it was being written"):
        place.publish(shard, "data/u-1.parquet")
    with pytest.raises(FileNotFoundError, match="out: was removed while it was being written"):
        place.scratch()
    for key in ("_units/u.json", "recipe.toml"):
        with pytest.raises(FileNotFoundError, match="out: was removed while it was being written"):
            place.create(key, b"{}")
    assert not (tmp_path / "out").exists()


def test_a_record_is_not_written_into_a_folder_that_was_removed(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path)
    with pytest.raises(FileNotFoundError, match="was removed while it was being written"):
        place.create("_units/u.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_many_writers_make_and_remove_the_same_scratch(tmp_path: Path) -> None:
    LocalStorage(tmp_path).make_folder("_units")

    def create(number: int) -> bool:
        return LocalStorage(tmp_path).create(f"_units/{number}.json", b"x")

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(create, range(400)))
    assert not (tmp_path / "_tmp").exists()


def test_a_file_where_the_scratch_should_be(tmp_path: Path) -> None:
    (tmp_path / "_tmp").write_text("in the way")
    with pytest.raises(FileExistsError, match="_tmp"):
        LocalStorage(tmp_path).create("x", b"")


def test_a_folder_that_was_never_locked_is_swept_when_it_is_old(tmp_path: Path) -> None:
    for name in (".new-old", ".new-young"):
        (tmp_path / "_tmp" / name).mkdir(parents=True)
    os.utime(tmp_path / "_tmp" / ".new-old", (1, 1))
    LocalStorage(tmp_path).sweep()
    assert [path.name for path in (tmp_path / "_tmp").iterdir()] == [".new-young"]


def test_scratch_of_the_dead_is_swept_that_of_the_living_is_not(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path)
    script = """
import os, sys
from corpus.store.local import LocalStorage
context = LocalStorage(sys.argv[1]).scratch()
context.__enter__()
os._exit(0)
"""
    with place.scratch() as mine:
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
        assert len(list((tmp_path / "_tmp").iterdir())) == 2
        place.sweep()
        assert list((tmp_path / "_tmp").iterdir()) == [mine]
    assert not (tmp_path / "_tmp").exists()


@pytest.mark.usefixtures("no_links")
def test_publishing_without_hard_links(tmp_path: Path) -> None:
    place = LocalStorage(tmp_path)
    place.make_folder("_units")
    assert place.create("_units/u.json", b"first")
    assert not place.create("_units/u.json", b"second")
    assert place.read("_units/u.json") == b"first"
    assert [path.name for path in (tmp_path / "_units").iterdir()] == ["u.json"]


@pytest.mark.usefixtures("no_links")
def test_a_killed_writer_without_hard_links_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "_units").mkdir()
    (tmp_path / "_units" / "u.json.lock").touch()  # left by a process that was killed
    assert LocalStorage(tmp_path).create("_units/u.json", b"mine")
    assert [path.name for path in (tmp_path / "_units").iterdir()] == ["u.json"]


def test_fingerprints_tell_contents_apart_not_times(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1_000_000)
    before = fingerprint(path)
    os.utime(path, (1, 1))
    assert fingerprint(path) == before
    for position in (0, 500_000, 999_999):
        data = bytearray(b"x" * 1_000_000)
        data[position] = 0
        path.write_bytes(data)
        assert fingerprint(path) != before
