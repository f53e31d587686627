"""A real HTTP server that serves a miniature crawl, and misbehaves on request."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

CRAWL = "CC-MAIN-2026-43"


class Request(NamedTuple):
    path: str
    range: str | None
    if_range: str | None
    user_agent: str


class CrawlServer:
    """`files` by path; `trouble(path, nth, range)` names what goes wrong with the nth request for a path, or None.

    Troubles: "503", "503-after" (with Retry-After: 0), "429", "403", "cut" (half of what was asked for), "ignore-range"
    (200 with the whole file), "wrong-range" (206 from another byte), "long" (more bytes than announced by the range),
    "slow" (an eighth of a second a file).
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.requests: list[Request] = []
        self.trouble: Callable[[str, int, str | None], str | None] = lambda path, nth, range: None
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.base = ""

    def etag(self, path: str) -> str:
        return f'"{hashlib.md5(self.files[path]).hexdigest()}"'


def crawl_files(count: int) -> dict[str, bytes]:
    """A listing and `count` files of different sizes, the paths as Common Crawl writes them."""
    paths = [f"crawl-data/{CRAWL}/segments/1.1/warc/{CRAWL}-{index:05d}.warc.gz" for index in range(count)]
    files = {path: hashlib.sha256(path.encode()).digest() * 9000 * (index + 1) for index, path in enumerate(paths)}
    listing = gzip.compress("".join(path + "\n" for path in paths).encode(), mtime=0)
    return {f"crawl-data/{CRAWL}/warc.paths.gz": listing, **files}


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[CrawlServer]:
    state = CrawlServer(files)
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            with state.lock:
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
                path = self.path.removeprefix("/")
                asked[path] += 1
                request = Request(
                    path, self.headers["Range"], self.headers["If-Range"], self.headers["User-Agent"] or ""
                )
                state.requests.append(request)
                trouble = state.trouble(path, asked[path], request.range)
            try:
                self.answer(request, trouble)
            finally:
                with state.lock:
                    state.at_once -= 1

        def answer(self, request: Request, trouble: str | None) -> None:
            if trouble == "slow":
                time.sleep(0.125)
            if trouble in ("503", "503-after", "429", "403"):
                self.refuse(int(trouble[:3]), {"Retry-After": "0"} if trouble == "503-after" else {})
            elif request.path not in state.files:
                self.refuse(404, {})
            else:
                self.send_file(request, trouble)

        def refuse(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def send_file(self, request: Request, trouble: str | None) -> None:
            data, etag = state.files[request.path], state.etag(request.path)
            start = int(request.range[6:-1]) if request.range else 0
            whole = not request.range or trouble == "ignore-range" or request.if_range not in (None, etag)
            if whole:
                start = 0
            if start >= len(data) and not whole:
                return self.refuse(416, {"Content-Range": f"bytes */{len(data)}"})
            if trouble == "wrong-range":
                start += 1
            body = data[start:]
            self.send_response(200 if whole else 206)
            if not whole:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", etag)
            if trouble == "long":
                body += b"more"
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if trouble == "cut":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            else:
                self.wfile.write(body)
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.base = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
