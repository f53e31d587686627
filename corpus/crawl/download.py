"""One file over HTTP into a `.part` file, resumed by Range until it is whole.

What may happen and what is done (RFC 9110, sections 13 to 15): 206 continues at the right byte or starts over; 200 to a
Range means that the file has changed (If-Range) or the server knows no ranges, so it starts over; 416 means that the
part is whole or of another file; 429 and 5xx wait as long as the server says, or by exponential backoff with full
jitter; a broken connection continues where it broke; 403 is final, for every file, because Common Crawl answers so to
clients that ask too much, and asking on makes it worse.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import __version__
from corpus.config import setting

if TYPE_CHECKING:
    import urllib3

_CHUNK = 1 << 18
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Config:
    """How to ask a server."""

    base: str = setting("https://data.commoncrawl.org/", "where the crawl is served; a mirror or a local copy")
    limit: int | None = setting(None, "download the first N files of the listing", low=1)
    sample: int | None = setting(None, "download N files drawn at random by --seed", low=1)
    seed: int = setting(1, "seed of --sample", low=0)
    connections: int = setting(4, "connections at a time (Common Crawl asks for few; 10 at the most)", low=1, high=10)
    retries: int = setting(12, "failures in a row, without a byte in between, before a file is given up", low=0)
    backoff: float = setting(1.0, "first wait after a failure, in seconds; doubles up to an hour", low=0)
    timeout: float = setting(60.0, "seconds without a byte before a connection counts as broken", low=0.1)
    contact: str = setting("", "an address or URL for the User-Agent, so that the server's people can reach you")


class Forbidden(Exception):
    """The server said 403: stop everything, keep what there is."""


class Stopped(Exception):
    """Another file's failure, or the user, asked to stop."""


class _Broken(Exception):
    """Worth another try; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """What a server says of a file."""

    size: int
    etag: str


def user_agent(config: Config) -> str:
    """Who we are."""
    contact = f"; {config.contact}" if config.contact else ""
    return f"corpus-toolkit/{__version__} (pretraining corpus pipeline{contact})"


def make_pool(config: Config) -> urllib3.PoolManager:
    """Connections, each used by one thread at a time; retries are ours."""
    import urllib3

    return urllib3.PoolManager(
        maxsize=config.connections,
        retries=False,
        timeout=urllib3.Timeout(connect=config.timeout, read=config.timeout),
        headers={"User-Agent": user_agent(config), "Accept-Encoding": "identity"},
    )


def download(
    pool: urllib3.PoolManager,
    url: str,
    part: Path,
    config: Config,
    stop: threading.Event,
    on_bytes: Callable[[int, int], None],
    on_retry: Callable[[str], None],
) -> Remote:
    """Make `part` the whole file. `on_bytes(have, total)` as it grows; `on_retry(reason)` before each wait.

    Raises Forbidden on 403, FileNotFoundError on 404, Stopped when `stop` is set, OSError when retries are used up.
    """
    failures = 0
    while True:
        before = _size(part)
        try:
            return _transfer(pool, url, part, stop, on_bytes)
        except _Broken as broken:
            failures = 0 if _size(part) > before else failures + 1
            if failures > config.retries:
                raise OSError(
                    f"{url}: given up after {failures} failures: {broken}; the same command resumes"
                ) from None
            wait = broken.wait
            if wait is None:  # full jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
                wait = random.uniform(0, min(3600.0, config.backoff * 2 ** max(0, failures - 1)))
            on_retry(f"{broken}; next try in {wait:.1f} s")
            if stop.wait(wait):
                raise Stopped from None


def _transfer(
    pool: urllib3.PoolManager, url: str, part: Path, stop: threading.Event, on_bytes: Callable[[int, int], None]
) -> Remote:
    import urllib3

    label = part.with_name(part.name + ".etag")  # which file the part is of
    etag = label.read_text() if label.is_file() else ""
    have = _size(part) if etag else 0
    headers = {"Range": f"bytes={have}-", "If-Range": etag} if have else {}
    try:
        response = pool.request(
            "GET", url, headers={**pool.headers, **headers}, preload_content=False, decode_content=False
        )
        try:
            return _receive(response, url, part, label, have, stop, on_bytes)
        finally:
            response.close()  # not back into the pool: what is left of a body that we gave up is not worth reading
    except urllib3.exceptions.HTTPError as error:
        raise _Broken(f"{type(error).__name__}: {error}") from None


def _receive(
    response: urllib3.BaseHTTPResponse,
    url: str,
    part: Path,
    label: Path,
    have: int,
    stop: threading.Event,
    on_bytes: Callable[[int, int], None],
) -> Remote:
    _check_status(response, url)
    etag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if response.status == 416:
        total = _total(response.headers.get("Content-Range", ""))
        if have and total == have:
            return Remote(have, label.read_text())
        _discard(part, label)
        raise _Broken("the part is not of this file, starting over", wait=0.0)
    if response.status == 206:
        start, total = _range(response.headers.get("Content-Range", ""))
        if start != have:
            _discard(part, label)
            raise _Broken(f"asked for byte {have}, got byte {start}, starting over", wait=0.0)
    else:  # 200: the whole file, whatever we asked for
        have = 0
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        _discard(part, label)
        # Without either header nothing tells whether a part is of the same file: the label is empty, no resuming.
        label.write_text(etag)
    with part.open("ab" if have else "wb") as stream:
        for chunk in response.stream(_CHUNK, decode_content=False):
            stream.write(chunk)
            have += len(chunk)
            on_bytes(have, total or 0)
            if stop.is_set():
                raise Stopped
    if total is not None and have < total:
        raise _Broken(f"the connection ended after {have} of {total} bytes")
    if total is not None and have > total:
        _discard(part, label)
        raise _Broken(f"got {have} bytes of a file of {total}, starting over")
    return Remote(have, etag)


def _check_status(response: urllib3.BaseHTTPResponse, url: str) -> None:
    status = response.status
    if status == 403:
        raise Forbidden(f"{url}: the server forbids it (403)")
    if status in (404, 410):
        raise FileNotFoundError(f"{url}: not there ({status})")
    if status in _BUSY:
        after = response.headers.get("Retry-After", "")
        raise _Broken(f"the server answered {status}", wait=float(after) if after.isdigit() else None)
    if status not in (200, 206, 416):
        raise OSError(f"{url}: unexpected answer {status}")


def _range(header: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header.strip())
    if not match:
        return -1, None
    return int(match.group(1)), None if match.group(2) == "*" else int(match.group(2))


def _total(header: str) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", header.strip())
    return int(match.group(1)) if match else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _discard(part: Path, label: Path) -> None:
    part.unlink(missing_ok=True)
    label.unlink(missing_ok=True)
