"""`python -m bench.stores`: object stores by several clients, beside `corpus.store` on the same server in the same run.

The server speaks as much of the S3 API as the clients ask for and runs in a process of its own, because a real one or
moto would take longer than the clients. Each client has a process of its own for each turn. What is measured is the
processor time of that process: listing 100,000 objects, reading ranges of 4 MiB and of 16 KiB, creating 10,000 small
objects with `If-None-Match: *`. Then the server misbehaves: what does a reader get, and how long does it wait? s3fs is
shown if it is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bench.harness import print_json

TURNS = 3
LISTED, CREATED = 100_000, 10_000
PAGE = 1000  # objects of a listing's page
BIG = random.Random(1).randbytes(1 << 20) * 64  # an object of 64 MiB
FAULTS = 200  # reads while the server misbehaves
BUCKET = "bench"


class Server(BaseHTTPRequestHandler):
    """The bucket: `many/` has 100,000 objects, `big` is one of 64 MiB, and each name can be created once.

    Reads below `fault/KIND/` misbehave at every fifth request: `500` and `503` answer so, `slow` waits a second in the
    middle of the body, `cut` closes the connection there.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # headers and a small body leave in one packet
    created: set[str] = set()  # noqa: RUF012 - of the one server
    asked = 0

    def log_message(self, *arguments: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        refused = "If-None-Match" in self.headers and self.path in self.created
        self.created.add(self.path)
        if refused:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code><Message>is there</Message></Error>")
        else:
            self._answer(200, b"", {"ETag": '"1"'})

    def do_HEAD(self) -> None:
        self._answer(200, _object(self.path), _HEADERS)

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        if split.path.rstrip("/") == f"/{BUCKET}":
            self._answer(200, _page(parse_qs(split.query)), {"Content-Type": "application/xml"})
            return
        whole = body = _object(split.path)
        status, headers = 200, dict(_HEADERS)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or len(whole) - 1), len(whole) - 1)
            body, status = whole[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{len(whole)}"
        if fault := re.search(r"/fault/(\w+)/", split.path):
            type(self).asked += 1
            if self.asked % 5 == 0:
                self._misbehave(fault[1], status, body, headers)
                return
        self._answer(status, body, headers)

    def _misbehave(self, kind: str, status: int, body: bytes, headers: dict[str, str]) -> None:
        if kind.isdigit():
            self._answer(int(kind), b"<Error><Code>SlowDown</Code><Message>asked for</Message></Error>")
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if kind == "slow":
            time.sleep(1)
            self.wfile.write(body[len(body) // 2 :])
        else:
            self.close_connection = True


_HEADERS = {"ETag": '"1"', "Last-Modified": "Tue, 01 Dec 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}


def _object(path: str) -> bytes:
    return BIG if path.endswith("/big") else BIG[: 1 << 16]


def _page(query: dict[str, list[str]]) -> bytes:
    prefix = unquote(query.get("prefix", [""])[0])
    start = int(query.get("continuation-token", ["0"])[0])
    items = "".join(
        f"<Contents><Key>{prefix}{number:07}.json</Key><LastModified>2026-12-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number:032x}&quot;</ETag><Size>{number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(start, start + PAGE)
    )
    more = start + PAGE < LISTED
    token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{PAGE}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
    ).encode()


class Ours:
    """`corpus.store`."""

    def __init__(self, url: str) -> None:
        from corpus.store.open import storage

        self.place = storage(f"s3://{BUCKET}")

    def list(self) -> int:
        return len(self.place.entries("many"))

    def read(self, key: str, start: int, length: int) -> bytes:
        return self.place.read_range(key, start, length)

    def create(self, key: str) -> bool:
        return self.place.create(key, bytes(500))


class Obstore:
    """obstore, called as its documentation does."""

    def __init__(self, url: str) -> None:
        from obstore.store import S3Store

        self.store = S3Store(BUCKET, endpoint=url, client_options={"allow_http": True})

    def list(self) -> int:
        return sum(len(page) for page in self.store.list("many"))

    def read(self, key: str, start: int, length: int) -> bytes:
        return bytes(self.store.get_range(key, start=start, length=length))

    def create(self, key: str) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self.store.put(key, bytes(500), mode="create")
        except AlreadyExistsError:
            return False
        return True


class Boto3:
    """boto3, with one client."""

    def __init__(self, url: str) -> None:
        import boto3

        self.client = boto3.client("s3")

    def list(self) -> int:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="many/", Delimiter="/")
        return sum(len(page["Contents"]) for page in pages)

    def read(self, key: str, start: int, length: int) -> bytes:
        span = f"bytes={start}-{start + length - 1}"
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key, Range=span)["Body"].read()
        return data

    def create(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(500), IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise
            return False
        return True


class S3fs:
    """s3fs, fsspec's client of S3."""

    def __init__(self, url: str) -> None:
        import s3fs

        self.files = s3fs.S3FileSystem(
            endpoint_url=url, use_listings_cache=False, config_kwargs={"s3": {"addressing_style": "path"}}
        )

    def list(self) -> int:
        return len(self.files.ls(f"{BUCKET}/many", detail=True))

    def read(self, key: str, start: int, length: int) -> bytes:
        data: bytes = self.files.cat_file(f"{BUCKET}/{key}", start=start, end=start + length)
        return data

    def create(self, key: str) -> bool:
        try:
            self.files.pipe_file(f"{BUCKET}/{key}", bytes(500), mode="create")
        except OSError:  # EINVAL, as for much else
            return False
        return True


CLIENTS: dict[str, type] = {"ours": Ours, "boto3": Boto3, "obstore": Obstore, "s3fs": S3fs}


def list_objects(client: Any, turn: str) -> None:
    assert client.list() == LISTED


def read_large(client: Any, turn: str) -> None:
    assert sum(len(client.read("big", start, 4 << 20)) for start in range(0, len(BIG), 4 << 20)) == len(BIG)


def read_small(client: Any, turn: str) -> None:
    assert sum(len(client.read("big", number << 14, 1 << 14)) for number in range(2000)) == 2000 << 14


def create(client: Any, turn: str) -> None:
    assert all(client.create(f"new/{turn}/{number}") for number in range(CREATED))
    assert not client.create(f"new/{turn}/0")


MEASURED: dict[str, Callable[[Any, str], None]] = {
    "list 100,000 objects": list_objects,
    "read 64 MiB by 4 MiB": read_large,
    "read 2,000 x 16 KiB": read_small,
    "create 10,000 objects": create,
}


def turn(name: str, url: str, number: int) -> list[float]:
    """Processor seconds of each task of a client, after one read to warm up."""
    client = CLIENTS[name](url)
    client.read("big", 0, 10)
    client.create(f"warm/{name}/{number}")
    seconds = []
    for task in MEASURED.values():
        began = time.process_time()
        task(client, f"{name}/{number}")
        seconds.append(time.process_time() - began)
    return seconds


def under_faults(name: str, url: str) -> dict[str, str]:
    """What 200 reads come to while every fifth answer is wrong: right, wrong without a word, errors; wall seconds."""
    client, results = CLIENTS[name](url), {}
    expected = hashlib.sha256(BIG[: 1 << 16]).digest()
    for kind in ("500", "503", "slow", "cut"):
        right = wrong = errors = 0
        began = time.perf_counter()
        for number in range(FAULTS if kind != "slow" else 20):
            try:
                data = client.read(f"fault/{kind}/{number}", 0, 1 << 16)
            except Exception:  # noqa: BLE001 - each client has its own
                errors += 1
            else:
                right, wrong = (right + 1, wrong) if hashlib.sha256(data).digest() == expected else (right, wrong + 1)
        results[kind] = f"{right} right, {wrong} wrong, {errors} errors, {time.perf_counter() - began:.1f} s"
    return results


def serve(pipe: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    pipe.send(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def running_server(context: Any) -> Iterator[str]:
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    yield ours.recv()
    process.terminate()


def main() -> None:
    context = multiprocessing.get_context("spawn")
    names = [name for name in CLIENTS if name == "ours" or importlib.util.find_spec(name)]
    for url in running_server(context):
        os.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
        seconds: dict[str, list[list[float]]] = {name: [] for name in names}
        for number in range(TURNS):
            for name in names:
                with context.Pool(1) as pool:
                    seconds[name].append(pool.apply(turn, (name, url, number)))
        faults = {}
        for name in names:
            with context.Pool(1) as pool:
                faults[name] = pool.apply(under_faults, (name, url))
    ratio = report(seconds)
    for kind in faults["ours"]:
        print(f"every fifth answer {kind:<5}  " + "   ".join(f"{name}: {faults[name][kind]}" for name in names))
    if "--json" in sys.argv:
        print_json("stores", ratio, {}, {})


def report(seconds: dict[str, list[list[float]]]) -> dict[str, float]:
    """Print a line a task; returns the ratio of a task and a peer, as the median over the turns."""
    ratio = {}
    for index, task in enumerate(MEASURED):
        ours = [turn[index] for turn in seconds["ours"]]
        line = f"{task:<24} ours {statistics.median(ours):.3g} s"
        for name, turns in seconds.items():
            if name == "ours":
                continue
            peers = [turn[index] for turn in turns]
            key = f"{name}_{task.split()[0]}" + ("_large" if "4 MiB" in task else "")
            ratio[key] = statistics.median(peer / mine for peer, mine in zip(peers, ours, strict=True))
            line += f"   {name} {statistics.median(peers):.3g} ({ratio[key]:.2f}x)"
        print(line, flush=True)
    return ratio


if __name__ == "__main__":
    main()
