"""A file is written whole or not at all, also when the writer fails or is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bpe.whole import put_in_place, whole, write_whole


def test_a_file_appears_whole_and_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    for data in (b"one", b"two"):
        write_whole(target, data)
        assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
        assert target.read_bytes() == data


def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_bytes(b"before")

    def interrupted() -> None:
        with whole(target) as partial:
            partial.write_bytes(b"half")
            assert partial.parent == tmp_path
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(FileNotFoundError, match=r"directory: '[^']*/file\.txt'$"), whole(target):
        pass  # the body made no file
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert target.read_bytes() == b"before"


def test_a_folder_appears_whole_and_replaces_only_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()

    def write(name: str) -> None:
        with whole(target) as partial:
            partial.mkdir()
            (partial / name).write_bytes(b"x")

    write("a")
    assert [path.name for path in target.iterdir()] == ["a"]
    with pytest.raises(OSError, match="not empty"):
        write("b")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "a"]


def test_a_kill_leaves_one_file_with_a_clear_name(tmp_path: Path) -> None:
    script = "import os, pathlib, sys; from bpe.whole import whole\n"
    script += "with whole(pathlib.Path(sys.argv[1])) as partial: partial.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.match(".file.txt.*.partial")


def test_publishing_a_file_that_was_made_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"x")
    put_in_place(tmp_path / "made", tmp_path / "file.txt")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file.txt", b"x")]
