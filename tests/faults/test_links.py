"""Links in an output folder, and keys that lead out of it: no file behind a link or outside is touched.

Every test has a folder `outside` with files that look like leftovers of ours, old enough to be removed. They must be
there afterwards, byte for byte, and nothing beside them.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from corpus.store.local import LinkError, LocalStorage, check_below
from corpus.store.shards import Dataset
from corpus.store.verify import datasets_below, orphans
from tests.support.command import commit_documents, inside

FOLDERS = ("data", "dropped", "audit", "_units", "_config", "_tmp")
TEXT = "The ship came home to the old harbour at dawn, and the crew went ashore to see their families again."


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below `folder` with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of a user's own files, two days old, under names that ours could have."""
    folder = tmp_path / "outside"
    for name in (f"{socket.gethostname()}-abc/precious", ".new-abc/precious", "u-0123456789ab.parquet", "u.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    (folder / f"{socket.gethostname()}-empty").mkdir()
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 2e5,) * 2)
    return folder


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    commit_documents(tmp_path / "docs", [TEXT])
    return tmp_path / "docs"


def put_link(path: Path, target: Path) -> None:
    """A link at `path`; what is there already goes to another place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rename(path.with_name(f"{path.name}-before"))
    path.symlink_to(target)


@pytest.mark.parametrize("name", FOLDERS)
def test_gc_removes_nothing_behind_a_link(name: str, docs: Path, outside: Path) -> None:
    put_link(docs / name, outside)
    before = contents(outside)
    told = inside("corpus", "gc", docs, "--min-age", "0", code=0 if name == "_config" else 1).stderr
    assert contents(outside) == before
    assert name == "_config" or f"{docs / name}: is a link" in told


def test_gc_goes_on_with_the_other_datasets(tmp_path: Path, outside: Path) -> None:
    for name in ("labels", "unique"):
        commit_documents(tmp_path / "out" / name, [TEXT])
        (tmp_path / "out" / name / "data" / "left-over.parquet").write_text("x")
    put_link(tmp_path / "out" / "labels" / "dropped", outside)
    put_link(tmp_path / "out" / "elsewhere", outside)
    before = contents(outside)
    told = inside("corpus", "gc", tmp_path / "out", "--min-age", "0", code=1).stderr
    assert contents(outside) == before
    assert (tmp_path / "out" / "labels" / "data" / "left-over.parquet").exists()
    assert not (tmp_path / "out" / "unique" / "data" / "left-over.parquet").exists()
    assert "gc: 1 file" in told


def test_links_to_files_are_removed_and_the_files_stay(docs: Path, outside: Path) -> None:
    put_link(docs / "data" / "left-over.parquet", outside / "u.json")
    inside("corpus", "gc", docs, "--min-age", "0")
    assert (outside / "u.json").read_text() == "precious"


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("name", [*FOLDERS[:2], *FOLDERS[3:]])
def test_a_command_writes_nothing_through_a_link(
    name: str, dangling: bool, docs: Path, outside: Path, tmp_path: Path
) -> None:
    target = outside / "nothing" if dangling else outside
    put_link(tmp_path / "out" / name, target)
    before = contents(outside)
    told = inside("corpus", "filter", docs, "-o", tmp_path / "out", "--workers", "1", code=1).stderr
    assert contents(outside) == before
    assert f"{tmp_path / 'out' / name}: is a link" in told.splitlines()[-1]


@pytest.mark.parametrize("name", ["clean", "_tmp", "recipe.toml"])
def test_a_run_writes_nothing_through_a_link(name: str, docs: Path, outside: Path, tmp_path: Path) -> None:
    put_link(tmp_path / "out" / name, outside / "nothing" if "." in name else outside)
    (tmp_path / "mine.toml").write_text("[gopher_quality]\nmin_words = 5\n")
    before = contents(outside)
    told = inside(
        "corpus", "run", tmp_path / "mine.toml", "--input", docs, "-o", tmp_path / "out", "--workers", "1", code=1
    ).stderr
    assert contents(outside) == before
    assert f"{tmp_path / 'out' / name}: is a link" in told.splitlines()[-1]


def test_folders_of_intermediate_results(docs: Path, outside: Path, tmp_path: Path) -> None:
    put_link(tmp_path / "out" / "_dedup", outside)
    before = contents(outside)
    told = inside("corpus", "dedup", docs, "-o", tmp_path / "out", "--workers", "1", code=1).stderr
    assert contents(outside) == before
    assert f"{tmp_path / 'out/_dedup'}: is a link" in told.splitlines()[-1]


def test_an_output_may_be_a_link_that_the_user_names(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    inside("corpus", "dedup", docs, "-o", tmp_path / "out", "--workers", "1")
    assert Dataset(tmp_path / "disk").units() == ["u"]
    inside("corpus", "gc", tmp_path / "out")
    inside("corpus", "verify", tmp_path / "out")


def test_shards_are_read_through_links(docs: Path, tmp_path: Path) -> None:
    """A download cache keeps the files of a dataset elsewhere, and links to them."""
    (shard,) = (docs / "data").iterdir()
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    assert [row["text"] for row in Dataset(docs).rows(columns=["text"])] == [TEXT]
    inside("corpus", "verify", docs)


@pytest.mark.parametrize("key", ["../evil", "data/../../evil", "/evil", "data/.."])
def test_keys_stay_inside(key: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "local").write_text("x")
    (tmp_path / "evil").write_text("precious")
    place = LocalStorage(tmp_path / "out")
    for attempt in (
        lambda: place.publish(tmp_path / "local", key),
        lambda: place.create(key, b"x"),
        lambda: place.replace(key, b"x"),
        lambda: place.remove(key),
        lambda: place.make_folder(key),
        lambda: place.entries(key),
        lambda: place.folders(key),
    ):
        with pytest.raises(ValueError, match="leads out of"):
            attempt()
    assert contents(tmp_path) == {"evil": b"precious", "local": b"x", "out": None}


def test_no_key_is_written_through_a_link(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "local").write_text("x")
    place, before = LocalStorage(tmp_path / "out"), contents(outside)
    put_link(tmp_path / "out" / "data" / "taken", outside / "nothing")
    put_link(tmp_path / "out" / "deep", outside)
    for attempt in (
        lambda: place.publish(tmp_path / "local", "data/taken"),
        lambda: place.create("data/taken", b"x"),
        lambda: place.publish(tmp_path / "local", "deep/u-0123456789ab.parquet"),
        lambda: place.create("deep/x", b"x"),
        lambda: place.replace("deep/u.json", b"x"),
        lambda: place.remove("deep/u.json"),
        lambda: place.make_folder("deep/er"),
        lambda: place.entries("deep"),
        lambda: place.folders("deep/er"),
    ):
        with pytest.raises(LinkError, match=r"out/(data/taken|deep): is a link"):
            attempt()
    place.replace("data/taken", b"ours")  # a link itself may be replaced
    assert not (tmp_path / "out" / "data" / "taken").is_symlink()
    assert contents(outside) == before


def test_a_link_among_the_records_hides_no_unit(docs: Path, outside: Path) -> None:
    """Without its records, every shard would be an orphan."""
    put_link(docs / "_units", outside)
    with pytest.raises(LinkError, match="_units: is a link"):
        orphans(Dataset(docs), -10)


def test_below(tmp_path: Path, outside: Path) -> None:
    put_link(tmp_path / "out", outside)
    check_below(tmp_path / "out", tmp_path / "out")
    check_below(tmp_path / "out", tmp_path / "index")
    put_link(outside / "clean", tmp_path)
    for top in (tmp_path / "out", f"file://{tmp_path}/out"):
        with pytest.raises(LinkError, match="out/clean: is a link"):
            check_below(top, f"{top}/clean/data")
    check_below("s3://bucket/out", "s3://bucket/out/clean")


def test_linked_datasets_are_not_looked_for(docs: Path, tmp_path: Path) -> None:
    put_link(tmp_path / "out" / "linked", docs)
    with pytest.raises(ValueError, match="holds no committed units"):
        datasets_below(str(tmp_path / "out"))


def test_a_linked_part_of_a_download(outside: Path, tmp_path: Path) -> None:
    from bpe.whole import no_link

    put_link(tmp_path / "a.part", outside / "u.json")
    for mode in ("ab", "wb", "a"):
        with pytest.raises(OSError, match=r"a\.part: is a link"):
            open(tmp_path / "a.part", mode, opener=no_link)  # noqa: SIM115 - it does not open
    assert (outside / "u.json").read_text() == "precious"


def test_the_folders_of_a_training_run(outside: Path, tmp_path: Path) -> None:
    import bpe
    from model import write_tokens
    from model.tokenizer import adopt_tokenizer

    texts = ["low lower", "new newer"]
    tokenizer = bpe.train_tokenizer(texts, 260)
    for name in ("tokens", "tokenizer"):
        put_link(tmp_path / name / name, outside)
        before = contents(outside)
        with pytest.raises(LinkError, match=f"{name}/{name}: is a link"):
            write_tokens(texts, tokenizer, tmp_path / name)
        assert contents(outside) == before
    tokenizer.save(tmp_path / "ours")
    with pytest.raises(LinkError, match="tokenizer/tokenizer: is a link"):
        adopt_tokenizer(tmp_path / "tokenizer", tmp_path / "ours", tokenizer.vocabulary.hash)
    assert contents(outside) == before
    put_link(tmp_path / "run" / "tokenizer", tmp_path / "ours")  # it is read, and nothing has to be written
    adopt_tokenizer(tmp_path / "run", tmp_path / "ours", tokenizer.vocabulary.hash)
