"""One request over HTTP, and its whole answer in memory.

In: an address, and the bytes of it that are wanted. Out: the answer after redirects, of which every byte has come.
What may pass (429, 5xx, a broken or silent connection, a body that was cut) is tried again, no sooner than the server
asks for by Retry-After. Proxies are those of `corpus.store.connections`.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3

from corpus.store.connections import TRY_AGAIN, Pools, reason, retry_after
from corpus.store.deadline import Deadline

_ATTEMPTS = 5
_LONGEST_WAIT = 60.0  # seconds before another attempt, whatever the server asks for
_SECONDS = 60.0  # without a byte, after which a connection is broken
_BODY_SECONDS = 600.0  # for the body of an answer
_MAX_REDIRECTS = 5
_USER_AGENT = "corpus-toolkit"


class Answer(NamedTuple):
    """Status, headers and the whole body; the body is empty if it was longer than the caller wanted."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


class _Again(Exception):
    """An attempt failed for a reason that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def get(url: str, headers: Mapping[str, str], most: int) -> Answer:
    """The answer to a GET; a body of more than `most` bytes is left unread.

    Raises ConnectionError naming the address after the last attempt, ValueError for an address that is none.
    """
    sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
    attempt = 1
    while True:
        try:
            return _once(url, sent, most)
        except _Again as error:
            if attempt == _ATTEMPTS:
                shown = url.partition("?")[0]  # what is behind it may be a signature
                raise ConnectionError(f"{shown}: gave up after {attempt} failed attempts ({error})") from None
            _pause(attempt, error.wait)
        attempt += 1


def _once(url: str, headers: Mapping[str, str], most: int) -> Answer:
    for _ in range(_MAX_REDIRECTS + 1):
        pool = _pools().for_url(url)
        try:
            response = pool.request("GET", url, headers=headers, preload_content=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise _Again(reason(error)) from None
        try:
            location = response.get_redirect_location()
            if not location:
                return _read(response, most)
        finally:
            if response.length_remaining == 0:
                response.drain_conn()  # even an empty body has to be read before the next request
            else:
                response.close()
            response.release_conn()
        onward = urljoin(url, location)
        if urlsplit(onward)[:2] != urlsplit(url)[:2]:  # a token is for the host that it was meant for
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        url = onward
    raise _Again(f"more than {_MAX_REDIRECTS} redirects")


def _read(response: urllib3.BaseHTTPResponse, most: int) -> Answer:
    if response.status in TRY_AGAIN:
        raise _Again(f"HTTP status {response.status}", retry_after(response.headers.get("Retry-After", "")))
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding not in ("", "identity"):
        raise _Again(f"the body came compressed with {coding}, which nobody asked for")
    pieces: list[bytes] = []
    size = 0
    with Deadline(_BODY_SECONDS, response.shutdown) as deadline:
        while size <= most:
            try:
                # urllib3 raises IncompleteRead for a body that is shorter than its Content-Length.
                piece = response.read1(1 << 20, decode_content=False)
            except (urllib3.exceptions.HTTPError, ValueError) as error:
                raise _Again("too slow" if deadline.has_passed else reason(error)) from None
            if not piece:
                if deadline.has_passed:
                    raise _Again("too slow")
                if response.length_remaining not in (0, None):
                    raise _Again(f"connection closed {response.length_remaining} bytes too soon")
                return Answer(response.status, response.headers, b"".join(pieces), True)
            pieces.append(piece)
            size += len(piece)
    return Answer(response.status, response.headers, b"", False)


@functools.cache
def _pools() -> Pools:
    return Pools(
        maxsize=8,
        timeout=urllib3.Timeout(connect=30, read=_SECONDS),
        retries=urllib3.Retry(total=None, connect=0, read=0, other=0, status=0, redirect=0),
    )


def _pause(attempt: int, wait: float) -> None:
    time.sleep(max(random.uniform(0, 0.2 * 2**attempt), min(wait, _LONGEST_WAIT)))
