"""WARC records made by hand, and what `read_pages` makes of them."""

from __future__ import annotations

import io
from typing import Any

from corpus.warc.pages import BadRecord, Page, read_pages

HTML = b"<!doctype html><html><body>" + b"".join(b"<p>paragraph %d of it</p>" % n for n in range(40)) + b"</html>"


def read(data: bytes, **options: Any) -> list[Page | BadRecord]:
    return list(read_pages(io.BytesIO(data), "test.warc.gz", **options))


def pages_of(items: list[Page | BadRecord]) -> list[Page]:
    return [item for item in items if isinstance(item, Page)]


def bad_of(items: list[Page | BadRecord]) -> list[BadRecord]:
    return [item for item in items if isinstance(item, BadRecord)]


def record(kind: str, block: bytes, *, url: str = "https://a.example/", extra: str = "", length: int = -1) -> bytes:
    """One WARC record, not compressed."""
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{kind}>\r\nWARC-Date: 2026-10-10T00:00:00Z\r\n"
        f"WARC-Target-URI: {url}\r\n{extra}Content-Length: {len(block) if length < 0 else length}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def response(body: bytes, *headers: str, status: str = "200 OK", **options: Any) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    return record("response", "\r\n".join(lines).encode() + b"\r\n\r\n" + body, **options)


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nT: x\r\n\r\n"


def only(data: bytes, **options: Any) -> Page | BadRecord:
    (item,) = read(data, **options)
    return item


def rule(data: bytes, **options: Any) -> tuple[str, object, object]:
    item = only(data, **options)
    assert isinstance(item, BadRecord)
    return tuple(item.drop)
