"""CANDIDATES of one partition -> LABELS: which documents stay, and which document stands for each of the others.

Verified, a document goes only if it is itself similar to one that stays: chains of likeness drop nothing, and what is
dropped has a kept twin by construction. Documents are looked at in the order in which they are to be kept; each is
compared with those before it that stay and have a band in common with it, by the Jaccard similarity of their sets of
n-grams. What is decided about a document depends on those alone, so that a corpus in two parts, the second against the
index of the first, keeps what it keeps as a whole with the first part first.

Unverified, as in FineWeb, everything that shared bands connect goes but for its first document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.dedup.candidates import FIRST_ORDER, ORDER, candidates_schema
from corpus.dedup.config import Config
from corpus.dedup.kernels import compare
from corpus.dedup.keys import band_keys, fixed_width
from corpus.dedup.sections import Sections, SectionWriter, read_section

# A row for each document that was not alone in its block.
LABELS = pa.schema(
    [
        ("row", pa.uint32()),  # within its unit
        ("id", pa.string()),
        ("keep", pa.bool_()),
        ("cluster_id", pa.int64()),  # row, over all units in order, of the document that is kept
        ("cluster_size", pa.int32()),  # documents that it stands for, itself included
        ("representative", pa.string()),  # id of the kept document
        ("rule", pa.string()),  # null, dedup.exact or dedup.minhash
        ("similarity", pa.float64()),  # to the representative: exact, or MinHash's estimate if unverified; null if kept
        ("threshold", pa.float64()),  # null where kept
    ]
)


class Decided(NamedTuple):
    """LABELS with rows over all units, and how many documents met more candidates than are looked at."""

    labels: pa.Table
    capped: int


def decide(batches: Sequence[pa.RecordBatch], config: Config) -> Decided:
    """LABELS of the CANDIDATES of whole blocks, in the order of their rows; `row` counts over all units, as uint64.

    In memory are the batches, and about 300 bytes a document.
    """
    schema = candidates_schema(config)
    table = pa.Table.from_batches(batches, schema)
    light = table.select([name for name, _ in ORDER]).combine_chunks()
    order = pc.sort_indices(light, ORDER if config.keep != "first" else FIRST_ORDER).to_numpy().astype(np.int64)
    blocks = light.column("block").to_numpy()[order]
    starts = np.concatenate([np.flatnonzero(np.diff(blocks, prepend=~blocks[:1])), [len(order)]]).astype(np.int64)
    rep, value, capped = _twins(batches, order, starts, light, config)
    return Decided(_labels(light, rep, value, config), capped)


def _twins(
    batches: Sequence[pa.RecordBatch],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    light: pa.Table,
    config: Config,
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """(by candidate the number of the one that stands for it, their similarity, how many were capped)."""
    count = len(order)
    rep, value = np.empty(count, np.int64), np.zeros(count)
    published = light.column("published").to_numpy()
    if config.exact:
        hashes = _stacked(batches, "text_hash", np.uint64, 2)
    else:  # none like any other
        hashes = np.arange(2 * count, dtype=np.uint64).reshape(-1, 2)
    width = config.num_perm if config.minhash else 0
    signatures = _stacked(batches, "signature", np.uint32, width)
    if not config.verify:
        compare.keep_first(order, starts, published, hashes, signatures, rep, value)
        return rep, value, 0
    keys = band_keys(signatures, config) if width else np.empty((count, 0), np.uint64)
    sets = [batch.column("ngrams") for batch in batches] if width else []
    ngrams = np.concatenate([np.empty(0, np.uint32), *(item.flatten().to_numpy() for item in sets)])
    sizes = np.concatenate([np.zeros(1, np.int64), *(pc.list_value_length(item).to_numpy() for item in sets)])
    ends = np.cumsum(sizes) if width else np.zeros(count + 1, np.int64)
    capped = compare.keep_dissimilar(
        order, starts, published, hashes, keys, signatures, ngrams, ends, config.threshold, config.checks, rep, value
    )
    return rep, value, int(capped)


def _stacked(batches: Sequence[pa.RecordBatch], name: str, dtype: Any, width: int) -> NDArray[Any]:
    """A fixed-width column of all batches: [rows, width]."""
    parts = [fixed_width(batch.column(name), dtype) for batch in batches] if width else []
    rows = sum(batch.num_rows for batch in batches)
    return np.concatenate(parts) if parts else np.empty((rows, width), dtype)


def _labels(light: pa.Table, rep: NDArray[np.int64], value: NDArray[np.float64], config: Config) -> pa.Table:
    numbers = np.arange(len(rep))
    keep = rep == numbers
    exact = value == compare.SAME
    rows = light.column("row").to_numpy()
    ids = light.column("id").combine_chunks()
    columns = [
        pa.array(rows),
        ids,
        pa.array(keep),
        pa.array(rows[rep].astype(np.int64)),
        pa.array(np.bincount(rep, minlength=len(rep))[rep].astype(np.int32)),
        ids.take(pa.array(rep)),
        pa.array(np.where(exact, "dedup.exact", "dedup.minhash"), pa.string(), mask=keep),
        pa.array(np.where(exact, 1.0, value), mask=keep),
        pa.array(np.where(exact, 1.0, config.limit), mask=keep),
    ]
    schema = LABELS.set(0, pa.field("row", pa.uint64()))
    return pa.Table.from_arrays(columns, schema=schema).sort_by("row")


def write_labels(labels: pa.Table, path: Path, starts: Sequence[int]) -> int:
    """Write LABELS to a file with a section for each unit; `starts` has the first row of each and the end.

    Labels of rows before the first are published documents', which nobody asks about; returns how many there are of
    the others.
    """
    rows = labels.column("row").to_numpy()
    cuts = np.searchsorted(rows, np.asarray(starts, np.uint64))
    writer = SectionWriter(path, len(starts) - 1)
    for section in np.flatnonzero(np.diff(cuts)).tolist():
        part = labels.slice(cuts[section], cuts[section + 1] - cuts[section]).combine_chunks()
        local = (rows[cuts[section] : cuts[section + 1]] - np.uint64(starts[section])).astype(np.uint32)
        for batch in part.set_column(0, LABELS.field("row"), pa.array(local)).to_batches():
            writer.write(section, batch)
    writer.close()
    return int(cuts[-1] - cuts[0])


def unit_labels(
    files: Iterable[Sections], number: int, first_row: int, ids: pa.Array, columns: Sequence[str] = LABELS.names[1:]
) -> pa.RecordBatch:
    """LABELS of all documents of a unit, row by row: those found in its section of each file, `number`, and for the
    others, that they were alone. `ids` are the unit's.

    Raises ValueError if a label names another document than the one in its row.
    """
    tables = [batch for file in files for batch in read_section(file, number, LABELS)]
    found = pa.Table.from_batches(tables, LABELS)
    rows = found.column("row").to_numpy()
    if len(rows) and (rows.max() >= len(ids) or found.column("id").combine_chunks() != ids.take(pa.array(rows))):
        raise ValueError("labels do not belong to these documents; remove the folders of the deduplication")
    where = np.full(len(ids), -1, np.int64)
    where[rows] = np.arange(len(rows))
    alone = where < 0
    take = pa.array(np.where(alone, 0, where), mask=alone)
    made: dict[str, pa.Array] = {"id": ids}
    default = {
        "keep": pa.scalar(True),
        "cluster_id": pa.array(np.arange(first_row, first_row + len(ids))),
        "cluster_size": pa.scalar(1, pa.int32()),
        "representative": ids,
    }
    for name in columns:
        if name != "id":
            column = found.column(name).take(take)
            column = pc.if_else(pa.array(alone), default[name], column) if name in default else column
            made[name] = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.record_batch([made[name] for name in columns], schema=pa.schema([LABELS.field(name) for name in columns]))
