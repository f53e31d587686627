"""WARC bytes -> pages.

In: one WARC file as a stream of bytes: gzip members or Zstandard frames, one a record (as Common Crawl writes it) or
one for the whole file, or plain. Out: for every record that bears a page (`response`, `revisit`, `resource`,
`conversion`), in file order, either a `Page` or a `BadRecord` that says why there is none. Records of other types
(request, metadata, warcinfo, ...) are no pages and give nothing but their count, unless they are damaged.

A crawl holds damaged files: after a broken record, reading goes on at the next place where a record can begin, and
the damage is counted once (`warc_records` has the bytes, `warc_bytes` the way back). Memory is bounded by
`max_page_bytes` and a window of the compressed file, never by a length that a header states.

Format: WARC 1.1, https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from corpus.schema import Drop
from corpus.text.charset import decode_html
from corpus.warc.bytes import Window, skip_dictionary
from corpus.warc.framing import PAGE_TYPES, Record, records
from corpus.warc.header import ROBOTS_HEADERS
from corpus.warc.http_body import html_type, undo_codings
from corpus.warc.zstd import FRAME

__all__ = ["MAX_PAGE_BYTES", "BadRecord", "Page", "decode_html", "page_of", "read_pages", "read_record", "window_at"]

# Common Crawl cuts a page at 5 MiB (1 MiB before 2025); other crawlers keep more.
MAX_PAGE_BYTES = 16 * 1024 * 1024

_COUNTED = frozenset(("warcinfo", "request", "metadata", "continuation"))  # types that are no pages; the rest: other

_PART_OF = re.compile(rb"^isPartOf:[ \t]*([^\s]+)", re.MULTILINE | re.IGNORECASE)
_CHARSET = re.compile(r"""\bcharset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)

_LONGEST = 2048  # characters of a field that damage may have garbled


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
    robots_headers: str | None
    media: str | None  # "text/html", or "text/plain": text that was extracted before, as in a WET file
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
    """Every page-bearing record of a WARC file, in order; `file_path` is the file's own address.

    `stream` is read forward only, from where it stands. Rules of a BadRecord: `warc.status` (not 200), `warc.revisit`,
    `warc.protocol` (dns: and the like), `warc.content_type`, `warc.empty`, `warc.too_large` (more than
    `max_page_bytes` before or after decoding, or a bomb), `warc.coding` (cannot be decoded), `warc.truncated` (the
    file or the member ends before the record does) and `warc.damaged`. The last is also what a record becomes whose
    digest is wrong where no checksum has vouched for it: in a plain file, in a member of several records, and after
    damage. A page that the crawler itself cut at its limit (WARC-Truncated) is a page.

    What a `response` to http holds is a page if it is HTML, as is a `resource`; a `conversion` may be plain text too.
    Sound records of other types are counted in `skipped`, as warcinfo, request, metadata, continuation or other.
    Raises ValueError if there are bytes but no WARC record at all.
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
    """The record whose first byte is at `offset` of a seekable `stream`, alone; its `dump` is "".

    Raises ValueError if no page-bearing record begins there (or, with `length`, none lies in that range).
    """
    window = window_at(stream, offset, length)
    item = next(_read(window, file_path, max_page_bytes, Counter()), None)
    if item is None or item.warc_offset != offset:
        raise ValueError(f"{file_path or 'WARC file'}: no page begins at byte {offset}; check warc_offset")
    return item


def window_at(stream: BinaryIO, offset: int, length: int | None = None) -> Window:
    """A seekable stream from `offset` on, with the dictionary that a Zstandard file has at its beginning."""
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
    dump, first = "", window.start
    unreadable: list[BadRecord] = []  # held back until one good header proves that this is a WARC file
    proven = False
    for record in records(window, limit):
        item = page_of(record, dump, file_path, limit)
        if record.type is None and not proven:
            unreadable += [item] if isinstance(item, BadRecord) else []
            continue
        if not proven:
            yield from unreadable
            proven = True
        if item is not None:
            del record  # its memory is the next one's
            yield item
            del item
            continue
        skipped[record.type if record.type in _COUNTED else "other"] += 1
        if record.type == "warcinfo" and (part_of := _PART_OF.search(record.body)):
            dump = part_of[1].decode("utf_8", "replace")
    if not proven and window.end > first:
        reason = unreadable[0].drop.value if unreadable else "no record in it"
        raise ValueError(f"{file_path}: not a WARC file ({reason}); download it again or leave it out")


# --- One record -> one page or the reason why not


def page_of(record: Record, dump: str, file_path: str, limit: int) -> Page | BadRecord | None:
    """What a record gives, None if it is sound and bears no page."""
    # A damaged record of any type is reported: nobody knows what else lay in the bytes that were skipped.
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
    """The page's address; old wget wrote it in angle brackets, and a space would break its reader."""
    url = headers.get("warc-target-uri", "")
    return (url[1:-1] if url.startswith("<") and url.endswith(">") else url).replace(" ", "%20")


def _robots_headers(record: Record) -> str | None:
    """What the response's header says to robots about use for AI, `name: value` a line."""
    said = record.http.headers if record.http else {}
    lines = [f"{name}: {value}" for name in ROBOTS_HEADERS for value in said.get(name, "").split("\n") if value]
    return "\n".join(lines) or None


def _content(record: Record, limit: int) -> Drop | tuple[str | None, str, bytes]:
    """(charset as declared, media type, the page's bytes) of a sound record, or why it is no page."""
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


def _typed(record: Record, content_type: str, body: bytes, limit: int) -> Drop | tuple[str | None, str, bytes]:
    if len(body) > limit:
        return Drop("warc.too_large", max(record.size, len(body)), limit)
    if not body:
        return Drop("warc.empty", 0, 1)
    declared = content_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(content_type)
    if record.type == "conversion" and declared == "text/plain":
        return (charset[1] if charset else None), "text/plain", body
    # Common Crawl looks at the bytes of every page (Tika) and writes down what it saw.
    wrong = html_type(record.headers.get("warc-identified-payload-type", declared).lower(), body)
    if wrong is not None:
        return Drop("warc.content_type", wrong, "text/html")
    return (charset[1] if charset else None), "text/html", body
