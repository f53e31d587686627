"""Publishing: what goes to a folder, an object store and a stub of the Hub, what is not sent twice, what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.export import hub
from corpus.export.publish import items_of, publish
from corpus.export.source import find_source
from corpus.export.write import Plan, export
from corpus.store.card import dataset_card
from corpus.store.local import LocalStorage
from corpus.store.shards import Dataset
from tests.support.command import command, commit_rows
from tests.support.exports import checked, contents, rows
from tests.support.hub_upload import HubUpload, hub_upload
from tests.support.object_server import object_server

ADDRESS = "hf://datasets/me/corpus"


def quiet(line: str) -> None:
    """Nobody listens."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two units of clean documents, and what no reader needs."""
    out = tmp_path / "out"
    for unit, first in (("a", 0), ("b", 100)):
        commit_rows(out / "clean", rows(first, 100), unit)
    (out / "recipe.toml").write_text("[gopher_quality]\n")
    (out / "clean/README.md").write_text(dataset_card("documents", dropped=True))
    for name in ("dropped", "audit", "_tracebacks"):
        (out / "clean" / name).mkdir()
        (out / "clean" / name / "x.parquet").write_bytes(b"x")
    return out


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """An export of four files."""
    source = find_source(str(run), ("documents",))
    size = sum(shard.bytes for shard in source.shards)
    export(source, Plan("parquet", "Mine", "odc-by", file_size=size // 4 + 1), str(tmp_path / "hf"), quiet)
    return tmp_path / "hf"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubUpload]:
    with hub_upload() as running:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # other tests forbid the network
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


# ---- Storages ----


def test_an_export_is_copied_whole_and_only_once(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "there/deep"
    first = publish(items_of(str(folder)), str(target), quiet)
    assert contents(target) == contents(folder)
    checked(target)
    assert (first.sent, first.before) == (len(contents(folder)), 0)
    again = publish(items_of(str(folder)), str(target), quiet)
    assert (again.sent, again.bytes, again.before) == (0, 0, first.sent)
    for path in folder.rglob("*.parquet"):
        assert path.stat().st_nlink == 1  # a file of its own: whoever writes into one does not change the other


def test_a_stopped_call_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send, calls = LocalStorage.publish, []

    def stopped(self: LocalStorage, local: Path, key: str) -> None:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(key)
        send(self, local, key)

    monkeypatch.setattr(LocalStorage, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        publish(items_of(str(folder)), str(tmp_path / "there"), quiet)
    monkeypatch.undo()
    assert publish(items_of(str(folder)), str(tmp_path / "there"), quiet).before == 2
    assert contents(tmp_path / "there") == contents(folder)


def test_of_a_run_go_the_documents_that_our_tools_still_read(run: Path, tmp_path: Path) -> None:
    publish(items_of(str(run)), str(tmp_path / "there"), quiet)
    names = {name.split("/")[0] for name in contents(tmp_path / "there")}
    assert names == {"data", "_units", "_config", "README.md", "recipe.toml"}
    assert list(Dataset(tmp_path / "there").rows()) == list(Dataset(run / "clean").rows())
    assert (tmp_path / "there/README.md").read_text() == dataset_card("documents", dropped=False)
    with_dropped = {item.key: item for item in items_of(str(run / "clean"), dropped=True)}
    assert with_dropped["README.md"].content == dataset_card("documents", dropped=True).encode()


def test_a_file_that_differs_is_refused(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    publish(items_of(str(folder)), str(target), quiet)
    path = next((target / "data").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"parquet: is there with other content; remove it, or publish"):
        publish(items_of(str(folder)), str(target), quiet)
    path = next((folder / "data").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"parquet: its sha256 is not the one in its record or in SHA256SUMS"):
        publish(items_of(str(folder)), str(tmp_path / "other"), quiet)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="this export is not finished; give its corpus export command again"):
        items_of(str(folder))
    with pytest.raises(ValueError, match="holds no export, no dataset and no run"):
        items_of(str(tmp_path))


def test_to_and_from_an_object_store(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        source = find_source(str(run), ("documents",))
        export(source, Plan("dolma", "Mine"), "s3://bucket/hf", quiet)
        export(source, Plan("dolma", "Mine"), str(tmp_path / "local"), quiet)
        publish(items_of("s3://bucket/hf"), str(tmp_path / "back"), quiet)
        assert contents(tmp_path / "back") == contents(tmp_path / "local")
        first = publish(items_of(str(run)), "s3://bucket/run", quiet)
        assert first.sent == 7
        assert publish(items_of(str(run)), "s3://bucket/run", quiet)._asdict() == {"sent": 0, "bytes": 0, "before": 7}
        assert list(Dataset("s3://bucket/run").rows()) == list(Dataset(run / "clean").rows())


# ---- The Hub ----


def test_an_export_goes_to_the_hub_once(folder: Path, stub: HubUpload) -> None:
    done = command("corpus", "publish", folder, ADDRESS, "--private", "--json")
    assert stub.files("me/corpus") == contents(folder)
    assert stub.private["me/corpus"]
    summary = json.loads(done.stdout)
    assert {item["path"]: item["sha256"] for item in summary["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents(folder).items()
    }
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("publish:")]
    assert f"publish: {len(summary['files'])} files, " in last
    assert "compared: size and the Hub's checksums" in last
    commits = len(stub.commits)
    again = command("corpus", "publish", folder, ADDRESS)
    assert "publish: 0 files, 0.0 MB sent" in again.stderr
    assert len(stub.commits) == commits


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's
def test_only_what_the_hub_lacks_is_sent(folder: Path, stub: HubUpload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub, "_BATCH", 2)
    items = items_of(str(folder))
    stub.answers["/commit/"] = 503
    with pytest.raises(OSError, match="hf://datasets/me/corpus: the Hub answered with 503"):
        hub.publish(items, ADDRESS, None, False, quiet)
    stub.answers.clear()
    commit, calls = hub._commit, []

    def stopped(*arguments: object) -> None:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(1)
        commit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hub, "_commit", stopped)
    with pytest.raises(KeyboardInterrupt):
        hub.publish(items, ADDRESS, None, False, quiet)
    monkeypatch.setattr(hub, "_commit", commit)
    assert len(stub.files("me/corpus")) == 2
    done = hub.publish(items, ADDRESS, None, False, quiet)
    assert (done.sent, done.before) == (len(items) - 2, 2)
    assert stub.files("me/corpus") == contents(folder)
    stub.branches["me/corpus", "main"]["README.md"] = (b"other", False)
    assert hub.publish(items, ADDRESS, None, False, quiet).sent == 1
    assert stub.files("me/corpus") == contents(folder)


def test_a_branch_and_a_folder_of_a_repository(run: Path, stub: HubUpload) -> None:
    command("corpus", "publish", run, f"{ADDRESS}/v1", "--branch", "next")
    assert stub.files("me/corpus") == {}
    names = {name.rpartition("/")[0] for name in stub.files("me/corpus", "next")}
    assert names == {"v1", "v1/data", "v1/_units", "v1/_config"}
    assert hub.repository(f"{ADDRESS}@next/v1") == hub.Repository("me/corpus", "next", "v1")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the Hub does not know this token; check HF_TOKEN, or call hf auth login"),
        (403, "this token may not write there; make one with the right to write"),
        (404, "no such owner, repository or branch for this token; check the names"),
        (413, "the Hub answered with 413"),
    ],
)
def test_answers_of_the_hub_are_one_line(folder: Path, stub: HubUpload, status: int, message: str) -> None:
    stub.answers["/api/repos/create"] = status
    done = command("corpus", "publish", folder, ADDRESS, code=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"corpus: {ADDRESS}: {message}")


def test_a_failed_upload_and_a_hub_that_is_away_are_one_line(
    folder: Path, stub: HubUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers["^/lfs/"] = 403
    (line,) = command("corpus", "publish", folder, ADDRESS, code=1).stderr.splitlines()
    assert "this token may not write there" in line
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (line,) = command("corpus", "publish", folder, ADDRESS, code=1).stderr.splitlines()
    assert line.endswith("check HF_ENDPOINT and the network")


def test_without_a_token_nothing_is_asked(
    folder: Path, stub: HubUpload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (line,) = command("corpus", "publish", folder, ADDRESS, code=1).stderr.splitlines()
    assert "no token; set HF_TOKEN to a token with the right to write" in line
    assert stub.requests == []
    done = command("corpus", "publish", folder, ADDRESS, "--dry-run")
    assert f"publish: would send {len(contents(folder))} files" in done.stderr
    assert "data/train-00000-of-" in done.stderr
    assert stub.requests == []


def test_without_the_package_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"huggingface_hub is not installed; pip install '.\[hub\]' brings it"):
        hub.publish(items_of(str(folder)), ADDRESS, None, False, quiet)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hf://me/corpus"], "should be hf://datasets/OWNER/NAME"),
        (["hf://datasets/corpus"], "should be hf://datasets/OWNER/NAME"),
        ([f"{ADDRESS}@a", "--branch", "b"], "names the branch a, and --branch names b"),
        (["there", "--private"], "--private: there is no repository of the Hub"),
        (["{folder}"], "is the input too; name another output"),
    ],
)
def test_wrong_targets_are_wrong_usage(folder: Path, arguments: list[str], message: str) -> None:
    words = [argument.format(folder=folder) for argument in arguments]
    (line,) = command("corpus", "publish", folder, *words, code=2).stderr.splitlines()
    assert message in line
