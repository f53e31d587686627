"""WARC file -> rows of PAGES: how a unit of a pass reads the pages of one file.

A record whose type can hold a page and that gives none becomes a DROPPED row of the stage `warc`, and so does a damaged
record of any type. Sound records of other types are counted by type. The account of `warc` is the first line of the
funnel.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from corpus.engine.base import Unit
from corpus.run.chain import Account, Chain, Rows
from corpus.schema import DOCUMENTS, PAGES, dropped_rows
from corpus.stage import Rule
from corpus.store.open import open_path, split
from corpus.warc.pages import BadRecord, Page, read_pages

NAME = "warc"

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
        with open_path(path) as stream:
            for ordinal, item in enumerate(read_pages(stream, warc_address(path), skipped=skipped)):
                account.read += 1
                if isinstance(item, Page):
                    account.kept += 1
                    yield Rows([ordinal], pa.RecordBatch.from_pylist([item._asdict()], schema=PAGES))
                else:
                    account.dropped[item.drop.rule] += 1
                    chain.drop(ordinal, _dropped_record(item))
                share = stream.tell() / max(unit.inputs[0].size, 1)
                chain.attempt.progress(account.read, chain.accounts[-1].kept, share)
        account.sums.update({f"skipped_{kind}": count for kind, count in sorted(skipped.items())})


def warc_address(path: str) -> str:
    """The WARC file's own address: the address that the commit record of its download has, or else its path."""
    place, name = split(path)
    record = place.read(f"_units/{name}.json")
    if record is None:
        return path
    try:
        return str(json.loads(record)["inputs"][0]["path"])
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"{place.root}/_units/{name}.json: not a receipt of a fetched file ({error}); remove it, or fetch again"
        ) from None


def _dropped_record(bad: BadRecord) -> pa.RecordBatch:
    row = {"id": bad.id, "url": bad.url, "file_path": bad.file_path, "warc_offset": bad.warc_offset}
    batch = pa.RecordBatch.from_pylist([row], schema=pa.schema([PAGES.field(name) for name in row]))
    return dropped_rows(batch, NAME, {0: bad.drop})
