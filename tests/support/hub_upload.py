"""A stub of the Hugging Face Hub for uploads: repositories of datasets, branches, LFS objects, commits, listings.

It answers as the Hub's API does for `huggingface_hub` with HF_HUB_DISABLE_XET=1, and keeps everything in memory.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_LFS = (".parquet", ".zst", ".gz", ".bin", ".idx")


class HubUpload:
    """A running stub.

    token     the token that may write
    branches  (repository, branch) -> path -> (bytes, whether it is an LFS object)
    objects   sha256 -> bytes: what was uploaded by LFS
    requests  the log: "METHOD /path"
    answers   a pattern of paths -> the status that a request for them is answered with
    commits   the paths of each commit
    """

    def __init__(self) -> None:
        self.token = "hf_right"
        self.branches: dict[tuple[str, str], dict[str, tuple[bytes, bool]]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.answers: dict[str, int] = {}
        self.commits: list[list[str]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                """Keep the tests' output quiet."""

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlsplit(self.path)
                stub.requests.append(f"{self.command} {url.path}")
                status, content = stub.respond(
                    self.command, unquote(url.path), body, self.headers.get("Authorization", "")
                )
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _handle

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def files(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        return {path: data for path, (data, _) in self.branches[repository, branch].items()}

    def respond(self, method: str, path: str, body: bytes, authorization: str) -> tuple[int, Any]:
        for ending, status in self.answers.items():
            if re.search(ending, path):
                return status, {"error": "asked for"}
        if path.startswith("/lfs/"):
            digest = path.removeprefix("/lfs/")
            if hashlib.sha256(body).hexdigest() != digest:
                return 400, {"error": "another sha256"}
            self.objects[digest] = body
            return 200, {}
        if authorization != f"Bearer {self.token}":
            return 401, {"error": "Invalid credentials"}
        if path == "/verify":
            item = json.loads(body)
            good = len(self.objects.get(item["oid"], b"")) == item["size"]
            return (200, {}) if good else (404, {"error": "not there"})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        for pattern, answer in (
            (r"/api/datasets/([^/]+/[^/]+)/branch/(.+)", self._branch),
            (r"/api/datasets/([^/]+/[^/]+)/preupload/(.+)", self._preupload),
            (r"/api/datasets/([^/]+/[^/]+)/commit/(.+)", self._commit),
            (r"/api/datasets/([^/]+/[^/]+)/tree/(.+)", self._tree),
            (r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/(batch)", self._batch),
        ):
            if match := re.fullmatch(pattern, path):
                return answer(match[1], match[2], body)
        return 404, {"error": f"the stub has no {method} {path}"}

    def _create(self, fields: dict[str, Any]) -> tuple[int, Any]:
        name = f"{fields.get('organization') or 'me'}/{fields['name']}"
        there = (name, "main") in self.branches
        self.branches.setdefault((name, "main"), {})
        self.private.setdefault(name, bool(fields.get("private") or fields.get("visibility") == "private"))
        return (409 if there else 200), {"url": f"{self.url}/datasets/{name}", "name": name, "id": name}

    def _branch(self, name: str, branch: str, body: bytes) -> tuple[int, Any]:
        if (name, branch) in self.branches:
            return 409, {"error": "there is such a branch"}
        self.branches[name, branch] = dict(self.branches[name, "main"])
        return 200, {}

    def _preupload(self, name: str, branch: str, body: bytes) -> tuple[int, Any]:
        def mode(path: str) -> str:
            return "lfs" if path.endswith(_LFS) else "regular"

        files = json.loads(body)["files"]
        return 200, {
            "files": [{"path": item["path"], "uploadMode": mode(item["path"]), "shouldIgnore": False} for item in files]
        }

    def _batch(self, name: str, branch: str, body: bytes) -> tuple[int, Any]:
        objects = []
        for item in json.loads(body)["objects"]:
            upload = {"href": f"{self.url}/lfs/{item['oid']}"}
            actions = {"upload": upload, "verify": {"href": f"{self.url}/verify"}}
            objects.append(item if item["oid"] in self.objects else item | {"actions": actions})
        return 200, {"transfer": "basic", "objects": objects}

    def _commit(self, name: str, branch: str, body: bytes) -> tuple[int, Any]:
        files = self.branches.get((name, branch))
        if files is None:
            return 404, {"error": "no such branch"}
        paths = []
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"]), False
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return 400, {"error": "no such LFS object"}
                files[value["path"]] = self.objects[value["oid"]], True
            else:
                continue
            paths.append(value["path"])
        self.commits.append(paths)
        oid = hashlib.sha1(body).hexdigest()
        return 200, {"commitUrl": f"{self.url}/datasets/{name}/commit/{oid}", "commitOid": oid}

    def _tree(self, name: str, branch: str, body: bytes) -> tuple[int, Any]:
        if (name, branch) not in self.branches:
            return 404, {"error": "no such branch"}
        entries = []
        for path, (data, is_lfs) in sorted(self.branches[name, branch].items()):
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob}
            if is_lfs:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            entries.append(entry)
        return 200, entries


@contextlib.contextmanager
def hub_upload() -> Iterator[HubUpload]:
    """A running stub without repositories."""
    stub = HubUpload()
    try:
        yield stub
    finally:
        stub.close()
