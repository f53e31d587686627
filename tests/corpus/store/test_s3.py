"""What can go wrong with an object store, and which requests a reader makes; the promises are in test_backends.py."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.store import cloud
from corpus.store.ranges import READ_AHEAD, range_reader
from corpus.store.s3 import S3Storage, _region
from tests.support.command import answer, inside
from tests.support.object_server import BUCKET, ObjectServer, Request, error, forget, object_server
from tests.support.paths import REPOSITORY

PART = 8 << 20  # the size of the parts; larger uploads are sent in parts


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def server(running: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    # Retries do not wait here.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(cloud, "_pause", lambda attempt: None)
    forget()
    running.requests.clear()
    yield running
    running.hook, running.drops_conditions, running.breaks, running.loses = None, False, 0, 0


@pytest.fixture
def place(server: ObjectServer, tmp_path: Path) -> S3Storage:
    return S3Storage(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of three parts."""
    path = tmp_path / "big"
    path.write_bytes(bytes(2 * PART) + b"end")
    return path


SEEKS = st.tuples(st.just("seek"), st.integers(-50, 400), st.sampled_from((0, 1, 2)))
READS = st.tuples(st.just("read"), st.integers(-1, 150), st.just(0))


@given(st.binary(max_size=300), st.integers(1, 64), st.lists(SEEKS | READS, max_size=20))
def test_the_reader_is_a_file(data: bytes, ahead: int, steps: list[tuple[str, int, int]]) -> None:
    def fetch(start: int, length: int) -> bytes:
        assert start + length <= len(data)
        return data[start : start + length]

    reader, twin = range_reader(fetch, len(data), ahead), io.BytesIO(data)
    for what, number, whence in steps:
        if what == "read":
            assert reader.read(number) == twin.read(number)
        elif number + (0, twin.tell(), len(data))[whence] >= 0:
            assert reader.seek(number, whence) == twin.seek(number, whence)
        else:
            with pytest.raises((ValueError, OSError)):
                reader.seek(number, whence)
        assert reader.tell() == twin.tell()


def test_reading_on_asks_for_each_byte_once(server: ObjectServer, place: S3Storage) -> None:
    data = os.urandom(3 * READ_AHEAD + 5)
    place.replace("x", data)
    with place.open("x") as stream:
        assert b"".join(iter(lambda: stream.read(300_000), b"")) == data
    ranges = server.ranges()
    assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
    assert ranges[-1][1] == len(data) - 1
    assert len(ranges) == 4


