"""WARC bytes -> records, of every type, the damaged ones among them.

In: a `Window` on a file: gzip or Zstandard by record, one of either around the whole file, or plain. Out: each record
with its place, its headers, as much of its body as a page may have, and the fault that makes it unfit for use.

There are two ways through a record. A gzip member that is sound, not large and holds one record whose header lines
are plain is inflated in one call and cut by offsets (`_quick`); that is nearly every record of a crawl. All others
are read as a stream, whose headers warcio parses and of which never more than the limit is held (`_stream`). What the
quick way does not take, it leaves untouched for the other.

What a checksum does not vouch for, a digest has to: the records of plain files, of frames without checksum and of
members that hold several records (whose one checksum comes after all of them), and the first record that is found
again after damage. There, a record that its digest contradicts is damaged. In a sound member of its own, a wrong
digest is the crawler's mistake, and the record is what the crawler saw.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from warcio.limitreader import LimitReader

from corpus.schema import Drop
from corpus.warc.bytes import (
    BLOCK,
    GZIP,
    WARC,
    Bomb,
    Frame,
    HeaderTooLong,
    Member,
    Plain,
    Reader,
    Truncated,
    Whole,
    Window,
    skip_dictionary,
    skip_newlines,
    skip_to_record,
    way_back,
    whole_member,
)
from corpus.warc.digest import UNCHECKED, Checked, Hashing, expected, payload_expected
from corpus.warc.header import BadHeader, Http, quick_http, quick_warc, read_http, read_warc
from corpus.warc.http_body import dechunk, undo_codings
from corpus.warc.zstd import FRAME, ZstdError

PAGE_TYPES = frozenset(("response", "revisit", "resource", "conversion"))

_MAX_WARCINFO = 64 * 1024
_FORGET = 4 * BLOCK  # bytes of small records that are let go of together
_QUICK = 4 * 1024 * 1024  # bytes of a record that is inflated in one call
_END = b"\r\n\r\n"  # behind every block
_LENGTH = re.compile("[0-9]{1,18}")
_STREAM_ERRORS = (BadHeader, Bomb, HeaderTooLong, Truncated, ZstdError, zlib.error)


class Record(NamedTuple):
    """One record as read; `type` is None if its header is unreadable."""

    offset: int  # of its gzip member, its frame, or its first byte in a plain file
    length: int  # bytes there; 0 if others share them
    headers: dict[str, str]  # WARC names in lower case
    type: str | None
    http: Http | None
    body: bytes  # behind the HTTP header, at most the limit and one byte more
    fault: Drop | None  # why this record cannot be trusted
    size: int = 0  # bytes of its block, as its header says
    digests: Checked = UNCHECKED
    inner: int = 0  # its first byte within what the member inflates to


def records(window: Window, limit: int, digests: bool = False) -> Iterator[Record]:
    """All records of the file in order, the damaged ones among them; of bodies, `limit` bytes and one more are held.

    With `digests` those of all records are checked, not only of the ones that nothing else vouches for.
    """
    at, lost = window.start, False  # lost: the place was searched for and may be no record's
    kind, small = "", Counter[str]()  # a record's type, and the bytes of the record that came after that type last
    while head := window.peek(at, 8):
        if head.startswith((GZIP, FRAME)):
            guess = 0 < small[kind] < BLOCK // 32
            quick = _quick(window, at, limit, digests or lost, guess) if head.startswith(GZIP) else None
            if quick is not None:
                quick = _doubted(quick) if lost else quick
                lost = quick.fault is not None
                at += quick.length
                small[kind] = quick.length
                kind = quick.type or ""
                yield quick
                quick = None  # its memory is the next record's
            else:
                at, lost = yield from _member_records(window, at, limit, lost)
        elif head.startswith(WARC):
            source = Reader(Plain(window, at))
            record = _stream(source, at, limit)
            record = record._replace(length=source.tell() - at)
            skip_newlines(source)
            record = _doubted(_ends_well(record, source.peek(1)))
            yield record
            lost = record.fault is not None
            at = way_back(window, at, source.tell()) if lost else source.tell()
        elif (end := skip_dictionary(window, at)) is not None:
            at = end
        else:
            end = way_back(window, at, at)
            # Zeros too: what a crash leaves of a file's end looks like padding.
            if end - at > 8 or window.peek(at, end - at).strip(b"\r\n"):
                yield _unreadable(at, f"{end - at} bytes that are no record: {head[:5]!r}")
                lost = True
            at = end
        if at - window.start > _FORGET:
            window.forget(at)


def _quick(window: Window, at: int, limit: int, digests: bool, small: bool) -> Record | None:
    """The one record of the small, sound gzip member at `at`, or None if it has to be read as a stream."""
    whole = whole_member(window, at, min(limit, _QUICK) + BLOCK, small)
    if whole is None or (found := quick_warc(whole.pieces[0], digests)) is None:
        return None
    head, (headers, start) = whole.pieces[0], found
    kind, length = headers.get("warc-type", "").lower(), headers.get("content-length", "")
    if not kind or _LENGTH.fullmatch(length) is None:
        return None
    stop = start + int(length)
    if stop + len(_END) != whole.size or not whole.pieces[-1].endswith(_END):
        return None
    http, first = None, start
    if kind == "response" and start < stop and _is_http(headers):
        parsed = quick_http(head, start, stop)
        if parsed is None:
            return None
        http, first = parsed
    held = kind in PAGE_TYPES or kind == "warcinfo"
    body = _between(whole, first, stop) if digests or held else b""
    checked = UNCHECKED
    if digests:
        wanted = expected(headers.get("warc-block-digest"))
        block = wanted.is_of(head[start:first], body) if wanted else None
        checked = Checked(block, _payload_agrees(headers, http, body, limit))
    return Record(at, whole.end - at, headers, kind, http, body if held else b"", None, int(length), checked)


def _between(whole: Whole, first: int, stop: int) -> bytes:
    """The bytes from `first`, which is in the first piece, to `stop`, copied once."""
    if len(whole.pieces) == 1:
        return whole.pieces[0][first:stop]
    views = [memoryview(piece) for piece in whole.pieces]
    views[0] = views[0][first:]
    views[-1] = views[-1][: len(views[-1]) - (whole.size - stop)]
    return b"".join(views)


def _member_records(window: Window, at: int, limit: int, lost: bool) -> Generator[Record, None, tuple[int, bool]]:
    """The records of the member or frame that begins at `at`; returns where to go on, and whether that was searched."""
    member = Member(window, at) if window.peek(at, 3) == GZIP else Frame(window, at)
    sums = isinstance(member, Member) or member.has_checksum
    source = Reader(member)
    alone, doubt, settled = True, lost or not sums, at + 1
    while True:
        inner = source.tell()
        record = _stream(source, at, limit)._replace(inner=inner)
        try:
            skip_newlines(source)
            more = source.peek(1)
            record = _ends_well(record, more)
        except _STREAM_ERRORS as error:
            more = b""
            record = record if record.fault else record._replace(fault=_fault(error, record, limit))
        alone = alone and not more
        if doubt or not alone:
            record = _doubted(record)
        if record.fault is not None and member.fault is None:
            try:
                more = skip_to_record(source)
            except _STREAM_ERRORS:
                more = b""
        if member.fault is not None:
            yield record
            if isinstance(member.fault, Bomb):
                settled = max(settled, member.position)
            return way_back(window, max(settled - 1, at), member.position), True
        if record.type is not None or record.fault is not None:
            yield record._replace(length=member.position - at if alone else 0)
            # What was handed over must not be found again, in a member that holds it uncompressed.
            settled = max(settled, member.position) if record.fault is None else settled
        if not more:
            return member.position, False
        doubt = not sums or record.fault is not None
        source.header_bytes = 0


def _stream(source: Reader, at: int, limit: int) -> Record:
    """The record that `source` stands on, read to its last byte; never raises on damage."""
    headers: dict[str, str] = {}
    kind, http, body, size, checked = None, None, b"", 0, UNCHECKED
    fault: Drop | None = None
    try:
        headers = read_warc(source)
        kind, length = headers.get("warc-type", "").lower() or None, headers.get("content-length", "")
        if kind is None or not _LENGTH.fullmatch(length):
            missing = "WARC-Type" if kind is None else f"Content-Length {length!r}"
            fault = Drop("warc.damaged", f"no {missing} in the WARC header", "WARC-Type, Content-Length")
            return Record(at, 0, headers, kind, None, b"", fault)
        size = int(length)
        hashing = Hashing(source, headers)
        payload = LimitReader(hashing, size)
        if kind == "response" and size and _is_http(headers):
            http = read_http(payload)
        hashing.in_payload = True
        if kind in PAGE_TYPES:
            body = _read_at_most(payload, limit + 1)
        elif kind == "warcinfo":
            body = _read_at_most(payload, _MAX_WARCINFO)
        while payload.read(BLOCK):
            pass
        if payload.limit:
            fault = Drop("warc.truncated", size - payload.limit, size)
        else:
            checked = hashing.checked()
            if checked.payload is False:
                whole = kind in PAGE_TYPES and len(body) <= limit
                checked = checked._replace(payload=_payload_agrees(headers, http, body, limit) if whole else None)
    except EOFError:  # an empty member, or a response that ends before its HTTP header
        fault = Drop("warc.truncated", 0, headers["content-length"]) if headers else None
    except _STREAM_ERRORS as error:
        fault = _fault(error, Record(at, 0, headers, kind, http, b"", None, size), limit)
    return Record(at, 0, headers, kind, http, body, fault, size, checked)


def _is_http(headers: dict[str, str]) -> bool:
    return headers.get("warc-target-uri", "").lower().startswith(("http:", "https:", "<http:", "<https:"))


def _payload_agrees(headers: dict[str, str], http: Http | None, body: bytes, limit: int) -> bool | None:
    """Is the payload's digest that of the body as stored, without its transfer coding, or without all codings?"""
    wanted = payload_expected(headers)
    if wanted is None:
        return None
    if wanted.is_of(body):
        return True
    if http is None:
        return False
    transfer, content = http.headers.get("transfer-encoding", ""), http.headers.get("content-encoding", "")
    if "chunked" in transfer.lower() and wanted.is_of(dechunk(body)):
        return True
    return wanted.is_of(undo_codings(body, transfer, content, limit)[0])


