"""Files of a web server are read in ranges, and what does not belong to the file is refused."""

from __future__ import annotations

import gzip
import io
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.store import http, web
from corpus.store.open import exists, expand, fingerprint, is_dir, local_path, open_path, split, storage
from corpus.store.ranges import READ_AHEAD
from corpus.store.shards import Dataset
from tests.support.command import command

Reply = tuple[int, dict[str, str], bytes]


class WebServer:
    """Files by path. `change` sees each answer before it is sent; `ranges` says whether the server knows ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.change: Callable[[int, Reply], Reply] = lambda number, reply: reply
        self.ranges = True
        self.requests: list[tuple[str, str]] = []  # (path with query, Range)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def asked(self, path: str, span: str) -> Reply:
        self.requests.append((path, span))
        data = self.files.get(path.partition("?")[0])
        if data is None:
            return 404, {}, b"no"
        headers = {"ETag": f'"{hash(data)}"'}
        if not (found := re.fullmatch(r"bytes=(\d+)-(\d+)", span)) or not self.ranges:
            return 200, headers, data
        first, last = int(found[1]), min(int(found[2]), len(data) - 1)
        if first >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
        return 206, headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: WebServer

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output quiet."""

    def do_GET(self) -> None:
        reply = self.web.asked(self.path, self.headers.get("Range", ""))
        status, headers, body = self.web.change(len(self.web.requests), reply)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = int(headers.get("Content-Length", len(body))) != len(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    running = WebServer()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    waits: list[float] = []
    monkeypatch.setattr(web, "_pause", lambda attempt, wait: waits.append(wait))
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [os.urandom(50).hex() for _ in range(1000)]}), out)
    return out.getvalue()


def test_a_file_is_read(server: WebServer) -> None:
    server.files["/data/a.parquet"] = parquet()
    server.files["/b.txt"] = os.urandom(2 * READ_AHEAD + 7)
    server.files["/empty.txt"] = b""
    for path, data in server.files.items():
        with open_path(server.url + path) as stream:
            assert stream.read() == data
        assert fingerprint(server.url + path)[0] == len(data)
    with open_path(f"{server.url}/data/a.parquet") as stream:
        assert pq.read_table(stream).num_rows == 1000
    place = storage(server.url)
    assert place.read_range("b.txt", 5, 10) == server.files["/b.txt"][5:15]
    assert place.read("nothing") is None
    with pytest.raises(ValueError, match=r"b\.txt: ends before byte"):
        place.read_range("b.txt", 2 * READ_AHEAD, 100)
    with local_path(f"{server.url}/b.txt") as local:
        assert local.read_bytes() == server.files["/b.txt"]
    before = fingerprint(f"{server.url}/b.txt")
    server.files["/b.txt"] = server.files["/b.txt"][::-1]
    assert fingerprint(f"{server.url}/b.txt") != before


def test_a_command_reads_from_the_web(server: WebServer, tmp_path: Path) -> None:
    server.files["/data/a.parquet"] = parquet()
    command("corpus", "import", f"{server.url}/data/a.parquet", "-o", tmp_path / "out", "--workers", "1")
    assert sum(record.counts[-1]["kept"] for record in Dataset(tmp_path / "out").records()) == 1000
    said = command("corpus", "import", f"{server.url}/nothing.parquet", "-o", tmp_path / "none", code=1).stderr
    assert said.count("\n") == 1
    assert "/nothing.parquet: " in said


def test_names(server: WebServer) -> None:
    server.files["/a/b.txt"] = b"b"
    signed = f"{server.url}/a/b.txt?signature=a/b&x=*?"
    assert split(f"{server.url}/a/b.txt?s=c/d")[1] == "b.txt?s=c/d"
    assert expand([f"{server.url}/a/b.txt", f"{server.url}/a/b.txt?s=c/d"])[1].endswith("?s=c/d")
    assert [exists(f"{server.url}/a/{name}") for name in ("b.txt", "c.txt")] == [True, False]
    assert not is_dir(f"{server.url}/a")
    with pytest.raises(ValueError, match="a web server has no listing; name each file"):
        expand([signed])
    with pytest.raises(ValueError, match="/a: a web server has no listing; name each file"):
        storage(server.url).list("a")
    with pytest.raises(FileNotFoundError, match="no such file or directory"):
        expand([f"{server.url}/a/c.txt"])
    with pytest.raises(ValueError, match=f"{server.url}: http:// can only be read; write to a local folder"):
        storage(server.url).create("x", b"x")
    with pytest.raises(FileNotFoundError, match="secret") as raised:
        open_path(f"{server.url}/secret.txt?signature=abc")
    assert "abc" not in str(raised.value)


