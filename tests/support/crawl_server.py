"""A small crawl on a real local HTTP server that misbehaves on request.

files = crawl_files("CC-MAIN-2026-43", [write_warc([("https://a.example/", b"<html>...")])])
with CrawlServer(files) as server:
    server.fault("warc.gz", Cut(1000), Busy())      # the next two answers for paths that end in warc.gz
    fetch("CC-MAIN-2026-43", folder, FetchConfig(base=server.base))
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import io
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

DATE = "2026-10-10T00:00:00Z"


@dataclass(frozen=True)
class Busy:
    """Answer with an error, as soon as `once` is true."""

    status: int = 503
    retry_after: str | None = "0"
    once: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Cut:
    """Hang up after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Silent:
    """Stop sending after so many bytes, without hanging up, until the server closes."""

    after: int


@dataclass(frozen=True)
class IgnoreRange:
    """Answer with 200 and the whole file, whatever range was requested."""


@dataclass(frozen=True)
class WrongLength:
    """Send a Content-Length that is wrong by so many bytes."""

    by: int


@dataclass(frozen=True)
class WrongRange:
    """Answer with a 206 that begins so many bytes away from the requested byte."""

    by: int


@dataclass(frozen=True)
class Slow:
    """Send the body in small pieces with pauses in between."""

    piece: int = 4096
    pause: float = 0.002


@dataclass(frozen=True)
class Hangup:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class NewVersion:
    """The file becomes another one before this answer."""

    data: bytes


@dataclass(frozen=True)
class Instead:
    """Answer 200 with this body and type, whatever was asked for: a portal, or a cache that mixes up its files."""

    body: bytes
    content_type: str = "text/html"


@dataclass(frozen=True)
class NoLength:
    """Send no Content-Length, and hang up after so many bytes of the body; `chunked`: in chunks, without the last."""

    after: int
    chunked: bool = False


@dataclass(frozen=True)
class Redirect:
    """Answer 302 with this Location."""

    location: str


@dataclass(frozen=True)
class OtherRange:
    """Answer 206 with the requested bytes of another version, and with these headers."""

    data: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Drip:
    """Send a byte now and then for ever: of a header line, or of the header of a chunk behind so many bytes."""

    chunk_after: int | None = None
    pause: float = 0.05


@dataclass(frozen=True)
class Endless:
    """Send a body of lines that never ends."""

    status: int = 200
    location: str = ""


Fault = (
    Busy
    | Cut
    | Silent
    | IgnoreRange
    | WrongLength
    | WrongRange
    | Slow
    | Hangup
    | NewVersion
    | Instead
    | NoLength
    | Redirect
    | OtherRange
    | Endless
    | Drip
)


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    through: str = ""  # the host that a proxy was asked for


