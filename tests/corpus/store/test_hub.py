"""`hf://` on a stub of the Hub's API. It was not tried on the real Hub."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.store import web
from corpus.store.hub import _listing, _repository
from corpus.store.open import expand, fingerprint, is_dir, local_path, open_path, split, storage
from corpus.store.shards import Dataset
from tests.support.command import answer, command
from tests.support.hub import HubStub, hub_stub

NAME = "datasets/org/name"
ROOT = f"hf://{NAME}"


def parquet(rows: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(rows)]}), out)
    return out.getvalue()


FILES = {
    "README.md": b"# a dataset\n",
    "data/CC-1/a.parquet": parquet(10),
    "data/CC-1/b.parquet": parquet(20),
    "data/CC-2/c.parquet": parquet(30),
    "data/CC-2/notes.txt": b"notes",
    "data/empty.txt": b"",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with hub_stub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # other tests forbid the network
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setattr(web, "_pause", lambda attempt, wait: None)
        running.token = "hf_secret"
        running.lfs = {path for path in FILES if path.endswith(".parquet")}
        running.commit(NAME, FILES)
        _repository.cache_clear()
        _listing.cache_clear()
        yield running


def test_patterns_and_folders(hub: HubStub) -> None:
    hub.page = 2
    assert expand([f"{ROOT}/data/*/*.parquet"]) == [f"{ROOT}/{path}" for path in sorted(FILES) if "parquet" in path]
    assert expand([f"{ROOT}/**/*.txt"]) == [f"{ROOT}/data/CC-2/notes.txt", f"{ROOT}/data/empty.txt"]
    assert expand([f"{ROOT}/data/CC-1", f"{ROOT}/README.md"]) == [f"{ROOT}/data/CC-1", f"{ROOT}/README.md"]
    assert storage(ROOT).folders("data") == ["data/CC-1", "data/CC-2"]
    assert storage(f"{ROOT}/data").list("CC-2") == ["CC-2/c.parquet", "CC-2/notes.txt"]
    assert [is_dir(f"{ROOT}/{name}") for name in ("data", "data/CC-1", "nothing", "README.md")] == [1, 1, 0, 0]
    with pytest.raises(FileNotFoundError, match="no such file or directory"):
        expand([f"{ROOT}/data/*.csv"])
    assert any("cursor=2" in path for _, path in hub.requests)


def test_files_are_read_by_ranges(hub: HubStub) -> None:
    for path, data in FILES.items():
        with open_path(f"{ROOT}/{path}") as stream:
            assert stream.read() == data
    with open_path(f"{ROOT}/data/CC-2/c.parquet") as stream:
        assert pq.read_table(stream).num_rows == 30
    assert storage(ROOT).read("nothing") is None
    assert storage(f"{ROOT}/data").read_range("CC-2/notes.txt", 1, 3) == b"ote"
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt: no such file in commit"):
        open_path(f"{ROOT}/nothing.txt")


def test_a_commit_does_not_change(hub: HubStub) -> None:
    place = storage(ROOT)
    before = fingerprint(f"{ROOT}/README.md")
    hub.commit(NAME, {"README.md": b"# another dataset\n"})
    assert place.read("README.md") == FILES["README.md"]
    _repository.cache_clear()
    assert storage(ROOT).read("README.md") == b"# another dataset\n"
    assert fingerprint(f"{ROOT}/README.md") != before


def test_revisions_and_models(hub: HubStub) -> None:
    hub.commit(NAME, {"default/0.parquet": b"PAR1"}, "refs/convert/parquet")
    commit = hub.commit("models/org/lid", {"model.bin": b"model"})
    converted = f"{ROOT}@refs/convert/parquet/default"
    assert expand([f"{converted}/*.parquet"]) == [f"{converted}/0.parquet"]
    assert storage(f"{ROOT}@refs%2Fconvert%2Fparquet/default").read("0.parquet") == b"PAR1"
    with local_path("hf://org/lid/model.bin") as path:
        assert path.read_bytes() == b"model"
    assert storage(f"hf://org/lid@{commit}").read("model.bin") == b"model"


def test_wrong_bytes_are_noticed(hub: HubStub) -> None:
    size = len(FILES["data/CC-1/a.parquet"])
    hub.changed = os.urandom(size - 1)
    with pytest.raises(OSError, match=rf"a.parquet: has {size - 1} bytes, and {size} by the listing"):
        open_path(f"{ROOT}/data/CC-1/a.parquet")
    hub.changed = b"PAR1" + os.urandom(size - 4)
    with (
        pytest.raises(OSError, match="other bytes came than its commit names"),
        local_path(f"{ROOT}/data/CC-1/a.parquet"),
    ):
        pass
    hub.changed = b"nodes"
    with pytest.raises(OSError, match="other bytes came"), local_path(f"{ROOT}/data/CC-2/notes.txt"):
        pass


def test_mistakes_in_a_line(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("hf://datasets", "hf://datasets/org", "hf://"):
        with pytest.raises(ValueError, match="names no repository; use hf://datasets/ORG/NAME/path"):
            storage(address)
    with pytest.raises(OSError, match=r"hf://datasets/org/other: (no such repository|access denied)"):
        storage("hf://datasets/org/other")
    with pytest.raises(FileNotFoundError, match="no such repository or revision"):
        storage(f"{ROOT}@v9")
    for call in (lambda: storage(ROOT).create("x", b""), lambda: storage(ROOT).remove("x")):
        with pytest.raises(ValueError, match=f"{ROOT}: hf:// can only be read"):
            call()
    with pytest.raises(ValueError, match="names no repository"):
        split("hf://datasets/file")
    _repository.cache_clear()
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(PermissionError, match="access denied, or no such repository; set HF_TOKEN"):
        storage(ROOT)
    _repository.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConnectionError, match=f"{ROOT}: .*; check HF_ENDPOINT and the network"):
        storage(ROOT)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    _repository.cache_clear()
    with pytest.raises(ValueError, match=r"huggingface_hub is not installed; pip install '.\[hub\]' brings it"):
        storage(ROOT)


def test_a_command_reads_from_the_hub(hub: HubStub, tmp_path: Path) -> None:
    for number, path in enumerate((f"{ROOT}/data/*/*.parquet", f"{ROOT}/data", f"{ROOT}/data/CC-2/c.parquet")):
        command("corpus", "import", path, "-o", tmp_path / str(number), "--workers", "1")
        assert answer("corpus", "verify", tmp_path / str(number))["problems"] == []
    rows = [sum(record.counts[-1]["kept"] for record in Dataset(tmp_path / str(n)).records()) for n in range(3)]
    assert rows == [60, 61, 30]  # notes.txt is a document
    said = command("corpus", "verify", "hf://datasets/org/other", code=1).stderr
    assert said.count("\n") == 1
    assert said.startswith("corpus: hf://datasets/org/other: ")
