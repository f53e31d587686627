"""The rows of a unit's files for a chain of stages: documents, and rows that are no documents by name.

The account `import` is the first line of the funnel: rows read, rows kept, rows dropped by rule. Its sum `equal_ids` is
the number of rows whose id an earlier row of the unit has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.engine.base import Unit
from corpus.run.chain import Account, Chain, Rows
from corpus.schema import DOCUMENTS, Drop, dropped_rows
from corpus.sources.columns import SOURCE, Columns
from corpus.sources.documents import NAME, documents
from corpus.sources.formats import FORMATS, File, Part, format_of
from corpus.store.inputs import open_input
from corpus.store.records import Input

BATCH_BYTES, BATCH_ROWS = 256 << 10, 1024  # of text, of rows that go to the stages together


@dataclass(frozen=True)
class FileRows:
    """The rows of the files of a unit; `documents` are the columns of what comes out."""

    columns: Columns
    documents: pa.Schema

    def schema(self, unit: Unit) -> pa.Schema:
        """The columns of the documents, equal for all units."""
        return self.documents

    def read(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        """Every row that is a document, with its ordinal among all rows of the unit."""
        account, ids = Account(NAME), _Ids()
        chain.before.append(account)
        chain.warm_up(_empty(self.documents))
        part: Part = unit.part
        for number, (source, name) in enumerate(zip(unit.inputs, part.names, strict=True)):
            for batch, drops, share, has_ids in self._batches(source, part._replace(names=(name,))):
                first, rows = account.read, batch.num_rows
                account.read += rows
                account.kept += rows - len(drops)
                if has_ids:  # those that are made are all different
                    ids.add(batch.column("id"))
                ordinals = list(range(first, first + rows))
                if drops:
                    account.dropped.update(Counter(drop.rule for drop in drops.values()))
                    chain.drop([first + row for row in sorted(drops)], dropped_rows(batch, NAME, drops))
                    ordinals = [first + row for row in range(rows) if row not in drops]
                    batch = batch.take(pa.array([ordinal - first for ordinal in ordinals], pa.int64()))
                yield from _cut(Rows(ordinals, batch))
                done = (number + share) / len(part.names)
                chain.attempt.progress(account.read, chain.kept, done)
        if equal := ids.equal():
            account.sums["equal_ids"] = equal

    def batches(self, unit: Unit) -> Iterator[tuple[pa.RecordBatch, dict[int, Drop]]]:
        """The rows of a unit, in order, and by row the reason why it is no document."""
        for source, name in zip(unit.inputs, unit.part.names, strict=True):
            for batch, drops, _, _ in self._batches(source, unit.part._replace(names=(name,))):
                yield batch, drops

    def _batches(self, source: Input, part: Part) -> Iterator[tuple[pa.RecordBatch, dict[int, Drop], float, bool]]:
        kind = FORMATS[format_of(part.names[0])]
        kept = pa.schema(list(self.documents)[len(DOCUMENTS) + len(SOURCE) :])
        with open_input(source) as stream:
            for table in kind.load().read(File(stream, source.path, source.size, part), self.columns, kept):
                yield *documents(table, part.names[0], kind.mark, kept, source.path), table.share, "id" in table.columns


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.nulls(0, field.type) for field in schema], schema=schema)


def _cut(rows: Rows) -> Iterator[Rows]:
    """The rows in batches of about BATCH_BYTES of text and at most BATCH_ROWS; a row is in one batch."""
    count = len(rows.ordinals)
    if count <= BATCH_ROWS and rows.batch.column("text").nbytes <= BATCH_BYTES:
        if count:
            yield rows
        return
    ends = np.cumsum(pc.binary_length(rows.batch.column("text")).to_numpy(), dtype=np.int64)
    start = done = 0
    while start < count:
        full = int(np.searchsorted(ends, done + BATCH_BYTES, "right"))
        end = min(max(full, start + 1), start + BATCH_ROWS, count)
        yield rows.part(start, end - start)
        start, done = end, int(ends[end - 1])


class _Ids:
    """Counts the ids that were there before, by their hashes, which take 8 bytes a row."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []

    def add(self, ids: pa.Array) -> None:
        self._hashes.append(np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids)))

    def equal(self) -> int:
        hashes = np.concatenate(self._hashes) if self._hashes else np.zeros(0, np.int64)
        return len(hashes) - len(np.unique(hashes))
