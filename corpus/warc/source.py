"""WARC file -> rows of PAGES: how a unit of a pass reads the pages of one file; WARC files -> pages, for Python.

A record whose type can hold a page and that gives none becomes a DROPPED row of the stage `warc`, and so does a damaged
record of any type. Sound records of other types are counted by type. The account of `warc` is the first line of the
funnel.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from bpe import arguments
from bpe.parse import parse_json
from corpus.engine.base import Unit
from corpus.run.chain import Account, Chain, Rows
from corpus.schema import DOCUMENTS, PAGES, dropped_rows
from corpus.stage import Rule
from corpus.store.inputs import open_input
from corpus.store.open import children, expand, is_dir, open_path, split
from corpus.warc import pages
from corpus.warc.pages import MAX_PAGE_BYTES, BadRecord, Page

NAME = "warc"
ENDINGS = (".warc", ".warc.gz", ".warc.zst", ".wet", ".wet.gz", ".wet.zst")  # of files in a folder

# Every reason for which a record gives no page. Their thresholds are no settings.
RULES = (
    Rule("damaged", "the record, whose header, compression or digest is broken", "listed", source="WARC 1.1"),
    Rule("truncated", "bytes of the record before its file or member ends", "below", source="WARC 1.1"),
    Rule("too_large", "bytes of the page before or after its codings are undone", "above"),
    Rule("revisit", "a record that refers to another record and holds no page", "listed", source="WARC 1.1"),
    Rule("protocol", "the protocol of the address, such as dns", "listed"),
    Rule("status", "the HTTP status, which is not 200", "listed", source="RFC 9110"),
    Rule("coding", "a transfer or content coding that cannot be undone", "listed", source="RFC 9110"),
    Rule("content_type", "the type of the content, which is not HTML", "listed", source="WHATWG MIME Sniffing"),
    Rule("empty", "bytes of the page", "below"),
)


@dataclass(frozen=True)
class WarcPages:
    """The pages of the WARC file that is a unit's one input, a page at a time."""

    def schema(self, unit: Unit) -> pa.Schema:
        """The columns of the documents that pages become."""
        return DOCUMENTS

    def read(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        """Every page, with its ordinal among the pages and the dropped records; the account goes to the chain."""
        account, skipped = Account(NAME), Counter[str]()
        chain.before.append(account)
        chain.warm_up(pa.RecordBatch.from_pylist([], schema=PAGES))
        path = unit.inputs[0].path
        with open_input(unit.inputs[0]) as stream:
            for ordinal, item in enumerate(pages.read_pages(stream, warc_address(path), skipped=skipped)):
                account.read += 1
                if isinstance(item, Page):
                    account.kept += 1
                    yield Rows([ordinal], pa.RecordBatch.from_pylist([item._asdict()], schema=PAGES))
                else:
                    account.dropped[item.drop.rule] += 1
                    chain.drop([ordinal], _dropped_record(item))
                share = stream.tell() / max(unit.inputs[0].size, 1)
                chain.attempt.progress(account.read, chain.kept, share)
        account.sums.update({f"skipped_{kind}": count for kind, count in sorted(skipped.items())})


def read_pages(
    path: str | os.PathLike[str],
    *,
    max_page_bytes: int = MAX_PAGE_BYTES,
    on_bad: Callable[[BadRecord], object] | None = None,
) -> Iterator[Page]:
    r"""The pages of WARC or WET files, in order: HTML as it was crawled, or the text of a WET file.

    path            a file, a folder of files (.warc, .wet, also .gz and .zst), or a pattern such as "crawl/*.warc.gz";
                    local, or in an object store (s3://bucket/...)
    max_page_bytes  the longest page, before and after its codings are undone
    on_bad          called with each record that should hold a page and gives none; its `drop` says why

    In memory are one page and a window of the file. Format: WARC 1.1 (iipc.github.io/warc-specifications). Raises
    FileNotFoundError where nothing is there, ValueError for a folder without such files and for a file of another kind.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from corpus import read_pages
    >>> fields = "WARC-Type: resource\r\nWARC-Target-URI: https://a.example/\r\nContent-Type: text/html"
    >>> record = f"WARC/1.0\r\n{fields}\r\nContent-Length: 12\r\n\r\n<p>Ahoy!</p>\r\n\r\n"
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.warc").write_bytes(record.encode())
    ...     pages = list(read_pages(folder))
    >>> [(page.url, page.html) for page in pages]
    [('https://a.example/', b'<p>Ahoy!</p>')]
    """
    paths = []
    max_page_bytes = arguments.whole_number("max_page_bytes", max_page_bytes, 1)
    for place in expand([arguments.path("path", path)]):
        files = warc_files(place) if is_dir(place) else [place]
        if not files:
            raise ValueError(f"{place}: holds no .warc or .wet files (.gz, .zst)")
        paths += files
    return _pages(paths, max_page_bytes, arguments.function("on_bad", on_bad))


def _pages(paths: list[str], max_page_bytes: int, on_bad: Callable[[BadRecord], object] | None) -> Iterator[Page]:
    for path in paths:
        with open_path(path) as stream:
            for item in pages.read_pages(stream, warc_address(path), max_page_bytes=max_page_bytes):
                if isinstance(item, Page):
                    yield item
                elif on_bad is not None:
                    on_bad(item)


def warc_files(folder: str) -> list[str]:
    """Paths of the WARC and WET files directly in a folder, sorted."""
    return [path for path in children(folder) if path.endswith(ENDINGS)]


def warc_address(path: str) -> str:
    """The WARC file's own address: the address that the commit record of its download has, or else its path."""
    place, name = split(path)
    record = place.read(f"_units/{name}.json")
    if record is None:
        return path
    try:
        return str(parse_json(record)["inputs"][0]["path"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{place.root}/_units/{name}.json: not a receipt of a fetched file ({error}); remove it, or fetch again"
        ) from None


def _dropped_record(bad: BadRecord) -> pa.RecordBatch:
    row = {"id": bad.id, "url": bad.url, "file_path": bad.file_path, "warc_offset": bad.warc_offset}
    batch = pa.RecordBatch.from_pylist([row], schema=pa.schema([PAGES.field(name) for name in row]))
    return dropped_rows(batch, NAME, {0: bad.drop})