def test_a_parquet_file_is_read_about_once(server: ObjectServer, place: S3Storage, tmp_path: Path) -> None:
    table = pa.table({"text": [os.urandom(600).hex() for _ in range(20_000)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1024)
    place.publish(tmp_path / "x.parquet", "x.parquet")
    with place.open("x.parquet") as stream:
        assert pa.Table.from_batches(pq.ParquetFile(stream).iter_batches(100)) == table
    asked = sum(last - first + 1 for first, last in server.ranges())
    assert asked < 1.5 * (tmp_path / "x.parquet").stat().st_size


def test_a_connection_that_breaks_in_the_middle(server: ObjectServer, place: S3Storage) -> None:
    place.replace("x", b"0123456789")
    server.breaks = 2
    assert place.read("x") == b"0123456789"
    server.breaks = 2
    with place.open("x") as stream:
        assert stream.read() == b"0123456789"
    server.breaks = 100
    with pytest.raises(ConnectionError, match=r"/x: .*; check AWS_ENDPOINT_URL and the network"):
        place.read_range("x", 0, 10)


def test_more_keys_than_a_page_has(server: ObjectServer, place: S3Storage) -> None:
    names = [f"_units/{number:05}.json" for number in range(1003)]
    server.fill([f"{place.root}/{name}".removeprefix(f"s3://{BUCKET}/") for name in names])
    assert place.list("_units") == names
    assert len(server.requests) == 2


def test_an_upload_that_fails_publishes_nothing(server: ObjectServer, place: S3Storage, big: Path) -> None:
    def refuse(request: Request) -> tuple[str, bytes] | None:
        return ("403 Forbidden", error("AccessDenied")) if request.query.get("partNumber") == ["2"] else None

    server.hook = refuse
    with pytest.raises(PermissionError, match="/data/big: access denied"):
        place.publish(big, "data/big")
    assert place.list("data") == []
    assert list(place.unfinished(0)) == []


def test_a_killed_upload_is_invisible_and_is_given_up(server: ObjectServer, place: S3Storage, big: Path) -> None:
    reached, killed = threading.Event(), threading.Event()

    def hold(request: Request) -> tuple[str, bytes] | None:
        if request.query.get("partNumber") == ["2"]:
            reached.set()
            killed.wait()
            return "503 Service Unavailable", b""
        return None

    server.hook = hold
    place.create("_config/c.json", b"{}")
    script = "import sys; from pathlib import Path; from corpus.store.s3 import S3Storage; "
    script += "S3Storage(sys.argv[1]).publish(Path(sys.argv[2]), 'data/big')"
    with subprocess.Popen([sys.executable, "-c", script, place.root, str(big)], cwd=REPOSITORY) as process:
        try:
            assert reached.wait(60)
        finally:
            process.kill()
            killed.set()
    server.hook = None
    assert place.list("data") == []
    assert place.size("data/big") is None
    (upload,) = place.unfinished(0)
    assert upload.key == "data/big"
    assert list(place.unfinished(1e12)) == []
    assert answer("corpus", "gc", place.root, "--dry-run")["uploads"] == [f"{place.root}/data/big"]
    assert len(place.unfinished(0)) == 1
    assert "aborted the unfinished upload" in inside("corpus", "gc", place.root).stderr
    assert list(place.unfinished(0)) == []
    place.abort(upload)


@pytest.mark.parametrize("kind", ["ignored", "not implemented"])
def test_a_store_that_lets_every_writer_win_is_refused(server: ObjectServer, place: S3Storage, kind: str) -> None:
    def no_such_thing(request: Request) -> tuple[str, bytes] | None:
        return ("501 Not Implemented", error("NotImplemented")) if request.if_none_match else None

    if kind == "ignored":
        server.drops_conditions = True
    else:
        server.hook = no_such_thing
    with pytest.raises(ValueError, match=f"{place.root}: {server.url} ignores If-None-Match"):
        place.create("_config/c.json", b"{}")


def test_a_store_is_tried_once(server: ObjectServer, place: S3Storage) -> None:
    assert place.create("a", b"a")
    assert S3Storage(place.root).create("b", b"b")
    assert [request.path[-1] for request in server.requests] == ["a", "a", "b"]


def test_who_won_when_an_answer_was_lost(server: ObjectServer, place: S3Storage) -> None:
    place.create("warm", b"up")
    server.loses = 1
    assert place.create("ours", b"us")
    refused = iter([("500 Internal Server Error", error("InternalError"))])
    place.create("theirs", b"them")
    server.hook = lambda request: next(refused, None)
    assert not place.create("theirs", b"us")
    assert (place.read("ours"), place.read("theirs")) == (b"us", b"them")


def test_a_put_while_another_is_under_way_is_repeated(server: ObjectServer, place: S3Storage) -> None:
    conflicts = iter([("409 Conflict", error("ConditionalRequestConflict"))] * 2)
    server.hook = lambda request: next(conflicts, None)
    assert place.create("x", b"x")
    server.hook = lambda request: ("409 Conflict", error("ConditionalRequestConflict"))
    with pytest.raises(OSError, match="/y: PUT was answered with 409 ConditionalRequestConflict asked for"):
        place.create("y", b"y")


def test_a_busy_store_is_asked_again(server: ObjectServer, place: S3Storage) -> None:
    place.replace("x", b"x")
    slow = ("503 Slow Down", error("SlowDown"))
    answers = iter([slow, slow])
    server.hook = lambda request: next(answers, None)
    assert place.read("x") == b"x"
    server.hook = lambda request: slow
    with pytest.raises(OSError, match="/x: the store asks to slow down; try again with fewer workers"):
        place.read("x")


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("AccessDenied", "403 Forbidden", "/x: access denied"),
        ("InvalidAccessKeyId", "403 Forbidden", "/x: the store does not know this access key; check AWS_PROFILE"),
        ("SignatureDoesNotMatch", "403 Forbidden", "/x: the secret key is wrong"),
        ("ExpiredToken", "400 Bad Request", "/x: the credentials have expired; renew them"),
        ("InvalidRequest", "400 Bad Request", "/x: GET was answered with 400 InvalidRequest asked for"),
    ],
)
def test_refusals_in_a_line(server: ObjectServer, place: S3Storage, code: str, status: str, line: str) -> None:
    server.hook = lambda request: (status, error(code))
    with pytest.raises(OSError, match=line):
        place.read("x")


