"""Documents that have something in common with others -> CANDIDATES: all that it takes to decide between them.

Edges make blocks, connected components of documents that might be alike. Most documents are alone in theirs and need
no second look; of the others this brings together, block by block, what decides which of them stays (`ORDER`) and what
tells how similar they are. The text itself is read here once more, and left behind: from now on it is represented by
the set of its n-grams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.dedup.config import Config
from corpus.dedup.sections import SectionWriter
from corpus.dedup.signatures import shingle_sets

# The documents that are not alone: the row over all units, and the block, named by its first row.
BLOCKS = pa.schema([("row", pa.uint64()), ("block", pa.uint64())])

# What an index keeps of a document beside its signature, and what a candidate brings from wherever it comes.
PRIORITY = pa.schema(
    [
        ("id", pa.string()),
        ("score", pa.float64()),  # of `Config.score_column`; null where there is none
        ("length", pa.int64()),  # bytes of text
        ("dump", pa.string()),
        ("file_path", pa.string()),
        ("warc_offset", pa.int64()),
    ]
)

# Of two documents in a block the first in this order stays. What is published stays in any case; then the order names
# what the documents carry with them, so that it does not depend on how they are cut into shards.
ORDER = [
    ("block", "ascending"),
    ("published", "descending"),
    ("score", "descending"),  # after the lowest comes what is no number (NaN), and last what is null
    ("length", "descending"),
    ("dump", "ascending"),
    ("file_path", "ascending"),
    ("warc_offset", "ascending"),
    ("id", "ascending"),
    ("row", "ascending"),
]
FIRST_ORDER = [("block", "ascending"), ("published", "descending"), ("row", "ascending")]

_OTHER_BLOCKS = "blocks do not belong to these documents; remove the folders of the deduplication"
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def candidates_schema(config: Config) -> pa.Schema:
    """CANDIDATES for `config`: `row` over all units, `block`, `published` (it comes from the index), PRIORITY,
    `text_hash`, and with MinHash `signature`, with verification `ngrams`, the sorted set of the text's n-grams.
    """
    fields = [pa.field("row", pa.uint64()), pa.field("block", pa.uint64()), pa.field("published", pa.bool_())]
    fields += [*PRIORITY, pa.field("text_hash", pa.binary(16))]
    if config.minhash:
        fields.append(pa.field("signature", pa.binary(4 * config.num_perm)))
        if config.verify:
            fields.append(pa.field("ngrams", pa.large_list(pa.uint32())))
    return pa.schema(fields)


def write_blocks(root: NDArray[Any], sizes: NDArray[Any], starts: Sequence[int], path: Path) -> int:
    """Write BLOCKS to a file with a section for each group of units; returns how many documents are not alone.

    `root` and `sizes` are over all units: the first row of each row's component, and by that row its documents.
    `starts` has the first row of each group, and at last the end.
    """
    writer = SectionWriter(path, len(starts) - 1)
    found = 0
    for section, (start, end) in enumerate(itertools.pairwise(starts)):
        here = root[start:end]
        mine = np.flatnonzero(sizes[here] > 1)
        columns = [pa.array(mine.astype(np.uint64) + np.uint64(start)), pa.array(here[mine].astype(np.uint64))]
        writer.write(section, pa.record_batch(columns, schema=BLOCKS))
        found += len(mine)
    writer.close()
    return found


def document_columns(config: Config) -> list[str]:
    """The columns of DOCUMENTS that decide."""
    columns = ["id", "dump", "file_path", "warc_offset"]
    columns += [config.score_column] if config.score_column else []
    return [*columns, "text"]


def check_columns(schema: pa.Schema, config: Config) -> None:
    """Raises ValueError if the documents have no column of numbers that `keep` names."""
    name = config.score_column
    if name is None:
        return
    kind = schema.field(name).type if name in schema.names else None
    if kind is None or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        numbers = [
            field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        ]
        raise ValueError(
            f"keep = {config.keep!r}: the documents' column {name} is {kind or 'not there'}; "
            f"columns of numbers: {', '.join(numbers)}"
        )


def priority(documents: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """PRIORITY of documents."""
    columns = {name: documents.column(name) for name in documents.schema.names}
    columns["length"] = pc.binary_length(documents.column("text").fill_null("")).cast(pa.int64())
    columns["score"] = pa.nulls(documents.num_rows, pa.float64())
    if config.score_column:
        # Integers beyond 2^53 are rounded: of two that become one the next in the order decides.
        columns["score"] = documents.column(config.score_column).cast(pa.float64(), safe=False)
    return pa.record_batch([columns[name] for name in PRIORITY.names], schema=PRIORITY)


def ngrams(documents: pa.RecordBatch, config: Config) -> pa.LargeListArray:
    """The set of each text's n-grams, sorted."""
    values, offsets = shingle_sets(documents.column("text"), config)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))


