"""One file over HTTP, whole or not at all, resumed where the last attempt broke off.

In: an address and a local path. Out: the file at that path, its size and ETag. The bytes go to `<name>.part` first, and
`<name>.part.json` says which version of the file on the server (ETag, size) they belong to. So a later attempt, or a
later run, asks only for the missing bytes (`Range` with `If-Range`, RFC 9110 section 13.1.5), and never joins two
versions. Unlike the temporary files of `bpe.whole`, a `.part` file has a fixed name and outlives a failure, because the
next attempt goes on with it.

Failures are of three kinds:

- Another attempt may help: 429, 5xx, a broken or silent connection, fewer bytes than promised.
- This file cannot be had: `FetchError`.
- The whole run must stop: `Forbidden`. Common Crawl answers 403 to clients that it has blocked, and further requests
  make it worse.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import urllib3

from bpe.whole import no_link, put_in_place

_PIECE = 256 * 1024
_REPORT_EVERY = 1024 * 1024
_TRY_AGAIN = (429, 500, 502, 503, 504)
_MAX_SMALL = 256 * 1024 * 1024  # a listing has 0.2 MB; this limit stops a download from a wrong address
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18})")

T = TypeVar("T")


class FetchError(Exception):
    """This file cannot be had; the message names its address and the fix."""


class Missing(FetchError):
    """The server says that there is no such file (404, 410)."""


class Forbidden(Exception):
    """The server refuses this client (403), so the whole run must stop. `url` is the address that was refused."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url}: 403 Forbidden; the server blocks this client. Wait some hours, then run the same command with"
            " fewer --connections and a --contact; it will go on where it stopped"
        )
        self.url = url


class Stopped(Exception):
    """The run is ending. Partial files stay."""


