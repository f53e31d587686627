"""`https://host/path`, `http://host/path`: files of a web server as a `Storage` that can only be read.

A file is read in ranges, and each answer is checked: its status is 206, it has the bytes that were asked for and all of
them, and it belongs to the version of the file that was opened, by size and ETag (or Last-Modified). The first bytes
must be those of a file of this name, because portals answer 200 with a page of their own; a gzip file that is copied
as a whole must end with a whole member. A file of at most 64 MiB is
read whole where a server knows no ranges. A web server has no listing, so each file is named.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, NoReturn

from corpus.store import web
from corpus.store.base import Entry, ReadOnlyStorage, join_key
from corpus.store.content import HEAD, file_fault, head_fault
from corpus.store.ranges import range_reader

_MOST_WHOLE = 64 << 20  # bytes of a file that is read whole


class Version(NamedTuple):
    """What tells one version of a file from the next."""

    size: int
    stamp: str  # ETag, or Last-Modified, or ""
    has_ranges: bool


class HttpStorage(ReadOnlyStorage):
    """A folder of a web server."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def url(self, key: str) -> str:
        """The address of a file."""
        return join_key(self.root, key)

    def headers(self) -> Mapping[str, str]:
        """What each request carries."""
        return {}

    def entries(self, prefix: str) -> Sequence[Entry]:
        self._no_listing(prefix)

    def folders(self, prefix: str) -> Sequence[str]:
        self._no_listing(prefix)

    def is_folder(self, prefix: str) -> bool:
        return False

    def fingerprint(self, key: str) -> tuple[int, str]:
        version = self.version(key)
        return version.size, version.stamp or f"size-{version.size}"

    def open(self, key: str) -> BufferedReader:
        version = self.version(key)
        if not version.has_ranges:
            return BufferedReader(io.BytesIO(self._whole(key)))
        return range_reader(lambda start, length: self._range(key, version, start, length), version.size)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        version = self.version(key)
        if not version.has_ranges:
            return self.checked_range(key, start, length, self._whole(key)[start : start + length])
        return self._range(key, version, start, length)

    @contextlib.contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        with super().local_path(key) as path:
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                name = file.name if path.is_dir() else _file_name(key)
                if file.stat().st_size and (fault := file_fault(file, name)):
                    raise OSError(f"{self._name(key)}: {name} is not right: {fault}; try again, or another address")
            yield path

    def version(self, key: str) -> Version:
        """The version of a file that the server has now. Raises FileNotFoundError, and OSError for what it answers."""
        # By a GET of one byte and not by HEAD, which an address that is signed for GET does not allow.
        answer = web.get(self.url(key), {**self.headers(), "Range": "bytes=0-0"}, 1)
        stamp = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
        if answer.status == 206:
            return Version(self._content_range(key, answer)[2], stamp.strip('"'), True)
        if answer.status == 416 and answer.headers.get("Content-Range", "").strip() == "bytes */0":
            return Version(0, stamp.strip('"'), True)
        if answer.status != 200:
            self._refuse(key, answer.status)
        length = answer.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise OSError(f"{self._name(key)}: the server names no length; download the file and use its path")
        return Version(int(length), stamp.strip('"'), False)

    def _whole(self, key: str) -> bytes:
        answer = web.get(self.url(key), self.headers(), _MOST_WHOLE)
        if answer.status != 200:
            self._refuse(key, answer.status)
        if not answer.is_whole:
            raise OSError(
                f"{self._name(key)}: the server knows no ranges, and the file has over {_MOST_WHOLE >> 20} MiB; "
                "download it and use its path"
            )
        self._check_head(key, answer.body)
        return answer.body

    def _range(self, key: str, version: Version, start: int, length: int) -> bytes:
        if length == 0 or start + length > version.size:
            return self.checked_range(key, start, length, b"")
        asked = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = web.get(self.url(key), {**self.headers(), **asked}, length)
        if answer.status in (200, 416):
            raise self._changed(key)
        if answer.status != 206:
            self._refuse(key, answer.status)
        first, last, size = self._content_range(key, answer)
        stamp = (answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")).strip('"')
        if size != version.size or stamp != version.stamp:
            raise self._changed(key)
        if (first, last + 1) != (start, start + length) or len(answer.body) != length:
            raise OSError(
                f"{self._name(key)}: bytes {start} to {start + length - 1} were asked for, and "
                f"{len(answer.body)} bytes from {first} on came; the server or a proxy is wrong"
            )
        if start == 0 and length >= min(HEAD, version.size):
            self._check_head(key, answer.body)
        return answer.body

    def _content_range(self, key: str, answer: web.Answer) -> tuple[int, int, int]:
        """(first byte, last byte, size of the file) of an answer to a range."""
        named = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", named.strip())
        if not found:
            raise OSError(f"{self._name(key)}: the answer to a range names no range ({named!a})")
        return int(found[1]), int(found[2]), int(found[3])

    def _check_head(self, key: str, data: bytes) -> None:
        if data and (fault := head_fault(_file_name(key), data[:HEAD])):
            raise OSError(f"{self._name(key)}: not the file: {fault}")

    def _refuse(self, key: str, status: int) -> NoReturn:
        if status in (404, 410):
            raise FileNotFoundError(f"{self._name(key)}: HTTP status {status}, no such file; check the address")
        if status in (401, 403):
            raise PermissionError(f"{self._name(key)}: HTTP status {status}, access denied")
        raise OSError(f"{self._name(key)}: HTTP status {status}")

    def _changed(self, key: str) -> OSError:
        return OSError(
            f"{self._name(key)}: was written again while it was being read; inputs must not change during a run"
        )

    def _name(self, key: str) -> str:
        return join_key(self.root, key.partition("?")[0])  # what is behind it may be a signature

    def _no_listing(self, prefix: str) -> NoReturn:
        raise ValueError(f"{join_key(self.root, prefix)}: a web server has no listing; name each file")


def _file_name(key: str) -> str:
    return key.partition("?")[0].rpartition("/")[2]