def candidates(
    documents: Iterable[pa.RecordBatch],
    signatures: Iterable[pa.RecordBatch],
    blocks: pa.Table,
    first_row: int,
    config: Config,
    *,
    published: bool = False,
) -> Iterator[pa.RecordBatch]:
    """CANDIDATES of one unit, for its rows in BLOCKS. `documents` and `signatures` are all rows of it, in order.

    Published ones come as they are in an index, with PRIORITY and `ngrams` instead of the text. Raises ValueError if
    there are rows in BLOCKS that the unit has not.
    """
    schema = candidates_schema(config)
    rows = (blocks.column("row").to_numpy() - np.uint64(first_row)).astype(np.int64)
    if (np.diff(rows, prepend=-1) <= 0).any():
        raise ValueError(_OTHER_BLOCKS)
    done = 0
    for batch, signed in zip(_picked(documents, rows), _picked(signatures, rows), strict=True):
        known = batch if published else priority(batch, config)
        columns: dict[str, Any] = {
            **{name: blocks.column(name).slice(done, batch.num_rows).combine_chunks() for name in BLOCKS.names},
            "published": pa.array(np.full(batch.num_rows, published)),
            "text_hash": signed.column("text_hash"),
        }
        columns |= {name: known.column(name) for name in PRIORITY.names}
        if "signature" in schema.names:
            columns["signature"] = signed.column("signature")
        if "ngrams" in schema.names:
            columns["ngrams"] = batch.column("ngrams") if published else ngrams(batch, config)
        done += batch.num_rows
        yield pa.record_batch([columns[name] for name in schema.names], schema=schema)
    if done < len(rows):
        raise ValueError(_OTHER_BLOCKS)


def write_candidates(batches: Iterable[pa.RecordBatch], path: Path, parts: int) -> int:
    """Write CANDIDATES to a file with a section for each of `parts` partitions; returns how many.

    A block is in one partition as a whole.
    """
    writer = SectionWriter(path, parts)
    written = 0
    for batch in batches:
        part = (batch.column("block").to_numpy() * _SPREAD >> np.uint64(32)) % np.uint64(parts)
        for section in np.unique(part).tolist():
            writer.write(section, batch.filter(pa.array(part == section)))
        written += batch.num_rows
    writer.close()
    return written


_GATHER = 1024  # rows


def _picked(batches: Iterable[pa.RecordBatch], rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """These rows (ascending) of all rows, in batches of the same sizes whatever the sizes of the batches."""
    pending: list[pa.RecordBatch] = []
    held = start = 0
    for batch in batches:
        first, last = np.searchsorted(rows, np.array([start, start + batch.num_rows]))
        if last > first:
            pending.append(batch.take(pa.array(rows[first:last] - start)))
            held += last - first
        start += batch.num_rows
        while held >= _GATHER:
            joined = pa.concat_batches(pending)
            yield joined.slice(0, _GATHER)
            pending, held = [joined.slice(_GATHER)], held - _GATHER
    if held:
        yield pa.concat_batches(pending)
