"""An end to waiting for a socket that sends a byte now and then, so that no read of it ever times out.

In: seconds, and what to call after them. The call shuts the socket, and the read that waits for it fails.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Deadline:
    """Calls `end` once, `seconds` after the block began or after the last `renew`, unless the block ends first."""

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._seconds, self._end = seconds, end
        self.has_passed = False

    def __enter__(self) -> Deadline:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def renew(self) -> None:
        """Begin to count anew."""
        self._timer.cancel()
        self._start()

    def _start(self) -> None:
        self._timer = threading.Timer(self._seconds, self._pass)
        self._timer.daemon = True
        self._timer.start()

    def _pass(self) -> None:
        self.has_passed = True
        with contextlib.suppress(RuntimeError, ValueError, OSError):  # what is waited for has just come
            self._end()


def _headers_in_time(connection: HTTPConnection) -> Deadline:
    """Twice the time that a connection waits for one byte is enough for all header lines."""
    seconds = connection.timeout if isinstance(connection.timeout, int | float) else 60.0
    sock: socket.socket = connection.sock  # connected: the request has been sent
    return Deadline(2 * seconds, lambda: sock.shutdown(socket.SHUT_RDWR))


class _Http(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _headers_in_time(self):
            return super().getresponse()


class _Https(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        with _headers_in_time(self):
            return super().getresponse()


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


POOLS = {"http": _HttpPool, "https": _HttpsPool}  # for urllib3.PoolManager.pool_classes_by_scheme