class _TryAgain(Exception):
    """An attempt failed for a reason that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Version(NamedTuple):
    """One version of a file on the server."""

    url: str
    etag: str
    modified: str
    size: int | None

    @property
    def validator(self) -> str:
        """The value for If-Range: a strong ETag, else a date; "" if neither is there, and versions could be mixed."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Client:
    """A pool of at most `connections` connections that retries politely and can be stopped from another thread.

    `backoff` and `max_backoff` are seconds: after the n-th failure in a row the client waits a random time below
    min(max_backoff, backoff * 2^(n-1)), and no less than the server's Retry-After. `retries` is the most failures in a
    row; a download that got further than ever before starts to count again.
    """

    def __init__(
        self,
        *,
        connections: int,
        retries: int,
        backoff: float,
        max_backoff: float,
        timeout: float,
        user_agent: str,
    ) -> None:
        self._pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=min(timeout, 30), read=timeout),
            # urllib3 follows redirects. Retries are done here, because a body that breaks off has to be resumed.
            retries=urllib3.Retry(total=None, connect=0, read=0, other=0, status=0, redirect=5),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        )
        self._retries, self._backoff, self._max_backoff = retries, backoff, max_backoff
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: set[urllib3.BaseHTTPResponse] = set()

    def stop(self) -> None:
        """End every transfer now. Calls in other threads raise Stopped."""
        self._stop.set()
        with self._lock:
            for response in self._open:
                with contextlib.suppress(RuntimeError, ValueError, OSError):  # the transfer has just ended
                    response.shutdown()

    def get(self, url: str, on_retry: Callable[[int, float, str], None]) -> bytes:
        """The bytes of a small file."""

        def attempt() -> bytes:
            with self._request("GET", url, {}) as response:
                if response.status != 200:
                    raise FetchError(f"{url}: HTTP status {response.status}; check --base")
                total = _length(response)
                data = b"".join(self._body(response, total if total is not None else _MAX_SMALL))
                if total is not None and len(data) != total:
                    raise _TryAgain(f"connection closed after {len(data)} of {total} bytes")
                return data

        return self._retrying(url, attempt, lambda: 0, on_retry)

    def size_and_etag(self, url: str, on_retry: Callable[[int, float, str], None]) -> tuple[int | None, str]:
        """Size and ETag of the file at `url`, without its body; the size is None if the server does not name it."""

        def attempt() -> tuple[int | None, str]:
            with self._request("HEAD", url, {}) as response:
                return (_length(response) if response.status == 200 else None), response.headers.get("ETag", "")

        return self._retrying(url, attempt, lambda: 0, on_retry)

    def download(
        self,
        url: str,
        target: Path,
        on_bytes: Callable[[int, int | None], None],
        on_retry: Callable[[int, float, str], None],
    ) -> tuple[int, str]:
        """Fetch `url` to `target`, going on with `target`.part if it is there; returns (bytes, ETag).

        `on_bytes(done, total)` is called during the transfer, `on_retry(failures, seconds, reason)` before each wait.
        Raises FetchError, Forbidden, Stopped, and OSError for the local disk; the .part file stays in each case.
        """
        part, note = partial_files(target)
        most = 0

        def reached() -> int:
            nonlocal most
            most = max(most, part.stat().st_size if part.exists() else 0)
            return most

        version = self._retrying(url, lambda: self._attempt(url, part, note, on_bytes), reached, on_retry)
        size = part.stat().st_size
        put_in_place(part, target)
        note.unlink(missing_ok=True)
        return size, version.etag

    def _attempt(self, url: str, part: Path, note: Path, on_bytes: Callable[[int, int | None], None]) -> _Version:
        """Make one request for the missing bytes; returns when `part` is whole, else raises."""
        version, done = _kept(part, note, url)
        asked = {"Range": f"bytes={done}-", "If-Range": version.validator} if version and done else {}
        with self._request("GET", url, asked) as response:
            if version and asked and response.status in (206, 416):
                start, total = _content_range(response)
                same = response.headers.get("ETag", version.etag) == version.etag and total in (None, version.size)
                if response.status == 416 and same and done == version.size:
                    return version
                if response.status == 416 or start != done or not same:
                    _discard(part, note)
                    raise _TryAgain("the file has changed on the server, starting over")
            elif response.status == 200:  # the first attempt; or the server knows no ranges, or has a new version
                header = response.headers.get
                version = _Version(url, header("ETag", ""), header("Last-Modified", ""), _length(response))
                done = 0
                part.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
                note.write_text(json.dumps(version._asdict()))
            else:
                raise FetchError(f"{url}: HTTP status {response.status}; try a mirror with --base")
            assert version is not None
            done = self._append(response, part, done, version.size, on_bytes)
        if version.size is not None and done != version.size:
            if done > version.size:
                _discard(part, note)
            raise _TryAgain(f"connection closed after {done} of {version.size} bytes")
        return version

    def _append(
        self,
        response: urllib3.BaseHTTPResponse,
        part: Path,
        done: int,
        total: int | None,
        on_bytes: Callable[[int, int | None], None],
    ) -> int:
        reported = done
        on_bytes(done, total)
        with open(part, "ab", opener=no_link) as file:
            for piece in self._body(response, None):
                file.write(piece)
                done += len(piece)
                if done - reported >= _REPORT_EVERY:
                    reported = done
                    on_bytes(done, total)
        on_bytes(done, total)
        return done

    def _body(self, response: urllib3.BaseHTTPResponse, limit: int | None) -> Iterator[bytes]:
        """The pieces of the body as they arrive, so that the bytes before a broken connection are not lost."""
        length = 0
        while limit is None or length < limit:
            self._check()
            try:
                # read1 returns after one read from the network. read would wait for more, and lose what it has if the
                # connection breaks.
                piece = response.read1(_PIECE, decode_content=False)
            except urllib3.exceptions.HTTPError as error:
                raise _TryAgain(_reason(error)) from None
            if not piece:
                return
            length += len(piece)
            yield piece

    @contextlib.contextmanager
    def _request(self, method: str, url: str, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """A response whose body is worth reading. Refusals and errors of the server become exceptions."""
        self._check()
        try:
            response = self._pool.request(method, url, headers={**self._pool.headers, **headers}, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _TryAgain(_reason(error)) from None
        with self._lock:
            self._open.add(response)
        try:
            if response.status == 403:
                raise Forbidden(url)
            if response.status in (404, 410):
                raise Missing(f"{url}: HTTP status {response.status}, no such file; check the name of the crawl")
            if response.status in _TRY_AGAIN:
                wait = _retry_after(response.headers.get("Retry-After", ""))
                raise _TryAgain(f"HTTP status {response.status}", wait)
            yield response
        finally:
            with self._lock:
                self._open.discard(response)
            # After a body that was read to its end, the next request can use the connection.
            if response.length_remaining != 0:
                response.close()
            response.release_conn()

    def _retrying(
        self,
        url: str,
        attempt: Callable[[], T],
        reached: Callable[[], int],
        on_retry: Callable[[int, float, str], None],
    ) -> T:
        failures, best = 0, reached()
        while True:
            try:
                return attempt()
            except _TryAgain as error:
                self._check()
                failures = 1 if reached() > best else failures + 1
                best = max(best, reached())
                if failures > self._retries:
                    raise FetchError(
                        f"{url}: gave up after {failures} failed attempts ({error}); run the same command to resume"
                    ) from None
                # Full jitter, so that clients that failed together do not come back together.
                ceiling = min(self._max_backoff, self._backoff * 2 ** (failures - 1))
                wait = max(random.uniform(0, ceiling), min(error.wait, self._max_backoff))
                on_retry(failures, wait, str(error))
                self._stop.wait(wait)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped


def partial_files(target: Path) -> tuple[Path, Path]:
    """The two files of an unfinished download: its bytes so far, and the note that names their version."""
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")


def _kept(part: Path, note: Path, url: str) -> tuple[_Version | None, int]:
    """The version whose beginning `part` holds, and how many bytes; (None, 0) if `part` is of no use."""
    try:
        version = _Version(**json.loads(note.read_text()))
        done = part.stat().st_size
    except (FileNotFoundError, ValueError, TypeError):
        return None, 0
    usable = version.url == url and version.validator and version.size is not None and done <= version.size
    return (version, done) if usable else (None, 0)


def _discard(part: Path, note: Path) -> None:
    part.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else None


def _content_range(response: urllib3.BaseHTTPResponse) -> tuple[int | None, int | None]:
    """(first byte, size of the whole file) of a Content-Range header."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), int(match[2])


def _retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (a number or a date, RFC 9110 section 10.2.3); 0 without one."""
    if re.fullmatch("[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    """urllib3's error in a few words."""
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason  # type: ignore[assignment]
    return f"{type(error).__name__}: {error}"[:200]