def _doubted(record: Record) -> Record:
    """`record` with a fault if its digest contradicts it."""
    wrong = record.digests.wrong
    if record.fault is not None or wrong is None:
        return record
    return record._replace(fault=Drop("warc.damaged", record.headers[wrong][:100], f"its {wrong}"))


def _ends_well(record: Record, following: bytes) -> Record:
    """`record` with a fault if what follows it is neither the end nor a record: its length is wrong."""
    if record.fault is not None or WARC.startswith(following[: len(WARC)]):
        return record
    reason = "Content-Length does not end where the record does"
    return record._replace(fault=Drop("warc.damaged", reason, "Content-Length"))


def _fault(error: Exception, record: Record, limit: int) -> Drop:
    if isinstance(error, Bomb):
        return Drop("warc.too_large", record.size if record.size > limit else str(error), limit)
    if isinstance(error, Truncated):
        return Drop("warc.truncated", "the file ends inside a compressed record", "whole record")
    if isinstance(error, BadHeader):
        return Drop("warc.damaged", f"a record begins with {error.statusline[:80]!r}", "WARC/1.")
    sound = "WARC header" if isinstance(error, HeaderTooLong) else "sound compression"
    return Drop("warc.damaged", str(error), sound)


def _unreadable(at: int, reason: str) -> Record:
    return Record(at, 0, {}, None, None, b"", Drop("warc.damaged", reason, "WARC record"))


def _read_at_most(payload: Any, size: int) -> bytes:
    """Up to `size` bytes; no allocation before the bytes are there."""
    pieces = []
    while size > 0 and (piece := payload.read(min(size, 16 * BLOCK))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
