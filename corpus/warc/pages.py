"""WARC bytes -> pages.

In: one WARC file as a stream of bytes: plain, or gzip members or Zstandard frames, one for each record (as Common Crawl
writes them) or one for the whole file. Out: for every record whose type can hold a page (`response`, `revisit`,
`resource`, `conversion`), in file order, either a `Page` or a `BadRecord` that says why there is no page. Records of
other types (request, metadata, warcinfo, ...) are counted, and give a `BadRecord` where they are damaged.

Crawls hold damaged files. After a broken record, reading goes on at the next offset at which a record can begin, and
the damage is counted once (`framing` reads records, `members` finds the way back). Memory is bounded by
`max_page_bytes` and a window of the compressed file, and never depends on a length that a header states.

Format: WARC 1.1, https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from corpus.schema import Drop
from corpus.warc.framing import PAGE_TYPES, WarcRecord, sure_records
from corpus.warc.header import ROBOTS_HEADERS
from corpus.warc.http_body import html_type, media_type, undo_codings
from corpus.warc.members import Window, skip_dictionary
from corpus.warc.zstd import FRAME

__all__ = ["MAX_PAGE_BYTES", "BadRecord", "Page", "page_of", "read_pages", "read_record", "window_at"]

# Common Crawl cuts a page at 5 MiB (1 MiB before 2025). Other crawlers keep longer pages.
MAX_PAGE_BYTES = 16 * 1024 * 1024

# Types that hold no page and are counted by name; all others are counted as "other".
_COUNTED = frozenset(("warcinfo", "request", "metadata", "continuation"))

_PART_OF = re.compile(rb"^isPartOf:[ \t]*([^\s]+)", re.MULTILINE | re.IGNORECASE)

_LONGEST = 2048  # characters kept of a field of a bad record, which damage may have garbled


class Page(NamedTuple):
    """A page as it was crawled; the fields are the columns of `corpus.schema.PAGES`.

    The `warc_length` bytes from `warc_offset` of the file hold this record alone. `warc_length` is 0 where several
    records share one gzip member, so that there are no such bytes.

    url      the address of the page; date: when it was crawled, in ISO 8601; dump: the crawl, "" where it has no name
    html     the body as bytes, its codings undone; charset: the charset that the HTTP header names, or None
    media    "text/html", or "text/plain" for the text of a WET file, which somebody else has extracted

    >>> from corpus import Page, extract_text
    >>> page = Page("<1>", "", "https://a.example/", "", "a.warc", 0, 99, None, None, "text/plain", "Füße".encode())
    >>> extract_text(page)
    'Füße'
    """

    id: str
    dump: str
    url: str
    date: str
    file_path: str
    warc_offset: int
    warc_length: int
    charset: str | None
    robots_headers: str | None
    media: str | None
    html: bytes


class BadRecord(NamedTuple):
    """A record that gives no page; `id`, `url` and `date` are "" where the damage hides them."""

    id: str
    url: str
    date: str
    file_path: str
    warc_offset: int
    drop: Drop


def read_pages(
    stream: BinaryIO,
    file_path: str,
    *,
    max_page_bytes: int = MAX_PAGE_BYTES,
    skipped: Counter[str] | None = None,
) -> Iterator[Page | BadRecord]:
    """Every record of a WARC file whose type can hold a page, in order.

    stream          is read forward only, from where it stands
    file_path       the file's own address, for the column `file_path` and for errors
    max_page_bytes  the longest page, before and after its codings are undone
    skipped         counts the sound records of other types, as warcinfo, request, metadata, continuation or other

    A `response` to http and a `resource` are pages where they are HTML; a `conversion` may be plain text too. A page
    that the crawler itself cut at its limit (WARC-Truncated) is a page. Why a record gives none is one of the rules of
    the stage `warc` (corpus.warc.source). Raises ValueError if the file has bytes, but no WARC record.
    """
    yield from _read(Window(stream, 0), file_path, max_page_bytes, Counter() if skipped is None else skipped)


def read_record(
    stream: BinaryIO,
    offset: int,
    length: int | None = None,
    *,
    file_path: str = "",
    max_page_bytes: int = MAX_PAGE_BYTES,
) -> Page | BadRecord:
    """The one record that begins at `offset` of a seekable `stream`; its `dump` is "".

    `length`: read no more bytes than these, which `Page.warc_length` names. Raises ValueError if no record whose type
    can hold a page begins there.
    """
    window = window_at(stream, offset, length)
    item = next(_read(window, file_path, max_page_bytes, Counter()), None)
    if item is None or item.warc_offset != offset:
        raise ValueError(f"{file_path or 'WARC file'}: no page begins at byte {offset}; check warc_offset")
    return item


def window_at(stream: BinaryIO, offset: int, length: int | None = None) -> Window:
    """The window of a seekable stream from `offset` on, with the dictionary that begins a Zstandard file.

    `length`: the window ends so many bytes behind `offset`.
    """
    stream.seek(offset)
    head = stream.read(len(FRAME))
    beginning = Window(stream, 0)
    if head == FRAME and offset > 0:
        stream.seek(0)
        skip_dictionary(beginning, 0)
    stream.seek(offset)
    part = stream if length is None else io.BytesIO(stream.read(length))
    return Window(part, offset, beginning.dictionary)


def _read(window: Window, file_path: str, limit: int, skipped: Counter[str]) -> Iterator[Page | BadRecord]:
    dump = ""
    for record in sure_records(window, limit, file_path):
        item = page_of(record, dump, file_path, limit)
        if item is not None:
            del record  # its memory is for the next record
            yield item
            del item
            continue
        skipped[record.type if record.type in _COUNTED else "other"] += 1
        if record.type == "warcinfo" and (part_of := _PART_OF.search(record.body)):
            dump = part_of[1].decode("utf_8", "replace")


def page_of(record: WarcRecord, dump: str, file_path: str, limit: int) -> Page | BadRecord | None:
    """The page of a record, or the reason why it holds none; None if it is sound and of a type without a page."""
    # A damaged record of any type is reported: nobody knows what the bytes that were skipped have held.
    if record.fault is None and record.type not in PAGE_TYPES:
        return None
    content = record.fault or _content(record, limit)
    name = record.headers.get
    id, url, date = name("warc-record-id", ""), _url(record.headers), name("warc-date", "")
    if isinstance(content, Drop):
        return BadRecord(id[:_LONGEST], url[:_LONGEST], date[:_LONGEST], file_path, record.offset, content)
    charset, media, html = content
    robots = _robots_headers(record)
    return Page(id, dump, url, date, file_path, record.offset, record.length, charset, robots, media, html)


def _url(headers: dict[str, str]) -> str:
    """The page's address, without the angle brackets of old versions of wget, and with %20 for a space."""
    url = headers.get("warc-target-uri", "")
    return (url[1:-1] if url.startswith("<") and url.endswith(">") else url).replace(" ", "%20")