def test_a_missing_bucket_is_no_empty_one(server: ObjectServer, tmp_path: Path) -> None:
    place = S3Storage("s3://nowhere/out")
    (tmp_path / "x").write_bytes(b"x")
    for call in (
        lambda: place.read("x"),
        lambda: place.list("data"),
        lambda: place.create("x", b""),
        lambda: place.publish(tmp_path / "x", "x"),
    ):
        with pytest.raises(OSError, match=r"s3://nowhere/out.*: there is no such bucket; create it"):
            call()


def test_what_is_missing_on_this_side(server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        with pytest.raises(ConnectionError, match=r"s3://bucket/x: .*127.0.0.1:1.*; check AWS_ENDPOINT_URL"):
            S3Storage("s3://bucket").read("x")
    forget()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(ValueError, match="s3://bucket: no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
            S3Storage("s3://bucket").read("x")
    forget()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ValueError, match=r"s3://bucket: .*\(nobody\).*; check the AWS_ variables"):
            S3Storage("s3://bucket")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "boto3", None)
        with pytest.raises(ValueError, match=r"s3://bucket: boto3 is not installed; pip install '.\[cloud\]'"):
            S3Storage("s3://bucket")


def test_credentials_of_a_profile_and_of_nobody(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    S3Storage(f"s3://{BUCKET}").replace("private", b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    forget()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SKIP_SIGNATURE", "true")
        with pytest.raises(PermissionError, match="access denied"):  # the object is private
            S3Storage(f"s3://{BUCKET}").read("private")
        assert not server.signed[-1]
    forget()
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = MYKEY\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert S3Storage(f"s3://{BUCKET}").read("private") == b"x"
    assert "Credential=MYKEY/" in server.signed[-1]


def test_the_region_of_a_bucket_of_aws() -> None:
    from botocore.exceptions import ClientError, NoCredentialsError

    answers = iter(
        [
            {"BucketRegion": "eu-west-1"},
            ClientError({"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-west-2"}}}, "HeadBucket"),
            NoCredentialsError(),
        ]
    )

    def head_bucket(Bucket: str) -> object:
        reply = next(answers)
        if isinstance(reply, Exception):
            raise reply
        return reply

    client = SimpleNamespace(meta=SimpleNamespace(region_name="us-east-1"), head_bucket=head_bucket)
    assert [_region(client, "bucket") for _ in range(3)] == ["eu-west-1", "eu-west-2", "us-east-1"]


def test_the_command_says_it_in_a_line(server: ObjectServer) -> None:
    for name in ("verify", "gc"):
        said = inside("corpus", name, "s3://nowhere/out", code=1).stderr
        assert said.startswith("corpus: s3://nowhere/out: there is no such bucket")
        assert said.count("\n") == 1
