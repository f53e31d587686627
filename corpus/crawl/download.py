"""One file over HTTP, whole or not at all, resumed where the last attempt broke off.

In: an address and a local path. Out: the file at that path, its size and ETag. The bytes go to `<name>.part` first
(`corpus.crawl.part`), and get their name when they are what the name says (`corpus.store.content`).

Failures are of three kinds:

- Another attempt may help: 429, 5xx, a broken, silent or very slow connection, fewer bytes than promised, another
  content than the file should have, a redirect to no address.
- This file cannot be had: `FetchError`.
- The whole run must stop: `Forbidden`. Common Crawl answers 403 to clients that it has blocked, and further requests
  make it worse.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar
from urllib.parse import urljoin

import urllib3

from bpe.whole import no_link, put_in_place
from corpus.crawl.part import Part, Version, continues, length, part_of, version_of
from corpus.store.connections import TRY_AGAIN, Pools, reason, retry_after
from corpus.store.content import HEAD, file_fault, head_fault
from corpus.store.deadline import Deadline

_PIECE = 256 * 1024
_REPORT_EVERY = 1024 * 1024
_MAX_SMALL = 64 * 1024 * 1024  # a listing has 0.2 MB; this limit stops a download from a wrong address
_MAX_REDIRECTS = 5

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


class _TooSlow(_TryAgain):
    """An attempt got fewer bytes a second than the lowest speed; it counts as a failure whatever it got."""


class Limits(NamedTuple):
    """The most bytes of a file, and the most seconds of its download; None: no such limit."""

    bytes: int
    seconds: float | None = None


class Speed(NamedTuple):
    """A connection is broken after `timeout` seconds without a byte, or with fewer than `lowest` bytes a second."""

    timeout: float
    lowest: int


@dataclass
class _Transfer:
    """One file over all its attempts. `refused` has (ETag, bytes) of whole files that were not right."""

    url: str
    limits: Limits
    on_bytes: Callable[[int, int | None], None] = lambda done, total: None
    began: float = field(default_factory=time.monotonic)
    refused: list[tuple[str, int]] = field(default_factory=list)

    def check_size(self, size: int | None) -> None:
        if size is not None and size > self.limits.bytes:
            raise FetchError(f"{self.url}: has over {self.limits.bytes >> 20:,} MiB; check the address")

    def check_time(self) -> None:
        if self.limits.seconds is not None and time.monotonic() > self.began + self.limits.seconds:
            raise FetchError(f"{self.url}: is not whole after {self.limits.seconds:,g} s; check the address")


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
        speed: Speed,
        user_agent: str,
    ) -> None:
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._pools = Pools(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=min(speed.timeout, 30), read=speed.timeout),
            # Retries are done here, because a body that breaks off has to be resumed.
            retries=urllib3.Retry(total=None, connect=0, read=0, other=0, status=0),
        )
        self._retries, self._backoff, self._max_backoff, self._speed = retries, backoff, max_backoff, speed
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
                total = length(response)
                data, transfer = bytearray(), _Transfer(url, Limits(_MAX_SMALL))
                for piece in self._body(response, transfer):
                    data += piece
                    transfer.check_size(len(data))
                if total is not None and len(data) != total:
                    raise _TryAgain(f"connection closed after {len(data)} of {total} bytes")
                return bytes(data)

        return self._retrying(url, attempt, lambda: 0, on_retry)

    def size_and_etag(self, url: str, on_retry: Callable[[int, float, str], None]) -> tuple[int | None, str]:
        """Size and ETag of the file at `url`, without its body; the size is None if the server does not name it."""

        def attempt() -> tuple[int | None, str]:
            with self._request("HEAD", url, {}) as response:
                return (length(response) if response.status == 200 else None), response.headers.get("ETag", "")

        return self._retrying(url, attempt, lambda: 0, on_retry)

    def download(
        self,
        url: str,
        target: Path,
        on_bytes: Callable[[int, int | None], None],
        on_retry: Callable[[int, float, str], None],
        limits: Limits,
    ) -> tuple[int, str]:
        """Fetch `url` to `target`, going on with `target`.part if it is there; returns (bytes, ETag).

        `on_bytes(done, total)` is called during the transfer, `on_retry(failures, seconds, reason)` before each wait.
        Raises FetchError, Forbidden, Stopped, and OSError for the local disk; the .part file stays, unless it
        holds bytes that the file does not have.
        """
        part, most = part_of(target), 0
        transfer = _Transfer(url, limits, on_bytes)

        def reached() -> int:
            nonlocal most
            most = max(most, part.size)
            return most

        version = self._retrying(url, lambda: self._attempt(part, transfer), reached, on_retry)
        size = part.size
        put_in_place(part.data, target)
        part.note.unlink(missing_ok=True)
        return size, version.etag

    def _attempt(self, part: Part, transfer: _Transfer) -> Version:
        """Make one request for the missing bytes; returns when `part` is whole and right, else raises."""
        url = transfer.url
        version = part.kept(url)
        seam = part.seam() if version else b""
        start = part.size - len(seam)
        asked = {"Range": f"bytes={start}-", "If-Range": version.validator} if version else {}
        with self._request("GET", url, asked) as response:
            if version and response.status in (206, 416):
                if response.status == 416 or not continues(response, version, start):
                    _start_over(part, "the file has changed on the server")
            elif response.status == 200:  # the first attempt; or the server knows no ranges, or has a new version
                version, seam = version_of(response, url), b""
                transfer.check_size(version.size)
                part.begin(version)
            else:
                raise FetchError(f"{url}: HTTP status {response.status}; try a mirror with --base")
            self._append(response, part, version.size, seam, transfer)
            has_length = version.size is not None or response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        done = part.size
        if version.size is not None and done < version.size:
            raise _TryAgain(f"connection closed after {done} of {version.size} bytes")
        if version.size is not None and done > version.size:
            _start_over(part, f"{done} bytes came of {version.size}")
        if fault := file_fault(part.data, part.name, has_length=has_length):
            if (version.etag, done) in transfer.refused:  # what comes twice is what the server has
                part.discard()
                raise FetchError(f"{url}: the server's file is not right: {fault}; try a mirror with --base")
            transfer.refused.append((version.etag, done))
            _start_over(part, f"not the file: {fault}")
        return version

    def _append(
        self, response: urllib3.BaseHTTPResponse, part: Part, total: int | None, seam: bytes, transfer: _Transfer
    ) -> None:
        """Write the body behind the bytes of `part`. The body begins with `seam`, the last of these bytes."""
        done = reported = part.size
        known = done >= HEAD
        transfer.on_bytes(done, total)
        with open(part.data, "ab", opener=no_link) as file:
            for piece in self._body(response, transfer):
                overlap = min(len(seam), len(piece))
                if piece[:overlap] != seam[:overlap]:
                    _start_over(part, "other bytes than before came from the server")
                seam = seam[overlap:]
                file.write(piece[overlap:])
                done += len(piece) - overlap
                if done > transfer.limits.bytes:
                    part.discard()
                    transfer.check_size(done)
                if not known and done >= HEAD:
                    known = True
                    file.flush()
                    if fault := head_fault(part.name, part.head(HEAD)):
                        _start_over(part, f"not the file: {fault}")
                if done - reported >= _REPORT_EVERY:
                    reported = done
                    transfer.on_bytes(done, total)
        transfer.on_bytes(done, total)

    def _body(self, response: urllib3.BaseHTTPResponse, transfer: _Transfer) -> Iterator[bytes]:
        """The pieces of the body as they arrive, so that the bytes before a broken connection are not lost."""
        recent, since = 0, time.monotonic()
        # A chunk's header that comes byte by byte keeps one read waiting: the deadline ends it.
        with Deadline(2 * self._speed.timeout, response.shutdown) as deadline:
            while True:
                self._check()
                transfer.check_time()
                try:
                    # read1 returns after one read from the network. read would wait for more, and lose what it has if
                    # the connection breaks.
                    piece = response.read1(_PIECE, decode_content=False)
                except (urllib3.exceptions.HTTPError, ValueError) as error:
                    raise _TooSlow("too slow") if deadline.has_passed else _TryAgain(reason(error)) from None
                if not piece and not deadline.has_passed:
                    return
                yield piece
                recent, seconds = recent + len(piece), time.monotonic() - since
                if seconds >= self._speed.timeout:
                    if deadline.has_passed or recent < self._speed.lowest * seconds:
                        raise _TooSlow(f"only {recent:,} bytes in {seconds:.0f} s")
                    recent, since = 0, time.monotonic()
                    deadline.renew()

    @contextlib.contextmanager
    def _request(self, method: str, url: str, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """A response whose body is worth reading. Refusals and errors of the server become exceptions."""
        self._check()
        response = self._follow(method, url, self._headers | headers)
        with self._lock:
            self._open.add(response)
        try:
            if response.status == 403:
                raise Forbidden(url)
            if response.status in (404, 410):
                raise Missing(f"{url}: HTTP status {response.status}, no such file; check the name of the crawl")
            if response.status in TRY_AGAIN:
                wait = retry_after(response.headers.get("Retry-After", ""))
                raise _TryAgain(f"HTTP status {response.status}", wait)
            yield response
        finally:
            with self._lock:
                self._open.discard(response)
            _release(response)

    def _follow(self, method: str, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The response at the end of the redirects. Each address is asked through the proxy that is right for it."""
        try:
            pool = self._pools.for_url(url)
        except ValueError as error:
            raise FetchError(str(error)) from None
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                response = pool.request(method, url, headers=headers, preload_content=False, redirect=False)
                location = response.get_redirect_location()
                if not location:
                    return response
                _release(response)
                url = urljoin(url, location)
                pool = self._pools.for_url(url)
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                raise _TryAgain(reason(error)) from None
        raise _TryAgain(f"more than {_MAX_REDIRECTS} redirects")

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
                failures = 1 if reached() > best and not isinstance(error, _TooSlow) else failures + 1
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


def _start_over(part: Part, reason: str) -> NoReturn:
    part.discard()
    raise _TryAgain(f"{reason}, starting over")


def _release(response: urllib3.BaseHTTPResponse) -> None:
    """Give the connection back. After a body that was read to its end, the next request can use it."""
    if response.length_remaining != 0:
        response.close()
    response.release_conn()
