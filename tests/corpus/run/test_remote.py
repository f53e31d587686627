"""Settings may name models and lists in any storage; each machine works with a local copy, whose content is hashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.run.recipe import describe, make_step
from corpus.run.remote import on_this_machine
from corpus.store.open import storage
from tests.support.command import command, commit_rows
from tests.support.object_server import BUCKET, ObjectServer, object_server

ROOT = f"s3://{BUCKET}/lists"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectServer]:
    with object_server() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield running


def test_lists_in_a_bucket(server: ObjectServer, tmp_path: Path) -> None:
    place = storage(ROOT)
    place.replace("blocked.txt", b"bad.example\n")
    place.replace("adult/domains", b"worse.example\n")
    (tmp_path / "blocked.txt").write_bytes(b"bad.example\n")
    step = make_step("urls", {"blocklist": [f"{ROOT}/blocked.txt", f"{ROOT}/adult"]})
    assert step.config.blocklist == (f"{ROOT}/blocked.txt", f"{ROOT}/adult")
    local = on_this_machine(step.config).blocklist
    assert [Path(path).name for path in local] == ["blocked.txt", "adult"]
    assert Path(local[1], "domains").read_bytes() == b"worse.example\n"
    asked = len(server.requests)
    assert on_this_machine(step.config).blocklist == local
    assert not [request for request in server.requests[asked:] if request.range or request.path.endswith("domains")]
    remote = make_step("urls", {"blocklist": [f"{ROOT}/blocked.txt"]})
    here = make_step("urls", {"blocklist": [str(tmp_path / "blocked.txt")]})
    assert describe([remote]) == describe([here])
    place.replace("blocked.txt", b"other.example\n")
    assert describe([remote]) != describe([here])


def test_mistakes_in_a_line(server: ObjectServer) -> None:
    for address, line in (
        (f"{ROOT}/nothing.txt", f"blocklist: {ROOT}/nothing.txt: no such object"),
        ("s3://nowhere/nothing.txt", "blocklist: s3://nowhere/nothing.txt: there is no such bucket"),
    ):
        with pytest.raises(ValueError, match=line):
            make_step("urls", {"blocklist": [address]})


def test_a_command_with_a_key_in_a_bucket(server: ObjectServer, tmp_path: Path) -> None:
    storage(ROOT).replace("key", bytes(range(32)))
    (tmp_path / "key").write_bytes(bytes(range(32)))
    commit_rows(tmp_path / "docs", [{"id": "1", "text": "Write to jane.doe@mail.example.org today."}])
    for key, output in ((f"{ROOT}/key", "remote"), (str(tmp_path / "key"), "local")):
        command("corpus", "scrub", tmp_path / "docs", "-o", tmp_path / output, "--style", "hash", "--hash-key", key)
    digests = [next((tmp_path / output / "data").iterdir()).read_bytes() for output in ("remote", "local")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "line",
    [
        ("corpus", "sample", "-o", "s3://bucket/x", "--pages", "5"),
        ("corpus", "fetch", "CC-MAIN-2026-43", "-o", "gs://bucket/x"),
        ("corpus", "optout", "a.warc.gz", "-o", "s3://bucket/x.arrow"),
        ("corpus", "classify", "train", "--positive", "a.txt", "--negative", "b.txt", "-o", "s3://bucket/m.bin"),
        ("corpus", "filter", "docs", "-o", "https://host.example/x"),
        ("corpus", "filter", "docs", "-o", "ftp://host.example/x"),
        ("corpus", "filter", "docs", "-o", "hf://datasets/me/mine"),
        ("bpe", "train", "a.txt", "-o", "s3://bucket/x", "--vocab-size", "300"),
        ("bpe", "export", "x", "-o", "az://bucket/x", "--to", "hf"),
    ],
)
def test_addresses_where_nothing_is_written(line: tuple[str, ...], tmp_path: Path) -> None:
    said = command(*line, code=2, cwd=tmp_path).stderr
    address = line[line.index("-o") + 1]
    assert f"{address}: " in said
    assert list(tmp_path.iterdir()) == []