def test_a_server_without_ranges(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/b.txt"] = b"0123456789"
    server.ranges = False
    with open_path(f"{server.url}/b.txt") as stream:
        assert (stream.read(3), stream.seek(-2, 2), stream.read()) == (b"012", 8, b"89")
    assert storage(server.url).read_range("b.txt", 2, 3) == b"234"
    monkeypatch.setattr(http, "_MOST_WHOLE", 5)
    with pytest.raises(OSError, match=r"/b\.txt: the server knows no ranges, and the file has over"):
        open_path(f"{server.url}/b.txt")


def cut(reply: Reply) -> Reply:
    status, headers, body = reply
    return status, headers | {"Content-Length": str(len(body))}, body[: len(body) // 2]


def test_what_passes_is_tried_again(server: WebServer) -> None:
    server.files["/b.txt"] = b"0123456789"
    for wrong in (
        lambda reply: (503, {"Retry-After": "7"}, b"busy"),
        lambda reply: (429, {}, b""),
        lambda reply: (500, {}, b""),
        lambda reply: (reply[0], reply[1] | {"Content-Encoding": "gzip"}, gzip.compress(reply[2])),
        cut,
    ):
        server.requests.clear()
        server.change = lambda number, reply, wrong=wrong: wrong(reply) if number % 3 else reply
        with open_path(f"{server.url}/b.txt") as stream:
            assert stream.read() == b"0123456789"
    server.change = lambda number, reply: (503, {}, b"")
    with pytest.raises(ConnectionError, match=r"/b.txt: gave up after 5 failed attempts \(HTTP status 503\)"):
        open_path(f"{server.url}/b.txt")


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda reply: (206, reply[1] | {"ETag": '"other"'}, reply[2]), "was written again while it was being read"),
        (lambda reply: (200, {"ETag": reply[1]["ETag"]}, b"0123456789" * 2), "was written again"),
        (lambda reply: (206, reply[1] | {"Content-Range": "bytes 0-9/21"}, reply[2]), "was written again"),
        (
            lambda reply: (206, reply[1] | {"Content-Range": "bytes 1-10/20"}, reply[2]),
            "the server or a proxy is wrong",
        ),
        (lambda reply: (206, reply[1], reply[2][:-1]), "the server or a proxy is wrong"),
        (lambda reply: (206, {"ETag": reply[1]["ETag"]}, reply[2]), "the answer to a range names no range"),
        (lambda reply: (403, {}, b""), "HTTP status 403, access denied"),
        (lambda reply: (418, {}, b""), "HTTP status 418"),
    ],
)
def test_answers_that_are_not_of_the_file(server: WebServer, wrong: Callable[[Reply], Reply], line: str) -> None:
    server.files["/b.txt"] = b"0123456789" * 2
    stream = open_path(f"{server.url}/b.txt")
    server.change = lambda number, reply: wrong(reply)
    with pytest.raises(OSError, match=f"/b.txt: .*{line}"):
        stream.raw.readinto(bytearray(10))


def test_a_page_in_the_place_of_a_file(server: WebServer) -> None:
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    server.files |= {"/a.parquet": page, "/b.jsonl": page, "/c.gz": page}
    for path, line in (
        ("/a.parquet", "is no .parquet file"),
        ("/b.jsonl", "is a web page"),
        ("/c.gz", "is no .gz file"),
    ):
        with (
            pytest.raises(OSError, match=f"{path}: not the file: begins with .* and {line}"),
            open_path(server.url + path) as stream,
        ):
            stream.read()


def test_a_copy_is_the_whole_file(server: WebServer) -> None:
    packed = gzip.compress(os.urandom(5000))
    server.files |= {"/a.txt.gz": packed, "/b.txt.gz": packed[:-9]}
    with local_path(f"{server.url}/a.txt.gz") as path:
        assert path.read_bytes() == packed
    with (
        pytest.raises(OSError, match=r"b\.txt\.gz is not right: the last gzip member is cut off or damaged"),
        local_path(f"{server.url}/b.txt.gz"),
    ):
        pass


def test_redirects(server: WebServer) -> None:
    server.files["/b.txt"] = b"0123456789"
    plain = server.change

    def onward(number: int, reply: Reply) -> Reply:
        path = server.requests[-1][0]
        return (302, {"Location": "/b.txt"}, b"") if path == "/old.txt" else plain(number, reply)

    server.change = onward
    assert storage(server.url).read("old.txt") == b"0123456789"
    server.change = lambda number, reply: (302, {"Location": "/old.txt"}, b"")
    with pytest.raises(ConnectionError, match="more than 5 redirects"):
        open_path(f"{server.url}/old.txt")
