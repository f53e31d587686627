"""WARC bytes -> pages.

In: one WARC file as a stream of bytes (one gzip member a record, as Common Crawl writes it; one member for the
whole file; or plain). Out: for every `response` and `revisit` record, in file order, either a `Page` or a
`BadRecord` that says why there is none. Records of other types (request, metadata, warcinfo, resource, conversion)
are no pages and give nothing, unless they are damaged.

warcio parses the WARC and HTTP headers. The bytes below it are ours, because a crawl holds damaged files: after a
broken member, reading goes on at the next place where a record can begin, and the damage is counted once. A page is
handed over only after its gzip member has ended with the right checksum. Memory is bounded by `max_page_bytes` and
a window of the compressed file, never by a length that a header states.

Format: WARC 1.1, https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO, NamedTuple

from warcio.limitreader import LimitReader
from warcio.statusandheaders import StatusAndHeadersParser, StatusAndHeadersParserException

from corpus.charset import decode_html
from corpus.http_body import html_type, undo_codings
from corpus.schema import Drop
from corpus.warc_bytes import (
    BLOCK,
    GZIP,
    WARC,
    HeaderTooLong,
    Member,
    Plain,
    Reader,
    Truncated,
    Window,
    next_start,
    skip_newlines,
    skip_to_record,
)

__all__ = ["MAX_PAGE_BYTES", "BadRecord", "Page", "decode_html", "read_pages", "read_record"]

# Common Crawl cuts a page at 5 MiB (1 MiB before 2025); other crawlers keep more.
MAX_PAGE_BYTES = 16 * 1024 * 1024

_MAX_WARCINFO = 64 * 1024

_PART_OF = re.compile(rb"^isPartOf:[ \t]*([^\s]+)", re.MULTILINE | re.IGNORECASE)
_CHARSET = re.compile(r"""\bcharset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)

_LONGEST = 2048  # characters of a field that damage may have garbled

_WARC_HEADER = StatusAndHeadersParser(["WARC/1.1", "WARC/1.0", "WARC/0.18", "WARC/0.17"])
_HTTP_HEADER = StatusAndHeadersParser(["HTTP/1.0", "HTTP/1.1"], verify=False)


class Page(NamedTuple):
    """A page as it was crawled; the fields are the columns of `corpus.schema.PAGES`.

    A read of `warc_length` bytes from `warc_offset` holds this record alone. `warc_length` is 0 where no such
    range exists: several records share one gzip member.
    """

    id: str
    dump: str
    url: str
    date: str
    file_path: str
    warc_offset: int
    warc_length: int
    charset: str | None
    html: bytes


class BadRecord(NamedTuple):
    """A record that gives no page; `id`, `url` and `date` are "" where the damage hides them."""

    id: str
    url: str
    date: str
    file_path: str
    warc_offset: int
    drop: Drop


def read_pages(stream: BinaryIO, file_path: str, *, max_page_bytes: int = MAX_PAGE_BYTES) -> Iterator[Page | BadRecord]:
    """Every page-bearing record of a WARC file, in order; `file_path` is the file's own address.

    `stream` is read forward only, from where it stands. Rules of a BadRecord: `warc.status` (not 200), `warc.revisit`,
    `warc.protocol` (dns: and the like), `warc.content_type`, `warc.empty`, `warc.too_large` (more than
    `max_page_bytes` before or after decoding), `warc.coding` (cannot be decoded), `warc.truncated` (the file or the
    member ends before the record does) and `warc.damaged`. A page that the crawler itself cut at its limit
    (WARC-Truncated) is a page. Raises ValueError if there are bytes but no WARC record at all.
    """
    yield from _read(Window(stream, 0), file_path, max_page_bytes)


def read_record(
    stream: BinaryIO,
    offset: int,
    length: int | None = None,
    *,
    file_path: str = "",
    max_page_bytes: int = MAX_PAGE_BYTES,
) -> Page | BadRecord:
    """The record whose first byte is at `offset` of a seekable `stream`, alone; its `dump` is "".

    Raises ValueError if no page-bearing record begins there (or, with `length`, none lies in that range).
    """
    stream.seek(offset)
    part = stream if length is None else io.BytesIO(stream.read(length))
    item = next(_read(Window(part, offset), file_path, max_page_bytes), None)
    if item is None or item.warc_offset != offset:
        raise ValueError(f"{file_path or 'WARC file'}: no page begins at byte {offset}; check warc_offset")
    return item


