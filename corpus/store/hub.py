"""`hf://datasets/ORG/NAME[@REVISION]/path`: files of the Hugging Face Hub as a `Storage` that can only be read.

`hf://ORG/NAME/path` names a model's files. The library huggingface_hub lists them; HF_ENDPOINT and HF_TOKEN (or what
`hf auth login` left) mean to it what they mean elsewhere. Files are read and checked as those of any web server
(`corpus.store.http`). A revision is turned into its commit once in a process, so what is read does not change
meanwhile. A file that is copied as a whole is compared with the checksum that the commit names.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from corpus.store.base import Entry, join_key
from corpus.store.http import HttpStorage, Version

_ADDRESS = re.compile(
    r"hf://(?P<kind>datasets/|spaces/|models/)?(?P<name>(?!(?:datasets|spaces|models)/)[^/@]+/[^/@]+)"
    r"(@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(/(?P<path>.*))?"
)
_SHA256 = "sha256:"


class _Repository(NamedTuple):
    """A repository at a commit."""

    api: Any  # huggingface_hub's
    kind: str  # dataset, space or model
    name: str
    commit: str
    endpoint: str | None


class HubStorage(HttpStorage):
    """A folder of a repository."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        parts = _ADDRESS.fullmatch(self.root)
        if parts is None:
            raise ValueError(f"{root}: names no repository; use hf://datasets/ORG/NAME/path")
        kind = (parts["kind"] or "models/").removesuffix("s/")
        self._folder = parts["path"] or ""
        revision = unquote(parts["revision"]) if parts["revision"] else None
        with self._errors(""):
            self._repository = _repository(kind, parts["name"], revision, os.environ.get("HF_ENDPOINT") or None)

    def entries(self, prefix: str) -> Sequence[Entry]:
        with self._errors(prefix):
            return [
                Entry(self._key(path), size, stamp, 0.0)
                for path, size, stamp in _listing(self._repository, self._path(prefix))
                if size is not None
            ]

    def folders(self, prefix: str) -> Sequence[str]:
        with self._errors(prefix):
            return [self._key(path) for path, size, _ in _listing(self._repository, self._path(prefix)) if size is None]

    def is_folder(self, prefix: str) -> bool:
        with self._errors(prefix):
            return bool(_listing(self._repository, self._path(prefix)))

    def fingerprint(self, key: str) -> tuple[int, str]:
        found = next((entry for entry in self.entries(key.rpartition("/")[0]) if entry.key == key), None)
        if found is None:
            raise FileNotFoundError(f"{self.root}/{key}: no such file in commit {self._repository.commit}")
        return found.size, found.stamp

    def version(self, key: str) -> Version:
        size, _ = self.fingerprint(key)
        version = super().version(key)
        if version.size != size:
            raise OSError(f"{self.root}/{key}: has {version.size} bytes, and {size} by the listing of its commit")
        return version

    def url(self, key: str) -> str:
        from huggingface_hub import hf_hub_url

        at = self._repository
        return str(hf_hub_url(at.name, self._path(key), repo_type=at.kind, revision=at.commit, endpoint=at.endpoint))

    def headers(self) -> Mapping[str, str]:
        from huggingface_hub.utils._headers import build_hf_headers

        return dict(build_hf_headers())

    @contextlib.contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        with super().local_path(key) as path:
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                item = join_key(key, file.name) if path.is_dir() else key
                size, stamp = self.fingerprint(item)
                if _checksum(file, size, stamp) != stamp:
                    raise OSError(f"{self.root}/{item}: other bytes came than its commit names; try again")
            yield path

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}".strip("/")

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._folder}/") if self._folder else path

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn the exceptions of huggingface_hub and of its HTTP client into one line that names the address."""
        address = join_key(self.root, key) if key else self.root
        try:
            yield
        except ModuleNotFoundError as error:
            raise ValueError(f"{address}: {error.name} is not installed; pip install '.[hub]' brings it") from None
        except Exception as error:  # the HTTP client's have no base that could be named here
            line = next((text for text in str(error).split("\n") if text.strip()), type(error).__name__)
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in (401, 403):
                raise PermissionError(f"{address}: access denied, or no such repository; set HF_TOKEN") from None
            if status == 404:
                raise FileNotFoundError(
                    f"{address}: no such repository or revision; check the name, and HF_TOKEN"
                ) from None
            if type(error).__name__ == "OfflineModeIsEnabled":
                raise OSError(f"{address}: HF_HUB_OFFLINE forbids the network; unset it") from None
            if isinstance(error, OSError | ValueError) and status is None:
                raise
            raise ConnectionError(f"{address}: {line}; check HF_ENDPOINT and the network") from None


@functools.cache
def _repository(kind: str, name: str, revision: str | None, endpoint: str | None) -> _Repository:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    commit = api.repo_info(name, repo_type=kind, revision=revision).sha
    return _Repository(api, kind, name, str(commit), endpoint)


@functools.cache  # a commit does not change
def _listing(at: _Repository, folder: str) -> list[tuple[str, int | None, str]]:
    """(path, size, checksum) of what is directly in a folder, sorted; the size of a folder is None."""
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import EntryNotFoundError

    tree = at.api.list_repo_tree(at.name, folder or None, repo_type=at.kind, revision=at.commit)
    try:
        listed = [
            (item.path, item.size, f"{_SHA256}{item.lfs.sha256}" if item.lfs else item.blob_id)
            if isinstance(item, RepoFile)
            else (item.path, None, "")
            for item in tree
        ]
    except EntryNotFoundError:
        return []
    below = f"{folder}/" if folder else ""
    return sorted(item for item in listed if item[0].startswith(below))


def _checksum(file: Path, size: int, stamp: str) -> str:
    """The checksum of a file's bytes, of the kind that `stamp` is: LFS's sha256, or the id of a blob in git."""
    is_lfs = stamp.startswith(_SHA256)
    digest = hashlib.sha256() if is_lfs else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return f"{_SHA256}{digest.hexdigest()}" if is_lfs else digest.hexdigest()
