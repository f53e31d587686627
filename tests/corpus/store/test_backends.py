"""What a `Storage` promises: one set of tests for the file system, an object store, and a storage of a newcomer's own.

`MemoryStorage` is all that a new storage takes: a class with the abstract methods of `Storage`, and a line in the table
`STORAGES`, which the fixture `root` adds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.schema import DOCUMENTS
from corpus.store.base import Storage
from corpus.store.open import (
    STORAGES,
    children,
    exists,
    expand,
    fingerprint,
    is_dir,
    is_remote,
    local_path,
    open_path,
    split,
    storage,
)
from corpus.store.ranges import READ_AHEAD
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from corpus.store.verify import verify
from tests.support.cloud_servers import azure_server, azurite_missing, google_server
from tests.support.object_server import BUCKET, ObjectServer, forget, object_server
from tests.support.paths import REPOSITORY

SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "s3": object_server,
    "gs": google_server,
    "az": azure_server,
}


@pytest.fixture(scope="module", params=["local", "mem", *SERVERS])
def kind(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    """A kind of storage, and the environment that names its server."""
    name = request.param
    if name == "az" and (reason := azurite_missing()):
        pytest.skip(reason)
    if name not in SERVERS:
        yield name, {}
        return
    with SERVERS[name]() as running:
        yield name, running.environment if isinstance(running, ObjectServer) else running


@pytest.fixture
def root(kind: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name, environment = kind
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    forget()
    if name == "local":
        (tmp_path / "out").mkdir()
        yield str(tmp_path / "out")
    elif name == "mem":
        monkeypatch.setitem(STORAGES, "mem", "tests.support.memory_storage:MemoryStorage")
        yield f"mem://memory/{tmp_path.name}/out"
    else:
        yield f"{name}://{BUCKET}/{tmp_path.name}/out"
    forget()


@pytest.fixture
def place(root: str) -> Storage:
    return storage(root)


def write(place: Storage, key: str, data: bytes) -> None:
    place.make_folder(key.rpartition("/")[0])
    assert place.create(key, data)


def test_the_first_to_create_wins(place: Storage) -> None:
    assert place.read("_units/u.json") is None
    place.make_folder("_units")
    assert place.create("_units/u.json", b"first")
    assert not place.create("_units/u.json", b"second")
    assert not place.create("_units/u.json", b"first")  # an object with our bytes may be somebody else's
    assert place.read("_units/u.json") == b"first"


def test_of_16_who_create_at_once_one_wins(root: str) -> None:
    start = threading.Barrier(16)
    storage(root).make_folder("_units")

    def create(number: int) -> bool:
        place = storage(root)
        start.wait()
        return place.create("_units/u.json", b"%d" % number)

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    assert storage(root).read("_units/u.json") == b"%d" % won.index(True)


def test_a_published_file_is_there_whole_and_is_never_replaced(place: Storage, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"first" * 1000)
    second.write_bytes(b"second")
    place.publish(first, "data/u-1.parquet")
    place.publish(second, "data/u-1.parquet")
    assert place.read("data/u-1.parquet") == b"first" * 1000
    assert first.exists()


def test_replacing_changes_the_stamp(place: Storage) -> None:
    stamps = set()
    for data in (b"one", b"two", b"three"):
        place.replace("_manifest.parquet", data)
        assert place.read("_manifest.parquet") == data
        (entry,) = place.entries("")
        assert (entry.key, entry.size) == ("_manifest.parquet", len(data))
        stamps.add(entry.stamp)
    assert len(stamps) == 3


def test_a_listing_shows_one_folder(place: Storage) -> None:
    odd = ["data/a b+c%20&=.parquet", "data/é日本.parquet", "data/~'(1)!.json"]
    for key in [*odd, "data/deeper/x", "data-2/y", "z", "dropped/deep/er"]:
        write(place, key, key.encode())
    assert place.list("data") == sorted(odd)
    assert [entry.size for entry in place.entries("data")] == [len(key.encode()) for key in sorted(odd)]
    assert (place.list(""), place.list("deeper"), place.list("dropped")) == (["z"], [], [])
    assert place.folders("") == ["data", "data-2", "dropped"]
    assert place.folders("data") == ["data/deeper"]
    assert place.folders("nothing") == []
    assert [place.is_folder(folder) for folder in ("", "data", "data/deeper", "dat", "z")] == [1, 1, 1, 0, 0]
    assert all(place.read(key) == key.encode() for key in odd)


def test_ranges(place: Storage) -> None:
    place.create("x", bytes(range(200)))
    assert place.read_range("x", 0, 200) == bytes(range(200))
    assert place.read_range("x", 150, 50) == bytes(range(150, 200))
    assert place.read_range("x", 7, 0) == b""
    for start, length in ((150, 51), (200, 1), (500, 5)):
        with pytest.raises(ValueError, match=f"out/x: ends before byte {start + length}"):
            place.read_range("x", start, length)
    with pytest.raises(FileNotFoundError, match="out/nothing"):
        place.read_range("nothing", 0, 1)


def test_an_open_object_reads_like_a_file(place: Storage) -> None:
    data = bytes(range(256)) * 100
    place.create("x", data)
    with place.open("x") as stream, io.BytesIO(data) as twin:
        assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
        for whence, offset, length in (
            (0, 0, 10),
            (0, 25_590, 100),
            (2, -8, 8),
            (1, -500, 3),
            (0, 30_000, 5),
            (0, 3, -1),
        ):
            assert stream.seek(offset, whence) == twin.seek(offset, whence)
            assert stream.read(length) == twin.read(length)
            assert stream.tell() == twin.tell()
    with pytest.raises(FileNotFoundError, match="out/nothing"):
        place.open("nothing")


def test_size_and_fingerprint(place: Storage) -> None:
    place.replace("x", b"one")
    before = place.fingerprint("x")
    assert (before[0], place.size("x")) == (3, 3)
    place.replace("x", b"one")
    if not place.root.startswith("az://"):  # there, each write has an ETag of its own
        assert place.fingerprint("x") == before
    place.replace("x", b"two")
    assert place.fingerprint("x") != before
    assert place.size("nothing") is None
    with pytest.raises(FileNotFoundError, match="out/nothing"):
        place.fingerprint("nothing")


def test_removing_twice(place: Storage) -> None:
    write(place, "data/x", b"x")
    place.remove("data/x")
    place.remove("data/x")
    assert place.read("data/x") is None


def test_scratch_is_gone_afterwards(place: Storage) -> None:
    with contextlib.suppress(RuntimeError), place.scratch() as folder:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError
    assert not folder.exists()
    assert place.list("") == []


def test_a_file_or_a_folder_as_a_local_one(root: str, place: Storage) -> None:
    write(place, "models/lid.bin", b"model")
    write(place, "models/labels.txt", b"en")
    with place.local_path("models/lid.bin") as path:
        assert (path.name, path.read_bytes()) == ("lid.bin", b"model")
    with local_path(f"{root}/models/") as path:
        assert {item.name: item.read_bytes() for item in path.iterdir()} == {"lid.bin": b"model", "labels.txt": b"en"}
    with pytest.raises(FileNotFoundError, match="out/nothing"), place.local_path("nothing"):
        pass


def test_paths(root: str, place: Storage) -> None:
    write(place, "crawl/a.warc.gz", b"abc")
    path = f"{root}/crawl/a.warc.gz"
    holder, key = split(path)
    assert (holder.root, key) == (f"{root}/crawl", "a.warc.gz")
    with open_path(path) as stream:
        assert stream.read() == b"abc"
    assert fingerprint(path) == place.fingerprint("crawl/a.warc.gz")
    assert children(f"{root}/crawl/") == children(f"{root}/crawl") == [path]
    assert [exists(name) for name in (path, f"{root}/crawl", f"{root}/craw")] == [True, True, False]
    assert [is_dir(name) for name in (path, f"{root}/crawl", f"{root}/craw")] == [False, True, False]
    with pytest.raises(ValueError, match="names a folder"):
        split(f"{root}/")


def test_patterns(root: str, place: Storage) -> None:
    for key in ("d1/s1/a.warc.gz", "d1/s2/b.warc.gz", "d2/s1/c.warc.gz", "d2/s1/c.txt", "d2/deep/er/e.warc.gz"):
        write(place, key, b"")

    def found(*patterns: str) -> list[str]:
        return [path.removeprefix(f"{root}/") for path in expand([f"{root}/{pattern}" for pattern in patterns])]

    assert found("d1/s1/*.warc.gz") == ["d1/s1/a.warc.gz"]
    assert found("*/s1/*.warc.gz") == ["d1/s1/a.warc.gz", "d2/s1/c.warc.gz"]
    assert found("d[2]/s?/c.*") == ["d2/s1/c.txt", "d2/s1/c.warc.gz"]
    assert found("d2/**/*.warc.gz") == ["d2/deep/er/e.warc.gz", "d2/s1/c.warc.gz"]
    assert found("d1", "d*", "d1/s1/a.warc.gz") == ["d1", "d2", "d1/s1/a.warc.gz"]
    for nothing in ("d1/*.txt", "d3", "no/**/x*", "d1/s1/a.warc.gz/*"):
        with pytest.raises(FileNotFoundError, match="no such file or directory"):
            found(nothing)


def test_a_big_file(place: Storage, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20 + b"end"  # more than a part of an upload
    (tmp_path / "big").write_bytes(data)
    place.publish(tmp_path / "big", "data/big")
    assert place.size("data/big") == len(data)
    assert place.read_range("data/big", len(data) - 5, 5) == data[-5:]
    with place.open("data/big") as stream:
        assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(data).digest()
    assert list(place.unfinished(0)) == []


def test_empty_objects(place: Storage, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    place.publish(tmp_path / "empty", "data/empty")
    assert place.create("data/nothing", b"")
    assert not place.create("data/nothing", b"x")
    for key in ("data/empty", "data/nothing"):
        assert (place.read(key), place.size(key)) == (b"", 0)
        with place.open(key) as stream:
            assert stream.read() == b""


def test_a_killed_upload_is_invisible(root: str, place: Storage, tmp_path: Path) -> None:
    if root.startswith("mem://"):
        pytest.skip("its objects are gone with the process")
    (tmp_path / "big").write_bytes(bytes(64 << 20))
    script = "import sys; from pathlib import Path; from corpus.store.open import storage\n"
    script += "place = storage(sys.argv[1]); print(flush=True); place.publish(Path(sys.argv[2]), sys.argv[3])"
    for number in range(4):
        line = [sys.executable, "-c", script, root, str(tmp_path / "big"), f"data/big-{number}"]
        with subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(0.03 * number**2)
            process.kill()
        assert place.size(f"data/big-{number}") in (None, 64 << 20)
        assert all(entry.size == 64 << 20 for entry in place.entries("data"))
    for upload in place.unfinished(0):
        place.abort(upload)
    assert list(place.unfinished(0)) == []


def test_an_object_that_changes_while_it_is_read(root: str, place: Storage) -> None:
    if "://" not in root or root.startswith("mem://"):
        pytest.skip("an open file stays what it was")
    place.replace("x", bytes(2 * READ_AHEAD))
    with place.open("x") as stream:
        stream.read(1)
        place.replace("x", bytes(2 * READ_AHEAD + 1))
        with pytest.raises(OSError, match="out/x: was written again while it was being read"):
            stream.read()


def test_a_missing_bucket_is_no_empty_one(root: str, tmp_path: Path) -> None:
    scheme = root.partition("://")[0]
    if scheme not in SERVERS:
        pytest.skip("has no buckets")
    place = storage(f"{scheme}://nowhere/out")
    (tmp_path / "x").write_bytes(b"x")
    for call in (
        lambda: place.list("data"),
        lambda: place.create("x", b""),
        lambda: place.publish(tmp_path / "x", "x"),
    ):
        with pytest.raises(OSError, match=f"{scheme}://nowhere/out.*: there is no such (bucket|container)"):
            call()


def test_nothing_is_unfinished(place: Storage) -> None:
    place.create("x", b"x")
    assert list(place.unfinished(0)) == []


def test_addresses_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"ftp://host/x: no storage for ftp:// here; .* one of file://, s3://, gs://"):
        storage("ftp://host/x")
    with pytest.raises(ValueError, match=r"s3:///x: names no bucket; use s3://bucket/prefix"):
        storage("s3:///x")
    with pytest.raises(ValueError, match="s3://bucket: names a folder or a bucket"):
        split("s3://bucket")


def test_file_addresses_are_local_paths(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert expand([f"file://{tmp_path}/*"]) == [f"{tmp_path}/a"]
    assert fingerprint(f"file://{tmp_path}/a") == fingerprint(tmp_path / "a")
    assert fingerprint(f"file://{tmp_path}/a") == storage(f"file://{tmp_path}").fingerprint("a")


def test_what_is_remote(root: str) -> None:
    assert is_remote(f"{root}/x") == ("://" in root)
    assert not any(is_remote(path) for path in ("file:///x", "ftp://example.org/x", "s3", "", Path("s3:/x")))
    assert all(is_remote(path) for path in ("https://example.org/x", "hf://datasets/a/b/c", "abfs://a/b"))


def test_a_dataset_is_written_and_read_back(root: str) -> None:
    dataset = Dataset(root)
    digest = dataset.begin({"a": 1})
    for unit in ("u0", "u1"):
        with dataset.storage.scratch() as folder:
            writer = ShardWriter(folder / "kept", DOCUMENTS)
            writer.write(pa.RecordBatch.from_pylist([{"text": f"text of {unit}", "id": unit}], schema=DOCUMENTS))
            writer.close()
            counts = ({"stage": "s", "read": 1, "kept": 1, "dropped": {}},)
            record = CommitRecord(unit, "s", digest, (), (writer.output(unit, "documents"),), counts)
            assert dataset.commit(record, [writer.path]) == record
    dataset.compact()
    read = Dataset(root)
    assert read.units() == ["u0", "u1"]
    assert read.is_done("u1", digest, ())
    texts = [read.table(output).column("text").to_pylist() for output in read.files("documents")]
    assert texts == [["text of u0"], ["text of u1"]]
    assert verify(read)[:2] == (2, 2)
    assert verify(read).problems == ()