def _read(window: Window, file_path: str, limit: int) -> Iterator[Page | BadRecord]:
    dump, first = "", window.start
    unreadable: list[BadRecord] = []  # held back until one good header proves that this is a WARC file
    proven = False
    for record in _records(window, limit):
        item = _page(record, dump, file_path, limit)
        if record.type is None and not proven:
            unreadable += [item] if isinstance(item, BadRecord) else []
            continue
        if not proven:
            yield from unreadable
            proven = True
        if record.fault is None and record.type == "warcinfo" and (part_of := _PART_OF.search(record.body)):
            dump = part_of[1].decode("utf_8", "replace")
        elif item is not None:
            yield item
    if not proven and window.end > first:
        reason = unreadable[0].drop.value if unreadable else "no record in it"
        raise ValueError(f"{file_path}: not a WARC file ({reason}); download it again or leave it out")


# --- One record -> one page or the reason why not


class _Record(NamedTuple):
    """One record as read; `type` is None if its header is unreadable."""

    offset: int
    length: int
    headers: dict[str, str]  # WARC names in lower case
    type: str | None
    http: Any  # warcio's StatusAndHeaders, or None
    body: bytes  # at most the limit and one byte more
    fault: Drop | None  # why this record cannot be trusted


def _page(record: _Record, dump: str, file_path: str, limit: int) -> Page | BadRecord | None:
    # A damaged record of any type is reported: nobody knows what else lay in the bytes that were skipped.
    if record.fault is None and record.type not in ("response", "revisit"):
        return None
    drop, html, charset = record.fault, b"", None
    if drop is None:
        drop, html, charset = _content(record, limit)
    name = record.headers.get
    id, url, date = name("warc-record-id", ""), _url(record.headers), name("warc-date", "")
    if drop is not None:
        return BadRecord(id[:_LONGEST], url[:_LONGEST], date[:_LONGEST], file_path, record.offset, drop)
    return Page(id, dump, url, date, file_path, record.offset, record.length, charset, html)


def _url(headers: dict[str, str]) -> str:
    """The page's address; old wget wrote it in angle brackets, and a space would break its reader."""
    url = headers.get("warc-target-uri", "")
    return (url[1:-1] if url.startswith("<") and url.endswith(">") else url).replace(" ", "%20")


def _content(record: _Record, limit: int) -> tuple[Drop | None, bytes, str | None]:
    """(why it is no page, the page's bytes, the charset of its HTTP header) of a sound record."""
    if record.type == "revisit":
        profile = record.headers.get("warc-profile", "").rsplit("/", 1)[-1]
        return Drop("warc.revisit", profile, "response"), b"", None
    if record.http is None:
        scheme = _url(record.headers).partition(":")[0]
        http = scheme.lower() in ("http", "https")
        return (Drop("warc.empty", 0, 1) if http else Drop("warc.protocol", scheme, "http")), b"", None
    status = record.http.get_statuscode()
    if status != "200":
        return Drop("warc.status", int(status) if re.fullmatch("[0-9]{3}", status) else status[:40], 200), b"", None
    header = {name.lower(): value for name, value in reversed(record.http.headers)}
    body, failed = undo_codings(
        record.body, header.get("transfer-encoding", ""), header.get("content-encoding", ""), limit
    )
    if len(record.body) > limit or len(body) > limit:
        stored = int(record.headers["content-length"])
        return Drop("warc.too_large", max(stored, len(body)), limit), b"", None
    if failed:
        return Drop("warc.coding", failed, "gzip, deflate, br"), b"", None
    if not body:
        return Drop("warc.empty", 0, 1), b"", None
    content_type = header.get("content-type", "")
    declared = content_type.partition(";")[0].strip().lower()
    # Common Crawl looks at the bytes of every page (Tika) and writes down what it saw.
    wrong = html_type(record.headers.get("warc-identified-payload-type", declared).lower(), body)
    if wrong is not None:
        return Drop("warc.content_type", wrong, "text/html"), b"", None
    charset = _CHARSET.search(content_type)
    return None, body, charset[1] if charset else None


# --- Bytes -> records


