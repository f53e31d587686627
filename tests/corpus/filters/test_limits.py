"""Files that a setting names and that never end, or hold more than any list: refused by name, before they are read."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import lzma
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.files import load_vocabulary
from bpe.whole import read_whole
from corpus.decontaminate import benchmarks
from corpus.decontaminate.benchmarks import read_examples
from corpus.filters import blocklist, listfiles
from corpus.filters.listfiles import read_lists
from corpus.run.recipe import load_recipe, make_step
from corpus.stage import STAGES, load_stage

SETTINGS = [
    (stage, field.name, isinstance(field.default, tuple))
    for stage in STAGES
    for field in dataclasses.fields(load_stage(stage).config)
    if field.metadata.get("path") and not field.metadata.get("of")
]
MEMBER = 64 << 20
LINES = gzip.compress(b"bad.example\n" * (MEMBER // 12), 1)  # 64 MiB
ZEROS = gzip.compress(bytes(MEMBER), 1)


@pytest.fixture(autouse=True)
def no_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that opens a pipe would wait for ever."""

    def late(number: int, frame: object) -> None:
        raise AssertionError("still reading after a minute")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(place: Path) -> Path:
    path = place / "pipe.txt"
    os.mkfifo(path)
    return path


def zeros(place: Path) -> Path:
    return Path("/dev/zero")


def link_to_zeros(place: Path) -> Path:
    path = place / "zeros.txt"
    path.symlink_to("/dev/zero")
    return path


def huge(place: Path) -> Path:
    path = place / "huge.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no place
    return path


ENDLESS: dict[Callable[[Path], Path], str] = {
    pipe: "is a pipe and no file; save what it gives to a file and name that",
    zeros: "is a device and no file; save what it gives to a file and name that",
    link_to_zeros: "is a device and no file",
    huge: "has 1,099,511,627,776 bytes, more than the",
}


@pytest.mark.parametrize("make", ENDLESS)
@pytest.mark.parametrize(("stage", "setting", "many"), SETTINGS)
def test_every_setting_that_names_a_file(
    tmp_path: Path, make: Callable[[Path], Path], stage: str, setting: str, many: bool
) -> None:
    path = str(make(tmp_path))
    with_it = {"language_file": {"language_tables": True}, "hash_key": {"style": "hash"}}.get(setting, {})
    with pytest.raises(ValueError, match=ENDLESS[make]) as caught:
        make_step(stage, {setting: [path] if many else path, **with_it})
    assert str(caught.value).startswith(setting)
    assert path in str(caught.value)


@pytest.mark.parametrize("make", ENDLESS)
@pytest.mark.parametrize(
    "read",
    [
        lambda path: load_recipe(path),
        lambda path: blocklist.load([str(path)]),
        lambda path: list(read_lists(str(path))),
        lambda path: load_vocabulary(path, "gpt2"),
        lambda path: read_whole(path, 1 << 20),
    ],
    ids=["recipe", "blocklist", "lists", "vocabulary", "whole"],
)
def test_every_reader(tmp_path: Path, make: Callable[[Path], Path], read: Callable[[Path], object]) -> None:
    with pytest.raises(ValueError, match=ENDLESS[make]):
        read(make(tmp_path))


@pytest.mark.parametrize("name", ["domains", "urls", "expressions", "usage", "adult/domains"])
def test_a_pipe_in_a_folder_of_lists(tmp_path: Path, name: str) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/domains").write_text("bad.example\n")
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"list .*{name}: is a pipe and no file"):
        blocklist.load([str(tmp_path)])


@pytest.mark.parametrize("name", ["ranks.tiktoken", "merges.txt"])
def test_a_pipe_in_a_folder_of_a_tokenizer(tmp_path: Path, name: str) -> None:
    from bpe.files import save_vocabulary
    from bpe.train import train

    save_vocabulary(train(["a b c a b c"], 260), tmp_path)
    if name == "merges.txt":
        header = tmp_path / "vocab.json"
        header.write_text(header.read_text().replace('"merges": null', '"merges": 3'))
        (tmp_path / name).unlink(missing_ok=True)
    else:
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: is a pipe and no file"):
        load_vocabulary(tmp_path)


def test_a_pipe_and_a_device_among_benchmarks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mmlu.jsonl")
    with pytest.raises(ValueError, match=r"mmlu\.jsonl: is a pipe and no file"):
        read_examples([str(tmp_path)], [])


