"""What is in a WARC file, record by record: for people who look at a file, and not for the pipeline.

In: a file's path, or the place of one of its records. Out: a `Line` for each record, whatever its type and whether it
is damaged or not; a `Report` on the whole file; and one record in two forms: its bytes as they are stored, or its page
with the codings undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from corpus.store.open import open_path
from corpus.warc.framing import PAGE_TYPES, WarcRecord, sure_records
from corpus.warc.members import BLOCK, GZIP, Plain, Reader, inflated_at
from corpus.warc.pages import MAX_PAGE_BYTES, BadRecord, Page, page_of, window_at
from corpus.warc.zstd import FRAME

__all__ = ["PAGE_TYPES", "Line", "Report", "as_json", "body", "check", "find", "lines", "raw"]


class Line(NamedTuple):
    """One record of a file, as a list of records shows it.

    offset        where the record, or the member that holds it, begins in the file
    length        its bytes in the file; 0 if several records share them
    type          its WARC-Type; None if its header cannot be read
    status        the HTTP status of a response
    content_type  from its HTTP header, or else from its WARC header
    bytes         the length of its block, inflated
    fault         the rule by which it is damaged: `warc.damaged`, `warc.truncated` or `warc.too_large`
    reason        the value that broke the rule, and the value that was expected
    digest        "verified" or "wrong"; None if no digest can be checked
    """

    offset: int
    length: int
    type: str | None
    status: str | None
    content_type: str | None
    bytes: int
    id: str
    url: str
    fault: str | None
    reason: str | None
    digest: str | None


class Report(NamedTuple):
    """What a check of a whole file found. Every record is either sound or damaged.

    sound     the number of sound records by type
    pages     the number of sound records that give a page
    skipped   the number of sound records that give no page, by type, or by the rule that says why
    verified  the number of records whose digest is right
    wrong     sound records whose digest is wrong, because the crawler wrote it so
    damaged   records that are not sound
    """

    sound: dict[str, int]
    pages: int
    skipped: dict[str, int]
    verified: int
    wrong: list[Line]
    damaged: list[Line]


def lines(path: str, limit: int = MAX_PAGE_BYTES) -> Iterator[Line]:
    """Every record of the file, in order. Raises ValueError if the file has bytes, but no record."""
    for line, _ in _read(path, limit):
        yield line


def check(path: str, limit: int = MAX_PAGE_BYTES) -> Report:
    """Read the whole file and check all its digests. Raises ValueError if the file has bytes, but no record."""
    sound, skipped = Counter[str](), Counter[str]()
    wrong, damaged = [], []
    pages = verified = 0
    for line, record in _read(path, limit):
        verified += line.digest == "verified"
        if line.fault is not None:
            damaged.append(line)
            continue
        sound[str(line.type)] += 1
        if line.digest == "wrong":
            wrong.append(line)
        item = page_of(record, "", path, limit)
        if isinstance(item, Page):
            pages += 1
        else:
            skipped[item.drop.rule if isinstance(item, BadRecord) else str(line.type)] += 1
    return Report(dict(sorted(sound.items())), pages, dict(sorted(skipped.items())), verified, wrong, damaged)


def find(path: str, matches: Callable[[Line], bool], what: str, limit: int = MAX_PAGE_BYTES) -> WarcRecord:
    """The first record that matches. Raises ValueError if none matches, or if that record is damaged.

    `what` describes the record that is looked for, for the error message.
    """
    for line, record in _read(path, limit):
        if matches(line):
            if line.fault is not None:
                raise ValueError(f"{path}: the record at byte {line.offset} is no good: {line.fault}: {line.reason}")
            return record
    raise ValueError(f"{path}: no record {what} in it; `corpus records {path}` lists them")


def raw(path: str, record: WarcRecord) -> Iterator[bytes]:
    """The bytes of the record, inflated and otherwise as stored: its header, its block and the lines that end it."""
    with open_path(path) as stream:
        window = window_at(stream, record.offset)
        is_inflated = window.peek(record.offset, len(FRAME)).startswith((GZIP, FRAME))
        reader = Reader((inflated_at if is_inflated else Plain)(window, record.offset))
        left = record.inner
        while left:
            left -= len(reader.read(min(left, BLOCK)))
        while line := reader.readline():  # the header
            yield line
            if line in (b"\r\n", b"\n"):
                break
        left = record.size + len(b"\r\n\r\n")
        while left and (piece := reader.read(min(left, BLOCK))):
            left -= len(piece)
            yield piece


def body(path: str, record: WarcRecord, limit: int = MAX_PAGE_BYTES) -> Page:
    """The page that the record holds, its codings undone. Raises ValueError that says why, if it holds no page."""
    item = page_of(record, "", path, limit)
    if isinstance(item, Page):
        return item
    if item is None:
        raise ValueError(f"{path}: the record at byte {record.offset} is a {record.type}: no page; --raw shows it")
    rule, value, threshold = item.drop
    raise ValueError(
        f"{path}: the record at byte {record.offset} is no page: {rule}: {value}, not {threshold}; --raw shows it"
    )


def _read(path: str, limit: int) -> Iterator[tuple[Line, WarcRecord]]:
    with open_path(path) as stream:
        for record in sure_records(window_at(stream, 0), limit, path, digests=True):
            yield _line(record), record


def _line(record: WarcRecord) -> Line:
    field, fault, digests = record.headers.get, record.fault, record.digests
    agreed = digests.block if digests.block is not None else digests.payload
    return Line(
        offset=record.offset,
        length=record.length,
        type=record.type,
        status=record.http.status if record.http else None,
        content_type=record.http.headers.get("content-type") if record.http else field("content-type"),
        bytes=record.size,
        id=field("warc-record-id", ""),
        url=field("warc-target-uri", ""),
        fault=fault.rule if fault else None,
        reason=f"{fault.value} (expected: {fault.threshold})" if fault else None,
        digest={True: "verified", False: "wrong", None: None}[agreed],
    )


def as_json(line: Line) -> dict[str, Any]:
    """The fields of a Line that are not None, for programs."""
    return {name: value for name, value in line._asdict().items() if value is not None}
