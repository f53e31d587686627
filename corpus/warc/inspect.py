"""What is in a WARC file, record by record: for a person who wants to know, and not for the pipeline.

In: a file's path, or where one of its records is. Out: a `Line` for each record, of all types and damaged ones too;
what a check of the whole file found; and one record's bytes, at three depths: as stored, its body with the codings
undone, and what extraction makes of it.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from corpus.store.open import open_path
from corpus.warc.bytes import BLOCK, GZIP, Frame, Member, Plain, Reader
from corpus.warc.framing import PAGE_TYPES, Record, records
from corpus.warc.pages import MAX_PAGE_BYTES, BadRecord, Page, page_of, window_at
from corpus.warc.zstd import FRAME

__all__ = ["PAGE_TYPES", "Line", "Report", "as_json", "body", "check", "find", "lines", "raw"]


class Line(NamedTuple):
    """One record of a file."""

    offset: int
    length: int  # bytes in the file; 0 if other records share them
    type: str | None  # None if its header is unreadable
    status: str | None  # of HTTP
    content_type: str | None  # of the HTTP header, or else of the record
    bytes: int  # of its block
    id: str
    url: str
    fault: str | None  # the rule that calls it damaged: `warc.damaged`, `warc.truncated`, `warc.too_large`
    reason: str | None
    digest: str | None  # "verified", "wrong" or None if there is none that can be checked


class Report(NamedTuple):
    """A check of a whole file; every record is in `sound` or is one of `damaged`."""

    sound: dict[str, int]  # type -> records
    pages: int  # those that give a page
    skipped: dict[str, int]  # sound records that give none, by type or by the rule why not
    verified: int  # records whose digest agrees
    wrong: list[Line]  # sound records whose digest does not: the crawler wrote it wrong
    damaged: list[Line]


def lines(path: str, limit: int = MAX_PAGE_BYTES) -> Iterator[Line]:
    """Every record of the file, in order. Raises ValueError if there is none in it although it has bytes."""
    for line, _ in _read(path, limit):
        yield line


def check(path: str, limit: int = MAX_PAGE_BYTES) -> Report:
    """Read all of the file, with all digests that it has. Raises ValueError as `lines` does."""
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


def find(path: str, matches: Callable[[Line], bool], what: str, limit: int = MAX_PAGE_BYTES) -> Record:
    """The first record that matches. Raises ValueError if there is none, or if that one is damaged."""
    for line, record in _read(path, limit):
        if matches(line):
            if line.fault is not None:
                raise ValueError(f"{path}: the record at byte {line.offset} is no good: {line.fault}: {line.reason}")
            return record
    raise ValueError(f"{path}: no record {what} in it; `corpus records {path}` lists them")


def raw(path: str, record: Record) -> Iterator[bytes]:
    """The record as stored, inflated: header, block and the lines that end it."""
    with open_path(path) as stream:
        window = window_at(stream, record.offset)
        head = window.peek(record.offset, 4)
        source: io.RawIOBase = Plain(window, record.offset)
        if head.startswith(GZIP):
            source = Member(window, record.offset)
        elif head == FRAME:
            source = Frame(window, record.offset)
        reader = Reader(source)
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


def body(path: str, record: Record, limit: int = MAX_PAGE_BYTES) -> Page:
    """The page that the record holds, its codings undone. Raises ValueError with the reason if it holds none."""
    item = page_of(record, "", path, limit)
    if isinstance(item, Page):
        return item
    if item is None:
        raise ValueError(f"{path}: the record at byte {record.offset} is a {record.type}: no page; --raw shows it")
    rule, value, threshold = item.drop
    raise ValueError(
        f"{path}: the record at byte {record.offset} is no page: {rule}: {value}, not {threshold}; --raw shows it"
    )


def _read(path: str, limit: int) -> Iterator[tuple[Line, Record]]:
    proven = False
    with open_path(path) as stream:
        window = window_at(stream, 0)
        unreadable: list[tuple[Line, Record]] = []
        for record in records(window, limit, digests=True):
            found = _line(record), record
            if record.type is None and not proven:
                unreadable.append(found)
                continue
            if not proven:
                yield from unreadable
                proven = True
            yield found
        if not proven and window.end:
            reason = unreadable[0][0].reason if unreadable else "no record in it"
            raise ValueError(f"{path}: not a WARC file ({reason}); download it again or leave it out")


def _line(record: Record) -> Line:
    name = record.headers.get
    fault = record.fault
    content_type = record.http.headers.get("content-type") if record.http else name("content-type")
    checked = record.digests
    agreed = checked.block if checked.block is not None else checked.payload
    return Line(
        record.offset,
        record.length,
        record.type,
        record.http.status if record.http else None,
        content_type,
        record.size,
        name("warc-record-id", ""),
        name("warc-target-uri", ""),
        fault.rule if fault else None,
        f"{fault.value} (expected: {fault.threshold})" if fault else None,
        {True: "verified", False: "wrong", None: None}[agreed],
    )


def as_json(line: Line) -> dict[str, Any]:
    """A Line for programs, without what is not there."""
    return {name: value for name, value in line._asdict().items() if value is not None}
