"""Documents of blocks -> CANDIDATES: everything that is needed to decide which documents of a block stay.

A block is a connected component of documents that share keys, so they may be similar. Most documents share no key with
another and need no second look. Of the others, CANDIDATES have the columns that decide which one stays (`ORDER`), and
the signatures and sets of n-grams that decide how similar two are. Texts are read here for the last time; from here on
the set of its n-grams represents a text.
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

# The documents that share a block with others: the row over all units, and the block, named by its first row.
BLOCKS = pa.schema([("row", pa.uint64()), ("block", pa.uint64())])

# The columns that decide which of two documents stays: in CANDIDATES, and in an index beside the signature.
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

# Of two documents in a block the first in this order stays. Published documents stay in any case. All but the last of
# the other columns belong to the document itself, so that the order does not depend on how they are cut into shards.
ORDER = [
    ("block", "ascending"),
    ("published", "descending"),
    ("score", "descending"),  # NaN comes after the lowest number, and null after NaN
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
    """CANDIDATES for `config`.

    `row` over all units, `block`, `published` (whether the document comes from the index), PRIORITY, `text_hash`; with
    MinHash `signature` and `ngrams`, the sorted set of hashes of the text's n-grams.
    """
    fields = [pa.field("row", pa.uint64()), pa.field("block", pa.uint64()), pa.field("published", pa.bool_())]
    fields += [*PRIORITY, pa.field("text_hash", pa.binary(16))]
    if config.minhash:
        fields.append(pa.field("signature", pa.binary(4 * config.num_perm)))
        fields.append(pa.field("ngrams", pa.large_list(pa.uint32())))
    return pa.schema(fields)


def write_blocks(root: NDArray[Any], sizes: NDArray[Any], starts: Sequence[int], path: Path) -> int:
    """Write BLOCKS to a file with a section for each group of units; returns how many documents are in them.

    root    uint32 or uint64[rows]: for each row over all units, the first row of its component
    sizes   int32[rows]: for the first row of each component, the number of its documents
    starts  the first row of each group, and at last the end
    """
    writer = SectionWriter(path, len(starts) - 1)
    count = 0
    for section, (start, end) in enumerate(itertools.pairwise(starts)):
        blocks = blocks_of(root, sizes, start, end)
        writer.write(section, blocks)
        count += blocks.num_rows
    writer.close()
    return count


def blocks_of(root: NDArray[Any], sizes: NDArray[Any], start: int, end: int) -> pa.RecordBatch:
    """BLOCKS of the rows from `start` to `end`; `root` and `sizes` are described at `write_blocks`."""
    roots = root[start:end]
    connected = np.flatnonzero(sizes[roots] > 1)
    rows = connected.astype(np.uint64) + np.uint64(start)
    return pa.record_batch([pa.array(rows), pa.array(roots[connected].astype(np.uint64))], schema=BLOCKS)


def document_columns(config: Config) -> list[str]:
    """The columns of DOCUMENTS that candidates are made of."""
    columns = ["id", "dump", "file_path", "warc_offset"]
    columns += [config.score_column] if config.score_column else []
    return [*columns, "text"]


def check_columns(schema: pa.Schema, config: Config) -> None:
    """Raises ValueError if `keep` names a column that the documents do not have, or that does not hold numbers."""
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
        # Integers beyond 2^53 are rounded. If two become equal, the next column of ORDER decides.
        columns["score"] = documents.column(config.score_column).cast(pa.float64(), safe=False)
    return pa.record_batch([columns[name] for name in PRIORITY.names], schema=PRIORITY)


def ngrams(documents: pa.RecordBatch, config: Config) -> pa.LargeListArray:
    """The sorted set of hashes of each text's n-grams."""
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
    """CANDIDATES of one shard: its rows in `blocks`, a part of BLOCKS.

    `documents` and `signatures` have all rows of the shard, in order; `first_row` is the first one's number over all
    shards. The documents of a published shard are rows of an index, with PRIORITY and `ngrams` instead of the text.
    Raises ValueError if `blocks` has rows that are not in the shard.
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
    """Write CANDIDATES to a file with a section for each of `parts` partitions; returns how many there are.

    All documents of a block are in one partition.
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


_GATHER = 1024  # rows of a batch


def _picked(batches: Iterable[pa.RecordBatch], rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The rows with these numbers (ascending), in batches whose sizes do not depend on the sizes of `batches`."""
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
