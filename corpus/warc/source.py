"""WARC file -> rows of PAGES: how a unit of a pass reads the pages of one file.

A record that bears a page but cannot be read whole becomes a DROPPED row of the stage `warc`; records that bear no page
are counted by kind. The account of `warc` is the first line of the funnel.
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
from corpus.store.open import open_path, split
from corpus.warc.pages import BadRecord, Page, read_pages

NAME = "warc"


@dataclass(frozen=True)
class WarcPages:
    """The pages of the WARC file that is a unit's one input, a page at a time."""

    def schema(self, unit: Unit) -> pa.Schema:
        """The columns of the documents that pages become."""
        return DOCUMENTS

    def read(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        """Every page with its ordinal among the records that bear one; the account goes to the chain."""
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
    """The WARC's own address: where it was fetched from, if a receipt beside it says so, else its path."""
    place, name = split(path)
    receipt = place.read(f"_units/{name}.json")
    if receipt is None:
        return path
    try:
        return str(json.loads(receipt)["inputs"][0]["path"])
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"{place.root}/_units/{name}.json: not a receipt of a fetched file ({error}); remove it, or fetch again"
        ) from None


def _dropped_record(bad: BadRecord) -> pa.RecordBatch:
    row = {"id": bad.id, "url": bad.url, "file_path": bad.file_path, "warc_offset": bad.warc_offset}
    batch = pa.RecordBatch.from_pylist([row], schema=pa.schema([PAGES.field(name) for name in row]))
    return dropped_rows(batch, NAME, {0: bad.drop})
