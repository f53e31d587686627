"""WARC bytes -> records of every type, damaged ones included.

In: a `Window` on a file, which is plain or compressed by gzip or Zstandard. A compressed file has a member (or frame)
for each record, or one around all records. Out: each record with its place, its headers, its body as far as a page may
be long, and the fault that makes it unfit for use.

There are two ways to read a record. A gzip member that is sound, not large and holds one record with plain header lines
is inflated in one call and cut by offsets (`_quick`). Nearly all records of a crawl are of this kind. All others are
read as a stream (`_stream`): warcio parses their headers, and never more than the limit of a body is held. Where
`_quick` gives up, it has changed nothing, and `_stream` begins at the same byte.

Some records have no checksum that vouches for them alone: the records of plain files, of frames without a checksum, and
of members that hold several records. Nor is it sure that the first record found after damage is a record at all. Where
the digest of such a record is wrong, the record counts as damaged. In a sound member of one record a wrong digest is
the crawler's mistake, and the record is what the crawler saw.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from warcio.limitreader import LimitReader

from corpus.schema import Drop
from corpus.warc.digest import UNCHECKED, Checked, Hashing, expected, payload_expected
from corpus.warc.header import BadHeader, Http, quick_http, quick_warc, read_http, read_warc
from corpus.warc.http_body import dechunk, undo_codings
from corpus.warc.members import (
    BLOCK,
    GZIP,
    WARC,
    Bomb,
    HeaderTooLong,
    Plain,
    Reader,
    Truncated,
    Whole,
    Window,
    inflated_at,
    skip_dictionary,
    skip_newlines,
    skip_to_record,
    way_back,
    whole_member,
)
from corpus.warc.zstd import FRAME, ZstdError

PAGE_TYPES = frozenset(("response", "revisit", "resource", "conversion"))

_MAX_WARCINFO = 64 * 1024
_FORGET = 4 * BLOCK  # bytes of small records that the window forgets together
_QUICK = 4 * 1024 * 1024  # longest record that is inflated in one call, in bytes
_END = b"\r\n\r\n"  # stands behind every block
_LENGTH = re.compile("[0-9]{1,18}")
_STREAM_ERRORS = (BadHeader, Bomb, HeaderTooLong, Truncated, ZstdError, zlib.error)


class WarcRecord(NamedTuple):
    """One record of a WARC file, as it was read.

    offset   where its gzip member or frame begins in the file; in a plain file, where the record begins
    length   bytes of its member, of its frame or of the record in the file; 0 where it shares a member
    headers  the fields of its WARC header, names in lower case
    type     its WARC-Type in lower case; None if its header cannot be read
    http     the HTTP header of a response
    body     the bytes behind the HTTP header, at most `limit + 1`; b"" where `type` is neither a page's nor warcinfo
    fault    why it cannot be trusted; None if it is sound
    size     bytes of its block, as its header says
    digests  what a check of its digests found
    inner    where it begins among the bytes that its member inflates to
    """

    offset: int
    length: int
    headers: dict[str, str]
    type: str | None
    http: Http | None
    body: bytes
    fault: Drop | None
    size: int = 0
    digests: Checked = UNCHECKED
    inner: int = 0


def sure_records(window: Window, limit: int, file_path: str, digests: bool = False) -> Iterator[WarcRecord]:
    """All records of a file, as `records` gives them, once it is sure that the file is a WARC file.

    The first record with a header that can be read is the proof; damaged records before it are held back until then.
    Raises ValueError if the file has bytes, but no such record.
    """
    first, damaged, is_sure = window.start, list[WarcRecord](), False
    for record in records(window, limit, digests):
        if record.type is None and not is_sure:
            damaged += [record] if record.fault else []
            continue
        if not is_sure:
            yield from damaged
            is_sure = True
        yield record
        del record  # its memory is for the next record
    if not is_sure and window.end > first:
        reason = next((record.fault.value for record in damaged if record.fault), "no record in it")
        raise ValueError(f"{file_path}: not a WARC file ({reason}); download it again or leave it out")


def records(window: Window, limit: int, digests: bool = False) -> Iterator[WarcRecord]:
    """All records of a file in order, damaged ones included. Of each body, at most `limit + 1` bytes are held.

    `digests`: check the digests of all records, and not only of those that nothing else vouches for.
    """
    at, lost = window.start, False  # lost: the place was searched for after damage, and may be no record's
    kind, small = "", Counter[str]()  # the last record's type -> bytes of the record that followed that type last
    while head := window.peek(at, 8):
        if head.startswith((GZIP, FRAME)):
            is_small = 0 < small[kind] < BLOCK // 32
            quick = _quick(window, at, limit, digests or lost, is_small) if head.startswith(GZIP) else None
            if quick is not None:
                quick = _doubted(quick) if lost else quick
                lost = quick.fault is not None
                at += quick.length
                small[kind] = quick.length
                kind = quick.type or ""
                yield quick
                quick = None  # its memory is for the next record
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
            # Many zeros are damage too: a crash leaves them at the end of a file, and they look like padding.
            if end - at > 8 or window.peek(at, end - at).strip(b"\r\n"):
                yield _unreadable(at, f"{end - at} bytes that are no record: {head[:5]!r}")
                lost = True
            at = end
        if at - window.start > _FORGET:
            window.forget(at)


def _quick(window: Window, at: int, limit: int, digests: bool, small: bool) -> WarcRecord | None:
    """The one record of the small, sound gzip member at `at`, or None if it has to be read as a stream."""
    whole = whole_member(window, at, min(limit, _QUICK) + BLOCK, small)
    if whole is None or (header := quick_warc(whole.pieces[0], digests)) is None:
        return None
    head, (headers, start) = whole.pieces[0], header
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
        stated = expected(headers.get("warc-block-digest"))
        block = stated.is_of(head[start:first], body) if stated else None
        checked = Checked(block, _payload_agrees(headers, http, body, limit))
    return WarcRecord(at, whole.end - at, headers, kind, http, body if held else b"", None, int(length), checked)


def _between(whole: Whole, first: int, stop: int) -> bytes:
    """The bytes from the offset `first`, which is in the first piece, to `stop`, copied once."""
    if len(whole.pieces) == 1:
        return whole.pieces[0][first:stop]
    views = [memoryview(piece) for piece in whole.pieces]
    views[0] = views[0][first:]
    views[-1] = views[-1][: len(views[-1]) - (whole.size - stop)]
    return b"".join(views)


def _member_records(window: Window, at: int, limit: int, lost: bool) -> Generator[WarcRecord, None, tuple[int, bool]]:
    """Yield the records of the member or frame at `at`.

    Returns the offset at which reading goes on, and whether this offset was searched for after damage.
    """
    member = inflated_at(window, at)
    source = Reader(member)
    # settled: no record begins before this offset any more
    alone, doubt, settled = True, lost or not member.has_checksum, at + 1
    while True:
        inner = source.tell()
        member.keep_from(inner)
        record = _stream(source, at, limit)._replace(inner=inner)
        try:
            skip_newlines(source)
            more = source.peek(1)
            record = _ends_well(record, more)
        except _STREAM_ERRORS as error:
            more = b""
            record = record if record.fault else record._replace(fault=_fault(error, record, limit))
        if record.fault is not None and member.fault is None and member.back_to_record(inner, source.tell()):
            # Its length is wrong, or its header: the next record may begin before the place that was reached.
            source.detach()
            source = Reader(member)
            more = source.peek(1)
        alone = alone and not more
        if doubt or not alone:
            record = _doubted(record)
        if record.fault is not None and member.fault is None and not more.startswith(WARC):
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
            # A member may hold its records uncompressed: the search must not find a sound one again.
            settled = max(settled, member.position) if record.fault is None else settled
        if not more:
            return member.position, False
        doubt = not member.has_checksum or record.fault is not None
        source.header_bytes = 0


def _stream(source: Reader, at: int, limit: int) -> WarcRecord:
    """The record at which `source` stands, read to its last byte; damage is a `fault` and never raised."""
    headers: dict[str, str] = {}
    kind, http, body, size, checked = None, None, b"", 0, UNCHECKED
    fault: Drop | None = None
    try:
        headers = read_warc(source)
        kind, length = headers.get("warc-type", "").lower() or None, headers.get("content-length", "")
        if kind is None or not _LENGTH.fullmatch(length):
            missing = "WARC-Type" if kind is None else f"Content-Length {length!r}"
            fault = Drop("warc.damaged", f"no {missing} in the WARC header", "WARC-Type, Content-Length")
            return WarcRecord(at, 0, headers, kind, None, b"", fault)
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
    except EOFError:  # the member is empty, or a response ends before its HTTP header
        fault = Drop("warc.truncated", 0, headers["content-length"]) if headers else None
    except _STREAM_ERRORS as error:
        fault = _fault(error, WarcRecord(at, 0, headers, kind, http, b"", None, size), limit)
    return WarcRecord(at, 0, headers, kind, http, body, fault, size, checked)


def _is_http(headers: dict[str, str]) -> bool:
    return headers.get("warc-target-uri", "").lower().startswith(("http:", "https:", "<http:", "<https:"))


def _payload_agrees(headers: dict[str, str], http: Http | None, body: bytes, limit: int) -> bool | None:
    """Whether the payload's digest is of the body as stored, or without its transfer coding, or without all codings.

    None if no such digest can be checked.
    """
    stated = payload_expected(headers)
    if stated is None:
        return None
    if stated.is_of(body):
        return True
    if http is None:
        return False
    transfer, content = http.headers.get("transfer-encoding", ""), http.headers.get("content-encoding", "")
    if "chunked" in transfer.lower() and stated.is_of(dechunk(body)):
        return True
    return stated.is_of(undo_codings(body, transfer, content, limit)[0])


def _doubted(record: WarcRecord) -> WarcRecord:
    """The record, with a fault if its digest is wrong."""
    wrong = record.digests.wrong
    if record.fault is not None or wrong is None:
        return record
    return record._replace(fault=Drop("warc.damaged", record.headers[wrong][:100], f"its {wrong}"))


def _ends_well(record: WarcRecord, following: bytes) -> WarcRecord:
    """The record, with a fault if it is followed by neither the end nor a record: then its length is wrong."""
    if record.fault is not None or WARC.startswith(following[: len(WARC)]):
        return record
    reason = "Content-Length does not end where the record does"
    return record._replace(fault=Drop("warc.damaged", reason, "Content-Length"))


def _fault(error: Exception, record: WarcRecord, limit: int) -> Drop:
    """The fault of a record in which reading met an error."""
    if isinstance(error, Bomb):
        return Drop("warc.too_large", record.size if record.size > limit else str(error), limit)
    if isinstance(error, Truncated):
        return Drop("warc.truncated", "the file ends inside a compressed record", "whole record")
    if isinstance(error, BadHeader):
        return Drop("warc.damaged", f"a record begins with {error.statusline[:80]!r}", "WARC/1.")
    sound = "WARC header" if isinstance(error, HeaderTooLong) else "sound compression"
    return Drop("warc.damaged", str(error), sound)


def _unreadable(at: int, reason: str) -> WarcRecord:
    return WarcRecord(at, 0, {}, None, None, b"", Drop("warc.damaged", reason, "WARC record"))


def _read_at_most(payload: Any, size: int) -> bytes:
    """Up to `size` bytes. Memory grows with the bytes that come, whatever size a header states."""
    pieces = []
    while size > 0 and (piece := payload.read(min(size, 16 * BLOCK))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
