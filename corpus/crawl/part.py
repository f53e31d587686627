"""A download that is not finished: its bytes so far, and a note which version of the file they belong to.

`<name>.part` has the bytes, and `<name>.part.json` says which version of the file on the server (ETag, date, size) they
are. So a later attempt, or a later run, asks only for the missing bytes (`Range` with `If-Range`, RFC 9110 section
13.1.5). It asks for some bytes again, too, and goes on only where these are equal: servers and disks have been seen to
mix up versions. Unlike the temporary files of `bpe.whole`, a `.part` file has a fixed name and outlives a failure,
because the next attempt goes on with it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import urllib3

from bpe.parse import parse_json

SEAM = 16 * 1024  # bytes that are asked for again
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18})")


class Version(NamedTuple):
    """One version of a file on the server; `size` is None if the server doesn't say it."""

    url: str
    etag: str
    modified: str
    size: int | None

    @property
    def validator(self) -> str:
        """The value for If-Range: a strong ETag, else a date; "" if neither is there, and versions could be mixed."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Part(NamedTuple):
    """The two files of an unfinished download."""

    data: Path
    note: Path

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.data.stat().st_size if self.data.exists() else 0

    @property
    def name(self) -> str:
        """The name that the whole file will have."""
        return self.data.name.removesuffix(".part")

    def head(self, size: int) -> bytes:
        """The first `size` bytes."""
        with self.data.open("rb") as file:
            return file.read(size)

    def kept(self, url: str) -> Version | None:
        """The version of the file at `url` whose beginning is there; None if the bytes are of no use."""
        try:
            version = Version(**parse_json(self.note.read_bytes()))
            done = self.data.stat().st_size
            usable = version.url == url and version.validator and version.size is not None and done <= version.size
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return None
        return version if usable and done else None

    def seam(self) -> bytes:
        """The last bytes so far, which the next attempt asks for again."""
        with self.data.open("rb") as file:
            file.seek(max(0, self.size - SEAM))
            return file.read()

    def begin(self, version: Version) -> None:
        """Start over with another version."""
        self.data.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)  # it might be a link
        self.note.write_text(json.dumps(version._asdict()))

    def discard(self) -> None:
        """Remove both files."""
        self.data.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def part_of(target: Path) -> Part:
    """The files of an unfinished download of `target`."""
    return Part(target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json"))


def version_of(response: urllib3.BaseHTTPResponse, url: str) -> Version:
    """The version that a whole response brings."""
    header = response.headers.get
    return Version(url, header("ETag", ""), header("Last-Modified", ""), length(response))


def continues(response: urllib3.BaseHTTPResponse, version: Version, start: int) -> bool:
    """Whether a response of status 206 has bytes of `version` from `start` on.

    A 206 names the ETag that the whole response would have (RFC 9110 section 15.3.7). One without it may be of any
    version.
    """
    first, total = _content_range(response)
    header = response.headers.get
    if version.etag:
        is_same = header("ETag", "") == version.etag
    else:  # a 206 need not repeat the date that If-Range had
        is_same = header("Last-Modified", version.modified) == version.modified
    return is_same and first == start and total in (None, version.size)


def length(response: urllib3.BaseHTTPResponse) -> int | None:
    """The bytes of the body that the server promises; None if it does not say."""
    value = response.headers.get("Content-Length", "")
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else None


def _content_range(response: urllib3.BaseHTTPResponse) -> tuple[int | None, int | None]:
    """(first byte, size of the whole file) of a Content-Range header."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), int(match[2])
