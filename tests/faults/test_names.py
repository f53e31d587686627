"""Inputs and outputs whose names make trouble, and WARC files that cannot be read: one line with the fix."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corpus.inputs import find_source, source_keys
from corpus.store.open import check_name, exists
from corpus.store.shards import Dataset
from tests.support.command import command, commit_documents


@pytest.fixture
def warc(crawl: Path) -> Path:
    return min(crawl.glob("*.warc.gz"))


def complaint(*arguments: str | Path, code: int = 1) -> str:
    """The one line that a command says when it fails before any work."""
    (line,) = command("corpus", *arguments, code=code).stderr.splitlines()
    return line


def test_a_warc_file_whose_name_is_not_utf8(warc: Path, tmp_path: Path) -> None:
    bad = tmp_path / "crawl" / os.fsdecode(b"a\xff.warc.gz")
    bad.parent.mkdir()
    shutil.copy(warc, bad)
    for named in (bad, bad.parent):
        line = complaint("extract", named, "-o", tmp_path / "out")
        assert line.endswith(r"a\udcff.warc.gz: this name is not UTF-8; rename the file or folder")
    assert not (tmp_path / "out").exists()


def test_a_long_name(warc: Path, tmp_path: Path) -> None:
    """250 bytes are a name that a file can have, but not the shard that would be named after it."""
    for name, long in (("n" * 220, False), ("n" * 221, True), ("n" * 242, True), ("\u00e9" * 110, False)):
        path = tmp_path / f"{name}.warc.gz"
        shutil.copy(warc, path)
        source = find_source([str(path)])
        if long:
            with pytest.raises(
                ValueError, match=rf"without the ending has {len(name)} bytes; rename it to 220 at most"
            ):
                source_keys(source)
        else:
            assert source_keys(source) == [name]
    command("corpus", "extract", tmp_path / ("n" * 220 + ".warc.gz"), "-o", tmp_path / "out", "--workers", "1")
    assert Dataset(tmp_path / "out").units() == ["n" * 220]


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    longer = "n" * 256
    assert not exists(tmp_path / longer)
    assert "no such file or directory" in complaint("extract", tmp_path / longer, "-o", tmp_path / "out")
    line = complaint("extract", tmp_path, "-o", tmp_path / longer / "out", code=2)
    assert "a name in it has 256 bytes; use one of at most 255" in line
    check_name(f"s3://bucket/{longer}")
    with pytest.raises(ValueError, match="not UTF-8"):
        check_name(f"s3://bucket/{os.fsdecode(b'o' + bytes([255]))}")


@pytest.mark.parametrize(
    "arguments", [("extract", "{crawl}"), ("sample",), ("fetch", "CC-MAIN-2026-43"), ("mix", "{crawl}=1")]
)
def test_an_output_that_is_a_link_to_nothing_or_a_file(arguments: tuple[str, ...], crawl: Path, tmp_path: Path) -> None:
    if arguments[0] == "mix":
        crawl = tmp_path / "docs"
        commit_documents(crawl, ["A text of five words."])
    named = [part.format(crawl=crawl) for part in arguments]
    (tmp_path / "out").symlink_to(tmp_path / "nothing")
    (tmp_path / "file").write_text("precious")
    line = complaint(*named, "-o", tmp_path / "out", code=2)
    assert f"{tmp_path}/out: is a link to {tmp_path}/nothing, which is not there; remove the link, or make" in line
    assert not (tmp_path / "nothing").exists()
    line = complaint(*named, "-o", tmp_path / "file" / "out", code=2)
    assert f"{tmp_path}/file: Not a directory; a file is where a folder should be; check the path" in line


def test_bpe_and_an_output_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("the ship came home " * 100)
    (tmp_path / "out").symlink_to(tmp_path / "nothing")
    told = command("bpe", "train", tmp_path / "texts.txt", "-o", tmp_path / "out", "--vocab-size", "260", code=1).stderr
    assert f"{tmp_path}/out: is a link to {tmp_path}/nothing, which is not there" in told.splitlines()[-1]


def test_an_unreadable_warc_file_fails_its_own_unit(warc: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crawl"
    folder.mkdir()
    shutil.copy(warc, folder / "good.warc.gz")
    (folder / "bad.warc.gz").symlink_to("/proc/self/mem")  # it can be opened, and reading it fails with EIO
    arguments = ("extract", folder, "-o", tmp_path / "out", "--workers", "1")
    told = command("corpus", *arguments, code=1).stderr.splitlines()
    assert told[-1] == f"extract: FAILED bad: {folder}/bad.warc.gz: cannot be read (Input/output error)"
    assert Dataset(tmp_path / "out").units() == ["good"]
    (folder / "bad.warc.gz").unlink()
    shutil.copy(warc, folder / "bad.warc.gz")
    command("corpus", *arguments)
    assert Dataset(tmp_path / "out").units() == ["bad", "good"]
    (folder / "bad.warc.gz").unlink()
    (folder / "bad.warc.gz").symlink_to("/proc/self/mem")  # what is committed needs it no more
    command("corpus", *arguments)
    record = Dataset(tmp_path / "out").record("bad")
    assert record is not None
    assert record.inputs[0].etag.startswith("sampled-")
