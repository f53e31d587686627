"""CANDIDATES of one partition -> DECISIONS: which documents stay, and which stands for each of the others; and LABELS.

Verified, a document goes only if it is itself similar to one that stays: chains of likeness drop nothing, and what is
dropped has a kept twin by construction. Documents are looked at in the order in which they are to be kept; each is
compared with those before it that stay and have a band in common with it, by the Jaccard similarity of their sets of
n-grams. What is decided about a document depends on those alone, so that a corpus in two parts, the second against the
index of the first, keeps what it keeps as a whole with the first part first.

Unverified, as in FineWeb, everything that shared bands connect goes but for its first document.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from corpus.dedup.sections import SectionWriter

# What is decided about a document that was not alone in its block.
DECISIONS = pa.schema(
    [
        ("row", pa.uint64()),  # over all units
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
# The same row by row with the documents; `alone`: nothing in the corpus had anything in common with it.
LABELS = pa.schema([*(field for field in DECISIONS if field.name != "row"), ("alone", pa.bool_())])


class Decided(NamedTuple):
    """DECISIONS in the order of their rows, and how many documents met more candidates than are looked at."""

    decisions: pa.Table
    capped: int


def decide(batches: Sequence[pa.RecordBatch], config: Config) -> Decided:
    """DECISIONS about the CANDIDATES of whole blocks. Raises ValueError at a block of more documents than can be told
    apart (93 million with 22 bands).

    In memory are the batches, and about 300 bytes a document.
    """
    schema = candidates_schema(config)
    table = pa.Table.from_batches(batches, schema)
    light = table.select([name for name, _ in ORDER]).combine_chunks()
    order = pc.sort_indices(light, ORDER if config.keep != "first" else FIRST_ORDER).to_numpy().astype(np.int64)
    blocks = light.column("block").to_numpy()[order]
    starts = np.concatenate([np.flatnonzero(np.diff(blocks, prepend=~blocks[:1])), [len(order)]]).astype(np.int64)
    rep, value, capped = _twins(batches, order, starts, light, config)
    return Decided(_decisions(light, rep, value, config), capped)


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
    sizes = np.diff(starts)
    largest = int(sizes.max(initial=0))
    if largest * (config.bands * config.minhash + 1) > compare.MOST:
        block = light.column("block")[int(order[starts[sizes.argmax()]])]
        raise ValueError(
            f"block {block} has {largest} documents, more than can be compared with {config.bands} bands: "
            "more --rows, or fewer --bands, connect fewer of them"
        )
    keys = band_keys(signatures, config) if width else np.empty((count, 0), np.uint64)
    sets = [batch.column("ngrams") for batch in batches] if width else []
    ngrams = np.concatenate([np.empty(0, np.uint32), *(item.flatten().to_numpy() for item in sets)])
    lengths = np.concatenate([np.zeros(1, np.int64), *(pc.list_value_length(item).to_numpy() for item in sets)])
    ends = np.cumsum(lengths) if width else np.zeros(count + 1, np.int64)
    capped = compare.keep_dissimilar(
        order, starts, published, hashes, keys, signatures, ngrams, ends, config.threshold, config.checks, rep, value
    )
    return rep, value, int(capped)


def _stacked(batches: Sequence[pa.RecordBatch], name: str, dtype: Any, width: int) -> NDArray[Any]:
    """A fixed-width column of all batches: [rows, width]."""
    parts = [fixed_width(batch.column(name), dtype) for batch in batches] if width else []
    rows = sum(batch.num_rows for batch in batches)
    return np.concatenate(parts) if parts else np.empty((rows, width), dtype)


def _decisions(light: pa.Table, rep: NDArray[np.int64], value: NDArray[np.float64], config: Config) -> pa.Table:
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
    return pa.Table.from_arrays(columns, schema=DECISIONS).sort_by("row")


def write_decisions(decisions: pa.Table, path: Path, starts: Sequence[int]) -> int:
    """Write DECISIONS to a file with a section for each group of units; `starts` has the first row of each and the end.

    What is decided about rows before the first is about published documents, which nobody asks; returns how many there
    are of the others.
    """
    cuts = np.searchsorted(decisions.column("row").to_numpy(), np.asarray(starts, np.uint64))
    writer = SectionWriter(path, len(starts) - 1)
    for section in np.flatnonzero(np.diff(cuts)).tolist():
        part = decisions.slice(cuts[section], cuts[section + 1] - cuts[section]).combine_chunks()
        for batch in part.to_batches():
            writer.write(section, batch)
    writer.close()
    return int(cuts[-1] - cuts[0])


def labels(decisions: pa.Table, first_row: int, ids: pa.Array) -> pa.RecordBatch:
    """LABELS of all documents of a unit whose first row and `ids` these are, from DECISIONS about rows of any units.

    Raises ValueError if one names another document than the one in its row.
    """
    rows = decisions.column("row").to_numpy()
    here = np.flatnonzero((rows >= first_row) & (rows < first_row + len(ids)))
    found = decisions.take(pa.array(here))
    rows = (rows[here] - np.uint64(first_row)).astype(np.int64)
    if found.column("id").combine_chunks() != ids.take(pa.array(rows)):
        raise ValueError("labels do not belong to these documents; remove the folders of the deduplication")
    where = np.full(len(ids), -1, np.int64)
    where[rows] = np.arange(len(rows))
    alone = where < 0
    take = pa.array(where, mask=alone)
    default = {
        "id": ids,
        "keep": pa.scalar(True),
        "cluster_id": pa.array(np.arange(first_row, first_row + len(ids))),
        "cluster_size": pa.scalar(1, pa.int32()),
        "representative": ids,
    }
    columns = {"alone": pa.array(alone)}
    for name in LABELS.names[:-1]:
        column = found.column(name).combine_chunks().take(take)
        columns[name] = pc.if_else(columns["alone"], default[name], column) if name in default else column
    return pa.record_batch([columns[name] for name in LABELS.names], schema=LABELS)
