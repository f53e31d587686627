"""The stage that removes repeated lines: DOCUMENTS with their rows -> DOCUMENTS without these lines.

In: DOCUMENTS and the column `lines_row`, the number of each row over all units. Out: the documents that stay, without
it, plus `lines_removed`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.lines import hashes as lines
from corpus.dedup.lines.hashes import LINES_REMOVED
from corpus.schema import Outcome
from corpus.stage import Stage

ROW = "lines_row"  # the column with the number of each row over all units


@dataclass(frozen=True)
class Config:
    """`table` is the path of the repeated lines, a local file; `lines` the settings that they were found with."""

    table: str
    lines: lines.Config


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Remove repeated lines, and drop the documents of which too little is left."""
    rows = batch.column(ROW).to_numpy()
    documents = batch.drop_columns([ROW])
    repeated = _table(config.table)
    # A row may be missing, if it was set aside: then rows do not follow one another.
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)] if len(rows) else [0, 0]
    outcomes = [
        lines.remove_lines(documents.slice(start, end - start), int(rows[start]) if end else 0, repeated, config.lines)
        for start, end in itertools.pairwise(cuts)
    ]
    return Outcome(
        pa.concat_batches([outcome.kept for outcome in outcomes]),
        pa.concat_batches([outcome.dropped for outcome in outcomes]),
        np.concatenate([outcome.mask for outcome in outcomes]),
    )


@functools.lru_cache(1)
def _table(path: str) -> lines.Repeated:
    return lines.open_repeated(Path(path))


def count_kept(batch: pa.RecordBatch, config: Config) -> dict[str, int]:
    """How many lines were removed from the documents of a batch."""
    return {"lines_removed": pc.sum(batch.column(LINES_REMOVED.name)).as_py() or 0}


STAGE = Stage("lines", Config, process, columns=lambda config: (LINES_REMOVED,), row_column=ROW, count_kept=count_kept)
