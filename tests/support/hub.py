"""A stub of the Hugging Face Hub: what `hf://` asks of it, over HTTP, with files in memory.

It knows the listing of a folder in pages, the commit of a revision, and `resolve` with HEAD, ranges and the redirect to
another host that large files have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class HubStub:
    """A running Hub.

    repositories  kind and name ("datasets/org/name") -> commit -> path -> bytes
    branches      (kind and name, revision) -> commit
    lfs           paths that are LFS files: they have a sha256, and `resolve` redirects
    page          entries of a page of a listing
    token         the token that each request must carry; "" for none
    changed       bytes that the next answers of `resolve` have instead of the file's
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.lfs: set[str] = set()
        self.page = 1000
        self.token = ""
        self.changed: bytes | None = None
        self.requests: list[tuple[str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.elsewhere = f"http://localhost:{self.server.server_port}"  # another host, as the one of large files is

    def commit(self, repository: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Put files over those of a revision, in a new commit; returns the commit."""
        commits = self.repositories.setdefault(repository, {})
        before = commits.get(self.branches.get((repository, revision), ""), {})
        commit = hashlib.sha1(f"{repository} {revision} {len(commits)}".encode()).hexdigest()
        commits[commit] = before | files
        self.branches[repository, revision] = commit
        return commit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: HubStub

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output quiet."""

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        self.hub.requests.append((self.command, self.path))
        path = unquote(split.path)
        if found := re.fullmatch(r"/large/(\w+)", path):
            self._send_large(found[1])
        elif self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, b'{"error": "Invalid username or password."}', {"X-Error-Code": "RepoNotFound"})
        elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._send_info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/(\w+/[^/]+/[^/]+)/tree/([^/]+)/?(.*)", path):
            self._send_tree(found[1], found[2], found[3], parse_qs(split.query))
        elif found := re.fullmatch(r"/((?:datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send_file(f"{found[1] or 'models/'}{found[2]}", found[3], found[4])
        else:
            self.answer(404, b'{"error": "no such route"}', {})

    do_HEAD = do_GET

    def _files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        commits = self.hub.repositories.get(repository)
        if commits is None:
            self.answer(404, b'{"error": "no such repository"}', {"X-Error-Code": "RepoNotFound"})
            return None
        commit = self.hub.branches.get((repository, revision), revision)
        if commit not in commits:
            self.answer(404, b'{"error": "no such revision"}', {"X-Error-Code": "RevisionNotFound"})
        return commits.get(commit)

    def _send_info(self, repository: str, revision: str) -> None:
        if self._files(repository, revision) is not None:
            name = repository.partition("/")[2]
            self._send_json({"id": name, "sha": self.hub.branches.get((repository, revision), revision)}, {})

    def _send_tree(self, repository: str, revision: str, folder: str, query: dict[str, list[str]]) -> None:
        if (files := self._files(repository, revision)) is None:
            return
        below = f"{folder}/" if folder else ""
        items: dict[str, dict[str, Any]] = {}
        for path, data in sorted(files.items()):
            if not path.startswith(below):
                continue
            name, slash, _ = path[len(below) :].partition("/")
            if slash:
                items[name] = {"type": "directory", "path": below + name, "oid": "0" * 40}
                continue
            items[name] = {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}
            if path in self.hub.lfs:
                lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
                items[name] |= {"oid": "1" * 40, "lfs": lfs}
        if not items:
            self.answer(404, b'{"error": "no such entry"}', {"X-Error-Code": "EntryNotFound"})
            return
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.hub.page < len(items):
            onward = f"{self.hub.url}{urlsplit(self.path).path}?cursor={start + self.hub.page}"
            headers["Link"] = f'<{onward}>; rel="next"'
        self._send_json(list(items.values())[start : start + self.hub.page], headers)

    def _send_file(self, repository: str, revision: str, path: str) -> None:
        if (files := self._files(repository, revision)) is None:
            return
        if path not in files:
            self.answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
        elif path in self.hub.lfs:
            self.answer(302, b"", {"Location": f"{self.hub.elsewhere}/large/{hashlib.sha256(files[path]).hexdigest()}"})
        else:
            self._send_range(files[path], _blob(files[path]))

    def _send_large(self, digest: str) -> None:
        assert "Authorization" not in self.headers, "a token is for the Hub alone"
        for commits in self.hub.repositories.values():
            for files in commits.values():
                for data in files.values():
                    if hashlib.sha256(data).hexdigest() == digest:
                        self._send_range(data, digest)
                        return
        self.answer(404, b"", {})

    def _send_range(self, data: bytes, etag: str) -> None:
        data = self.hub.changed if self.hub.changed is not None else data
        headers = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked:
            self.answer(200, data, headers)
        elif int(asked[1]) >= len(data):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        else:
            first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self.answer(206, data[first : last + 1], headers)

    def _send_json(self, value: object, headers: dict[str, str]) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _blob(data: bytes) -> str:
    """The id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextlib.contextmanager
def hub_stub() -> Iterator[HubStub]:
    """A running Hub without repositories."""
    hub = HubStub()
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
