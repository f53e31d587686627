"""The step that removes repeated lines from documents, once it is known which lines are repeated.

In: DOCUMENTS and the column `lines_row`, the number of each row over all units. Out: the documents that stay, without
that column and with the column `lines_removed`.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.dedup.lines.config import Removal
from corpus.dedup.lines.hashes import LINES_REMOVED, open_repeated, remove_lines
from corpus.dedup.lines.kernels.repeated import Repeated
from corpus.schema import Outcome
from corpus.stage import Stage

ROW = "lines_row"  # the column with the number of each row over all units


def process(batch: pa.RecordBatch, config: Removal) -> Outcome:
    """Remove repeated lines from the texts, and drop documents that lost lines and have too few words left."""
    rows = batch.column(ROW).to_numpy()
    documents = batch.drop_columns([ROW])
    repeated = _table(config.table)
    # A document may have been set aside before this step; then its number is missing, and the batch is cut there.
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)] if len(rows) else [0, 0]
    outcomes = [
        remove_lines(documents.slice(start, end - start), int(rows[start]) if end else 0, repeated, config.lines)
        for start, end in itertools.pairwise(cuts)
    ]
    return Outcome(
        pa.concat_batches([outcome.kept for outcome in outcomes]),
        pa.concat_batches([outcome.dropped for outcome in outcomes]),
        np.concatenate([outcome.mask for outcome in outcomes]),
    )


@functools.lru_cache(1)
def _table(path: str) -> Repeated:
    return open_repeated(Path(path))


def count_kept(batch: pa.RecordBatch, config: Removal) -> dict[str, int]:
    """Sums over the documents of a batch: lines that were removed."""
    return {"lines_removed": pc.sum(batch.column(LINES_REMOVED.name)).as_py() or 0}


STAGE = Stage("lines", Removal, process, columns=lambda config: (LINES_REMOVED,), row_column=ROW, count_kept=count_kept)
