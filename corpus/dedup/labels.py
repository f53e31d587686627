"""CANDIDATES of one partition -> DECISIONS: which documents stay, and which kept one represents each of the others.

Verified (the default), a document is dropped only if it is itself similar to one that stays, so every dropped document
has a kept twin; that two documents are both similar to a third one drops neither. Documents are looked at in the order
in which they are to be kept. Each is compared with the kept documents before it that share a band with it, by the
Jaccard similarity of their sets of n-grams. The decision about a document depends on these alone. So a corpus that is
deduplicated in two parts, the second against the index of the first, keeps what it would keep in one.

Unverified, as in FineWeb, all documents that shared bands connect are dropped but for the first of them. Such a
document may resemble the first only through a chain of others, or only when both are folded. So its similarity to the
first is computed as well, and the rule says what it is: `dedup.minhash` from `Config.limit` on, else `dedup.chain`.

LABELS are the decisions about all documents, row by row with their shards.
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

# The decision about a document that shares a block with others.
DECISIONS = pa.schema(
    [
        ("row", pa.uint64()),  # over all units
        ("id", pa.string()),
        ("keep", pa.bool_()),
        ("cluster_id", pa.int64()),  # row of the representative
        ("cluster_size", pa.int32()),  # documents with this representative, itself included
        ("representative", pa.string()),  # id of the kept document
        ("rule", pa.string()),  # dedup.exact, dedup.minhash or dedup.chain; null where the document is kept
        ("similarity", pa.float64()),  # to the representative, exact; null if kept
        ("threshold", pa.float64()),  # null if kept
    ]
)
# The same columns for every document of a shard; `alone`: it shared no block with any other document.
LABELS = pa.schema([*(field for field in DECISIONS if field.name != "row"), ("alone", pa.bool_())])


class Decided(NamedTuple):
    """DECISIONS in the order of their rows, and how many documents had more candidates than `checks` allows."""

    decisions: pa.Table
    capped: int


def decide(batches: Sequence[pa.RecordBatch], config: Config) -> Decided:
    """DECISIONS about the CANDIDATES of whole blocks.

    In memory are the batches, and about 300 bytes a document. Raises ValueError at a block with more documents than can
    be numbered (93 million with 22 bands).
    """
    table = pa.Table.from_batches(batches, candidates_schema(config))
    light = table.select([name for name, _ in ORDER]).combine_chunks()
    order = pc.sort_indices(light, ORDER if config.keep != "first" else FIRST_ORDER).to_numpy().astype(np.int64)
    block = light.column("block").to_numpy()[order]
    starts = np.concatenate([np.flatnonzero(np.diff(block, prepend=~block[:1])), [len(order)]]).astype(np.int64)
    blocks = compare.Blocks(order, starts)
    twins = compare.Twins(np.empty(len(order), np.int64), np.zeros(len(order)))
    if config.verify:
        _check_sizes(blocks, light.column("block"), config)
    contents = _contents(batches, light.column("published").to_numpy(), config)
    capped = 0
    if config.verify:
        capped = int(compare.keep_dissimilar(blocks, contents, config.threshold, config.checks, twins))
    else:
        compare.keep_first(blocks, contents, twins)
    return Decided(_decisions(light, twins, config), capped)


def _contents(batches: Sequence[pa.RecordBatch], published: NDArray[np.bool_], config: Config) -> compare.Contents:
    """What is compared of the candidates; arrays that `config` does not ask for are empty."""
    count = len(published)
    if config.exact:
        hashes = _stacked(batches, "text_hash", np.uint64, 2)
    else:  # no two are equal
        hashes = np.arange(2 * count, dtype=np.uint64).reshape(-1, 2)
    signatures = _stacked(batches, "signature", np.uint32, config.num_perm if config.minhash else 0)
    keys, sets = np.empty((count, 0), np.uint64), []
    if config.minhash:
        keys = band_keys(signatures, config) if config.verify else keys
        sets = [batch.column("ngrams") for batch in batches]
    ngrams = np.concatenate([np.empty(0, np.uint32), *(column.flatten().to_numpy() for column in sets)])
    lengths = [pc.list_value_length(column).to_numpy() for column in sets] or [np.zeros(count, np.int64)]
    ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
    return compare.Contents(published, hashes, keys, signatures, ngrams, ends)


def _check_sizes(blocks: compare.Blocks, block_of: pa.ChunkedArray, config: Config) -> None:
    """Raises ValueError naming a block with more documents than can be numbered."""
    sizes = np.diff(blocks.starts)
    largest = int(sizes.max(initial=0))
    if largest * (config.bands * config.minhash + 1) > compare.MOST:
        block = block_of[int(blocks.order[blocks.starts[sizes.argmax()]])]
        raise ValueError(
            f"block {block} has {largest} documents, more than can be compared with {config.bands} bands: "
            "more --rows, or fewer --bands, connect fewer of them"
        )


def _stacked(batches: Sequence[pa.RecordBatch], name: str, dtype: Any, width: int) -> NDArray[Any]:
    """A fixed-width column of all batches: [rows, width]."""
    parts = [fixed_width(batch.column(name), dtype) for batch in batches] if width else []
    rows = sum(batch.num_rows for batch in batches)
    return np.concatenate(parts) if parts else np.empty((rows, width), dtype)


def _decisions(light: pa.Table, twins: compare.Twins, config: Config) -> pa.Table:
    representative = twins.representative
    keep = representative == np.arange(len(representative))
    exact = twins.similarity == compare.SAME
    near = np.where(twins.similarity < config.limit, "dedup.chain", "dedup.minhash")  # verified, none is below it
    rows = light.column("row").to_numpy()
    ids = light.column("id").combine_chunks()
    sizes = np.bincount(representative, minlength=len(representative))
    columns = [
        pa.array(rows),
        ids,
        pa.array(keep),
        pa.array(rows[representative].astype(np.int64)),
        pa.array(sizes[representative].astype(np.int32)),
        ids.take(pa.array(representative)),
        pa.array(np.where(exact, "dedup.exact", near), pa.string(), mask=keep),
        pa.array(np.where(exact, 1.0, twins.similarity), mask=keep),
        pa.array(np.where(exact, 1.0, config.limit), mask=keep),
    ]
    return pa.Table.from_arrays(columns, schema=DECISIONS).sort_by("row")


def write_decisions(decisions: pa.Table, path: Path, starts: Sequence[int]) -> int:
    """Write DECISIONS to a file with a section for each group of units; returns how many are written.

    `starts` has the first row of each group, and at last the end. Rows before the first group are published documents;
    decisions about them are left out, because nothing reads them.
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
    """LABELS of all documents of a shard, whose first row and `ids` these are, from DECISIONS about rows of any shards.

    Raises ValueError if a decision is about another document than the one in its row.
    """
    rows = decisions.column("row").to_numpy()
    here = np.flatnonzero((rows >= first_row) & (rows < first_row + len(ids)))
    decided = decisions.take(pa.array(here))
    rows = (rows[here] - np.uint64(first_row)).astype(np.int64)
    if decided.column("id").combine_chunks() != ids.take(pa.array(rows)):
        raise ValueError("labels do not belong to these documents; remove the folders of the deduplication")
    place = np.full(len(ids), -1, np.int64)  # by row, the place of its decision
    place[rows] = np.arange(len(rows))
    alone = place < 0
    take = pa.array(place, mask=alone)
    default = {
        "id": ids,
        "keep": pa.scalar(True),
        "cluster_id": pa.array(np.arange(first_row, first_row + len(ids))),
        "cluster_size": pa.scalar(1, pa.int32()),
        "representative": ids,
    }
    columns = {"alone": pa.array(alone)}
    for name in LABELS.names[:-1]:
        column = decided.column(name).combine_chunks().take(take)
        columns[name] = pc.if_else(columns["alone"], default[name], column) if name in default else column
    return pa.record_batch([columns[name] for name in LABELS.names], schema=LABELS)