def _robots_headers(record: WarcRecord) -> str | None:
    """The fields of the response's header that speak to robots, `name: value` a line; None if it has none."""
    fields = record.http.headers if record.http else {}
    lines = [f"{name}: {value}" for name in ROBOTS_HEADERS for value in fields.get(name, "").split("\n") if value]
    return "\n".join(lines) or None


def _content(record: WarcRecord, limit: int) -> Drop | tuple[str | None, str, bytes]:
    """(charset that is declared, media type, bytes of the page) of a sound record, or why it holds no page."""
    if record.type == "revisit":
        return Drop("warc.revisit", record.headers.get("warc-profile", "").rsplit("/", 1)[-1], "response")
    if record.type != "response":
        return _typed(record, record.headers.get("content-type", ""), record.body, limit)
    if record.http is None:
        scheme = _url(record.headers).partition(":")[0]
        http = scheme.lower() in ("http", "https")
        return Drop("warc.empty", 0, 1) if http else Drop("warc.protocol", scheme, "http")
    status, header = record.http
    if status != "200":
        return Drop("warc.status", int(status) if re.fullmatch("[0-9]{3}", status) else status[:40], 200)
    body, failed = record.body, None
    transfer, coding = header.get("transfer-encoding", ""), header.get("content-encoding", "")
    if (transfer or coding) and len(body) <= limit:
        body, failed = undo_codings(body, transfer, coding, limit)
    if failed and len(body) <= limit:
        return Drop("warc.coding", failed, "gzip, deflate, br, zstd")
    return _typed(record, header.get("content-type", ""), body, limit)


def _typed(record: WarcRecord, content_type: str, body: bytes, limit: int) -> Drop | tuple[str | None, str, bytes]:
    """`_content` of a body whose codings are undone; `content_type` is the value of its Content-Type."""
    if len(body) > limit:
        return Drop("warc.too_large", max(record.size, len(body)), limit)
    if not body:
        return Drop("warc.empty", 0, 1)
    declared, charset = media_type(content_type)
    if record.type == "conversion" and declared == "text/plain":
        return charset, "text/plain", body
    # Common Crawl detects the type of every page from its bytes (with Tika) and writes it into this field.
    detected, _ = media_type(record.headers.get("warc-identified-payload-type", ""))
    wrong = html_type(detected or declared, body)
    if wrong is not None:
        written = "" if detected or declared else content_type.partition(";")[0].strip().lower()[:100]
        return Drop("warc.content_type", written or wrong, "text/html")
    return charset, "text/html", body