def _records(window: Window, limit: int) -> Iterator[_Record]:
    """All records of the file, the damaged ones among them."""
    at = window.start
    while head := window.peek(at, len(WARC)):
        if head.startswith(GZIP):
            at = yield from _member_records(window, at, limit)
        elif head == WARC:
            source = Reader(Plain(window, at))
            record = _parse(source, at, limit)
            record = record._replace(length=source.tell() - at)
            skip_newlines(source)
            record = _ends_well(record, source.peek(1))
            yield record
            at = source.tell() if record.fault is None else next_start(window, at + 1)
        else:
            end = next_start(window, at + 1)
            # Zeros too: what a crash leaves of a file's end looks like padding.
            if end - at > 8 or window.peek(at, end - at).strip(b"\r\n"):
                yield _unreadable(at, f"{end - at} bytes that are no record: {head!r}")
            at = end
        window.forget(at)


def _member_records(window: Window, at: int, limit: int) -> Generator[_Record, None, int]:
    """The records of the gzip member that begins at `at`; returns where to go on."""
    member = Member(window, at)
    source = Reader(member)
    alone = True
    while True:
        record = _parse(source, at, limit)
        try:
            skip_newlines(source)
            more = source.peek(1)
            record = _ends_well(record, more)
            if record.fault is not None:
                more = skip_to_record(source)
        except (zlib.error, Truncated) as error:
            more = b""
            record = record if record.fault else record._replace(fault=_fault(error))
        if member.fault is not None:
            yield record
            return next_start(window, at + 1)
        alone = alone and not more
        if record.type is not None or record.fault is not None:
            yield record._replace(length=member.position - at if alone else 0)
        if not more:
            return member.position
        source.header_bytes = 0


def _parse(source: Reader, at: int, limit: int) -> _Record:
    """The record that `source` stands on, read to its last byte; never raises on damage."""
    headers: dict[str, str] = {}
    kind, http, body = None, None, b""
    fault: Drop | None = None
    try:
        # The first of several headers of one name rules, as in warcio.
        headers = {name.lower(): value for name, value in reversed(_WARC_HEADER.parse(source).headers)}
        kind, length = headers.get("warc-type", "").lower() or None, headers.get("content-length", "")
        if kind is None or not re.fullmatch("[0-9]{1,18}", length):
            missing = "WARC-Type" if kind is None else f"Content-Length {length!r}"
            fault = Drop("warc.damaged", f"no {missing} in the WARC header", "WARC-Type, Content-Length")
            return _Record(at, 0, headers, kind, None, b"", fault)
        payload = LimitReader(source, int(length))
        if kind == "response":
            if int(length) and _url(headers).lower().startswith(("http:", "https:")):
                http = _HTTP_HEADER.parse(payload)
            body = _read_at_most(payload, limit + 1)
        elif kind == "warcinfo":
            body = _read_at_most(payload, _MAX_WARCINFO)
        while payload.read(BLOCK):
            pass
        if payload.limit:
            fault = Drop("warc.truncated", int(length) - payload.limit, int(length))
    except EOFError:  # an empty member, or a response that ends before its HTTP header
        fault = Drop("warc.truncated", 0, headers["content-length"]) if headers else None
    except (StatusAndHeadersParserException, zlib.error, Truncated, HeaderTooLong) as error:
        fault = _fault(error)
    return _Record(at, 0, headers, kind, http, body, fault)


def _ends_well(record: _Record, following: bytes) -> _Record:
    """`record` with a fault if what follows it is neither the end nor a record: its length is wrong."""
    if record.fault is not None or WARC.startswith(following[: len(WARC)]):
        return record
    reason = "Content-Length does not end where the record does"
    return record._replace(fault=Drop("warc.damaged", reason, "Content-Length"))


def _fault(error: Exception) -> Drop:
    if isinstance(error, Truncated):
        return Drop("warc.truncated", "the file ends inside a gzip member", "whole member")
    if isinstance(error, StatusAndHeadersParserException):
        return Drop("warc.damaged", f"a record begins with {error.statusline[:80]!r}", "WARC/1.")
    return Drop("warc.damaged", str(error), "sound gzip" if isinstance(error, zlib.error) else "WARC header")


def _unreadable(at: int, reason: str) -> _Record:
    return _Record(at, 0, {}, None, None, b"", Drop("warc.damaged", reason, "WARC record"))


def _read_at_most(payload: Any, size: int) -> bytes:
    """Up to `size` bytes; no allocation before the bytes are there."""
    pieces = []
    while size > 0 and (piece := payload.read(min(size, 16 * BLOCK))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