@dataclass
class _State:
    files: dict[str, bytes]
    etags: str  # "strong", "weak" or "none"
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    peak: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class CrawlServer:
    """Serves `files` (path -> bytes) with ranges, ETag and keep-alive on 127.0.0.1 while the `with` block runs.

    `etags` is "strong", "weak" (no date either) or "none". `requests` lists what came in, `peak` is the largest
    number of connections that were open at a time.
    """

    def __init__(self, files: dict[str, bytes], *, etags: str = "strong") -> None:
        self._state = _State(dict(files), etags)

    def __enter__(self) -> CrawlServer:
        handler = type("Handler", (_Handler,), {"state": self._state})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    @property
    def requests(self) -> list[Request]:
        return list(self._state.requests)

    @property
    def peak(self) -> int:
        return self._state.peak

    def fault(self, path_end: str, *faults: Fault) -> None:
        """Let the next answers for paths that end in `path_end` fail, with one fault for each answer."""
        self._state.faults[path_end].extend(faults)

    def pending(self) -> int:
        """Number of faults that have not happened yet."""
        return sum(len(faults) for faults in self._state.faults.values())

    def for_path(self, path_end: str) -> list[Request]:
        return [request for request in self.requests if request.path.endswith(path_end)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    state: _State
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self) -> None:
        with self.state.lock:
            self.state.connections += 1
            self.state.peak = max(self.state.peak, self.state.connections)
        super().setup()

    def finish(self) -> None:
        with self.state.lock:
            self.state.connections -= 1
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log to the tests' stderr."""

    def do_HEAD(self) -> None:
        self._answer(body_wanted=False)

    def do_GET(self) -> None:
        self._answer(body_wanted=True)

    def do_CONNECT(self) -> None:
        """Refuse the tunnel that a client of HTTPS asks a proxy for."""
        self.state.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.close_connection = True
        self.send_error(502)

    def _answer(self, *, body_wanted: bool) -> None:
        path = urlsplit(self.path).path.lstrip("/")  # a client that takes the server for a proxy names the host too
        with self.state.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.state.requests.append(Request(self.command, path, headers, urlsplit(self.path).netloc))
            queue = next((q for end, q in self.state.faults.items() if path.endswith(end) and q), [])
            fault = queue.pop(0) if queue else None
            if isinstance(fault, NewVersion):
                self.state.files[path] = fault.data
        if isinstance(fault, Hangup):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if isinstance(fault, Busy):
            deadline = time.monotonic() + 20
            while not fault.once() and time.monotonic() < deadline:
                time.sleep(0.01)
            extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            self._send(fault.status, extra, b"go away", None, body_wanted)
            return
        if isinstance(fault, Instead):
            self._send(200, {"Content-Type": fault.content_type}, fault.body, None, body_wanted)
            return
        if isinstance(fault, Redirect):
            self._send(302, {"Location": fault.location}, b"moved", None, body_wanted)
            return
        if isinstance(fault, Endless):
            self._endless(fault)
            return
        if isinstance(fault, Drip):
            self._drip(fault, self.state.files[path])
            return
        if path not in self.state.files:
            self._send(404, {}, b"no such file", None, body_wanted)
            return
        self._send_file(self.state.files[path], fault, body_wanted)

    def _drip(self, fault: Drip, data: bytes) -> None:
        self.send_response(200)
        self.close_connection = True
        if fault.chunk_after is not None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n1;" % (fault.chunk_after, data[: fault.chunk_after]))
        else:
            self.flush_headers()
        while not self.state.closing.is_set():
            self.wfile.write(b"x")
            time.sleep(fault.pause)

    def _endless(self, fault: Endless) -> None:
        self.send_response(fault.status)
        if fault.location:
            self.send_header("Location", fault.location)
        self.end_headers()
        self.close_connection = True
        while not self.state.closing.is_set():
            self.wfile.write(b"bad.example\n" * 4096)

    def _send_file(self, data: bytes, fault: Fault | None, body_wanted: bool) -> None:
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        extra = {"Accept-Ranges": "bytes"}
        if self.state.etags == "strong":
            extra |= {"ETag": tag, "Last-Modified": email.utils.formatdate(1_700_000_000, usegmt=True)}
        elif self.state.etags == "weak":
            extra["ETag"] = f"W/{tag}"
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", tag) == tag
        if asked is None or not same or isinstance(fault, IgnoreRange):
            self._send(200, extra, data, fault, body_wanted)
            return
        start = int(asked[1])
        if start >= len(data):
            self._send(416, extra | {"Content-Range": f"bytes */{len(data)}"}, b"", fault, body_wanted)
            return
        if isinstance(fault, OtherRange):
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **dict(fault.headers)}
            self._send(206, headers, fault.data[start:], None, body_wanted)
            return
        if isinstance(fault, WrongRange):
            start = max(0, start + fault.by)
        extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206, extra, data[start:], fault, body_wanted)

    def _send(self, status: int, extra: dict[str, str], body: bytes, fault: Fault | None, body_wanted: bool) -> None:
        length = len(body) + (fault.by if isinstance(fault, WrongLength) else 0)
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        if isinstance(fault, NoLength) and fault.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not isinstance(fault, NoLength):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if not body_wanted:
            return
        if isinstance(fault, Slow):
            for at in range(0, len(body), fault.piece):
                self.wfile.write(body[at : at + fault.piece])
                time.sleep(fault.pause)
            return
        if isinstance(fault, Cut | Silent):
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            if isinstance(fault, Silent):
                self.state.closing.wait(20)
            self.close_connection = True
            return
        if isinstance(fault, NoLength):
            part = body[: fault.after]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if fault.chunked else part)
            self.close_connection = True
            return
        self.wfile.write(body[:length])
        if isinstance(fault, WrongLength):
            self.close_connection = True


def crawl_files(crawl: str, warcs: Sequence[bytes]) -> dict[str, bytes]:
    """The files of a crawl as Common Crawl names them: the listing and the WARC files."""
    paths = [
        f"crawl-data/{crawl}/segments/1760000000000.1/warc/{crawl}-20261010000000-20261010030000-{n:05d}.warc.gz"
        for n in range(len(warcs))
    ]
    listing = gzip.compress("".join(f"{path}\n" for path in paths).encode(), mtime=0)
    return {f"crawl-data/{crawl}/warc.paths.gz": listing, **dict(zip(paths, warcs, strict=True))}


def write_warc(
    pages: Iterable[tuple[str, bytes]], *, crawl: str = "CC-MAIN-2026-43", content_type: str = "text/html"
) -> bytes:
    """A WARC file of a warcinfo record and, for each (url, html), a request and a response; the same every time."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True, warc_version="1.0")
    info = {"WARC-Date": DATE, "WARC-Record-ID": _record_id("info", crawl)}
    body = f"isPartOf: {crawl}\r\nsoftware: a test\r\n".encode()
    writer.write_record(
        writer.create_warc_record("", "warcinfo", payload=io.BytesIO(body), length=len(body), warc_headers_dict=info)
    )
    for url, html in pages:
        request = StatusAndHeaders("GET / HTTP/1.1", [("Host", "test.example")], is_http_request=True)
        writer.write_record(_record(writer, url, "request", request, b""))
        headers = [("Content-Type", content_type), ("Content-Length", str(len(html)))]
        response = StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1")
        writer.write_record(_record(writer, url, "response", response, html))
    return out.getvalue()


def _record(writer: WARCWriter, url: str, kind: str, http: StatusAndHeaders, body: bytes) -> object:
    warc_headers = {"WARC-Date": DATE, "WARC-Record-ID": _record_id(kind, url)}
    return writer.create_warc_record(
        url,
        kind,
        payload=io.BytesIO(body),
        length=len(body),
        http_headers=http,
        warc_headers_dict=warc_headers,
    )


def _record_id(kind: str, url: str) -> str:
    digest = hashlib.sha256(f"{kind} {url}".encode()).hexdigest()
    return f"<urn:uuid:{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}>"