@pytest.mark.parametrize("name", ["adult/domains", "adult/usage", "adult/notes", "adult/domains.gz"])
@pytest.mark.parametrize("content", [LINES, ZEROS], ids=["lines", "zeros"])
def test_an_archive_whose_member_inflates_to_2_gb(tmp_path: Path, name: str, content: bytes) -> None:
    size = MEMBER if content is ZEROS else MEMBER // 12 * 12
    bomb = tmp_path / "bomb.tgz"
    info = tarfile.TarInfo(name)
    info.size = 32 * size
    bomb.write_bytes(gzip.compress(info.tobuf()) + content * 32 + gzip.compress(bytes(1024)))
    assert bomb.stat().st_size < 64 << 20
    with pytest.raises(ValueError, match=r"list .*bomb\.tgz: (holds over 1,024 MiB|[\d,]+ bytes inflate to over)"):
        blocklist.load([str(bomb)])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_an_archive_whose_header_is_the_bomb(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """The name of a member is read into memory before any member is known."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, (8 << 30) - 1024
    bomb = tmp_path / "bomb.tgz"
    bomb.write_bytes(pack(info.tobuf() + bytes(40 << 20)))
    with pytest.raises(ValueError, match=r"bomb\.tgz"):
        list(read_lists(str(bomb)))


def test_an_archive_of_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for number in range(20):
            archive.addfile(tarfile.TarInfo(f"{number}/domains"))
    monkeypatch.setattr(listfiles, "_MOST_MEMBERS", 10)
    with pytest.raises(ValueError, match=r"an archive of over 10 files; name only the lists you want"):
        list(read_lists(str(path)))


def test_a_packed_list_and_a_packed_member(tmp_path: Path) -> None:
    plain = tmp_path / "bad.txt.gz"
    plain.write_bytes(LINES * 32)
    with pytest.raises(ValueError, match=r"bad\.txt\.gz: ([\d,]+ bytes inflate to|over 67,108,864 entries)"):
        blocklist.load([str(plain)])
    path = tmp_path / "nested.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("adult/domains.gz")
        info.size = 32 * len(LINES)
        archive.addfile(info, io.BytesIO(LINES * 32))
    with pytest.raises(ValueError, match=r"nested\.tar.*: ([\d,]+ bytes inflate to|over 67,108,864 entries)"):
        blocklist.load([str(path)])


def test_lists_of_too_many_bytes_entries_or_expressions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "domains").write_text("".join(f"h{number}.example\n" for number in range(1000)))
    (folder / "expressions").write_text("".join(f"bad{number}\n" for number in range(1000)))
    monkeypatch.setattr(listfiles, "_MOST_BYTES", 19_000)
    with pytest.raises(ValueError, match="name only the categories you want"):
        blocklist.load([str(folder)])
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for limit, message in {"_MAX_ENTRIES": "over 500 entries", "_MAX_EXPRESSIONS": "over 500 regular expr"}.items():
        with monkeypatch.context() as patched:
            patched.setattr(blocklist, limit, 500)
            with pytest.raises(ValueError, match=message):
                blocklist.load([str(folder)])


@pytest.mark.parametrize("lines", [1 << 20, pytest.param(benchmarks._MOST_LINES, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["bad.txt.gz", "bad.jsonl.gz"])
def test_a_packed_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, lines: int) -> None:
    monkeypatch.setattr(benchmarks, "_MOST_LINES", lines)
    (tmp_path / name).write_bytes(gzip.compress(b"\n" * (2 * lines)) * 4)
    with pytest.raises(ValueError, match=rf"{name}: (over {lines:,} lines|[\d,]+ bytes inflate to)"):
        read_examples([str(tmp_path / name)], [])


def test_benchmarks_of_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / "long.txt"
    long.write_text("a" * 2000)
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"text": ["the same text " * 100] * 1000}), table)
    lines = tmp_path / "lines.txt"
    lines.write_text("a b c\n" * 5000)
    monkeypatch.setattr(benchmarks, "_LONGEST", 1000)
    with pytest.raises(ValueError, match=r"long\.txt, line 1: over 1,000 characters; give an example a line"):
        read_examples([str(long)], [])
    monkeypatch.setattr(benchmarks, "_MOST_BYTES", 29_000)
    for file, message in ((table, "holds over 0 MiB"), (lines, "has 30,000 bytes, more than the 29,000")):
        with pytest.raises(ValueError, match=message):
            read_examples([str(file)], [])


def test_a_benchmark_nested_too_deep_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.jsonl, line 1: nested too deeply"):
        read_examples([str(tmp_path / "deep.jsonl")], [])


def test_lists_of_the_usual_kinds_are_read_as_before(tmp_path: Path) -> None:
    for kind in ("gz", "bz2", "xz", ""):
        path = tmp_path / f"lists.tar.{kind}"
        with tarfile.open(path, f"w:{kind}") as archive:
            for name, data in {
                "adult/domains": b"bad.example\n",
                "good/usage": b"white",
                "good/domains": b"x.org",
            }.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        assert [(piece.category, piece.data) for piece in read_lists(str(path))] == [("adult", b"bad.example\n")]
