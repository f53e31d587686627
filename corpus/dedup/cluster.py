"""SIGNATURES of a whole corpus -> LABELS: which documents stay, and which document stands for each of the
others.

Two documents are joined if their texts are equal (exact) or if all hashes of one band are (MinHash); a
cluster is a connected component of that relation, as in FineWeb, and its first document in input order is
kept. Joining makes the lower row the root, so the labels depend on the order of the documents and on
nothing else: not on how they are cut into shards, not on the order of the joins.

Components chain: a document may be dropped in favour of one that it resembles only through a third, and its
`value` may lie below `threshold`. Bands are handled one at a time, so that beside the input there are about
100 bytes a document.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.dedup import kernels
from corpus.dedup.config import LABELS, Config, signatures_schema

__all__ = ["LABELS", "cluster"]

# Dropped documents whose signatures are compared with their representative's at a time; bounds the memory.
_COMPARED = 1 << 16


def cluster(shards: Sequence[tuple[str, pa.Table]], config: Config) -> list[pa.Table]:
    """A LABELS table for each (unit, SIGNATURES table), row by row, in the order given.

    `cluster_id` counts rows over all shards. Raises ValueError naming the unit if a table was not signed with
    `config`, or on a machine with other Unicode tables.
    """
    for unit, table in shards:
        _check(unit, table, config)
    tables = [table for _, table in shards]
    starts = np.cumsum([0] + [table.num_rows for table in tables])
    hashes = np.concatenate([_binary(table, "text_hash").view(np.uint64) for table in tables] or [_NO_HASHES])
    root = _components(tables, hashes, config)
    size = np.bincount(root, minlength=len(root)).astype(np.int32)[root]
    dropped = np.flatnonzero(root != np.arange(len(root)))
    exact = np.zeros(len(root), np.bool_)
    if config.exact:
        exact[dropped] = (hashes[dropped] == hashes[root[dropped]]).all(axis=1)
    value = np.full(len(root), np.nan)
    value[exact] = 1.0
    near = dropped[~exact[dropped]]
    value[near] = _similarity(
        [_binary(table, "signature").view(np.uint32) for table in tables], starts, near, root[near]
    )
    # One large_string array: `take` searches the chunks of a chunked one again for every shard.
    chunks = [chunk.cast(pa.large_string()) for table in tables for chunk in table.column("id").chunks]
    ids = pa.concat_arrays([_NO_IDS, *chunks])
    return [
        _labels(table, start, root, size, exact, value, ids, config)
        for table, start in zip(tables, starts[:-1], strict=True)
    ]


_NO_IDS = pa.array([], pa.large_string())
_NO_HASHES: NDArray[np.uint64] = np.zeros((0, 2), np.uint64)


def _check(unit: str, table: pa.Table, config: Config) -> None:
    expected = signatures_schema(config)
    for field in expected:
        if field.name not in table.schema.names or table.schema.field(field.name).type != field.type:
            raise ValueError(f"{unit}: no column {field.name} of type {field.type}: sign it with this configuration")
    signed, wanted = (table.schema.metadata or {}).get(b"dedup"), expected.metadata[b"dedup"]
    if signed is not None and signed != wanted:
        raise ValueError(f"{unit}: signed as {signed.decode()!r}, expected {wanted.decode()!r}: sign it again")


def _components(tables: list[pa.Table], hashes: NDArray[np.uint64], config: Config) -> NDArray[np.int64]:
    """Each row's root, int64[n]: the first row of its component."""
    parent = np.arange(len(hashes))
    if config.exact:
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        kernels.union_equal(parent, order, hashes[order])
    if config.minhash and tables:
        # Texts without words all have the signature of the empty set; that does not make them alike.
        worded = np.flatnonzero(np.concatenate([_numbers(table, "shingles") for table in tables]))
        for band in range(config.bands):
            keys = np.concatenate([_band(table, band, config) for table in tables])[worded]
            order = np.argsort(keys)
            kernels.union_equal(parent, worded[order], keys[order].reshape(-1, 1))
    kernels.flatten(parent)
    return parent


def _similarity(
    signatures: list[NDArray[np.uint32]],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Share of equal signature entries between rows[i] and others[i], the MinHash estimate of Jaccard
    similarity.
    """
    share = np.empty(len(rows))
    for first in range(0, len(rows), _COMPARED):
        part = slice(first, first + _COMPARED)
        one, other = _gather(signatures, starts, rows[part]), _gather(signatures, starts, others[part])
        share[part] = (one == other).mean(axis=1)
    return share


def _gather(
    signatures: list[NDArray[np.uint32]], starts: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """The signatures of the given rows of all shards, uint32[len(rows), num_perm]."""
    shard = np.searchsorted(starts, rows, side="right") - 1
    out = np.empty((len(rows), signatures[0].shape[1]), np.uint32)
    for number in np.unique(shard):
        here = shard == number
        out[here] = signatures[number][rows[here] - starts[number]]
    return out


def _labels(
    table: pa.Table,
    start: int,
    root: NDArray[np.int64],
    size: NDArray[np.int32],
    exact: NDArray[np.bool_],
    value: NDArray[np.float64],
    ids: pa.Array,
    config: Config,
) -> pa.Table:
    part = slice(start, start + table.num_rows)
    keep = root[part] == np.arange(part.start, part.stop)
    rule = np.where(exact[part], "dedup.exact", "dedup.minhash")
    threshold = np.where(exact[part], 1.0, config.threshold)
    columns = [
        table.column("id"),
        pa.array(keep),
        pa.array(root[part]),
        pa.array(size[part]),
        ids.take(pa.array(root[part])).cast(pa.string()),
        pa.array(rule, pa.string(), mask=keep),
        pa.array(value[part], mask=keep),
        pa.array(threshold, mask=keep),
    ]
    return pa.table(columns, schema=LABELS)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int32]:
    values: NDArray[np.int32] = table.column(name).to_numpy()
    return values


def _band(table: pa.Table, band: int, config: Config) -> NDArray[np.uint64]:
    """Keys of one band, uint64[num_rows]; `flatten` heeds the chunks' offsets."""
    chunks = [chunk.flatten().to_numpy()[band :: config.bands] for chunk in table.column("bands").chunks]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.uint64)


def _binary(table: pa.Table, name: str) -> NDArray[np.uint8]:
    """A fixed_size_binary column, uint8[num_rows, width]; a view of Arrow's memory where it is one chunk."""
    width = table.schema.field(name).type.byte_width
    rows = [_view(chunk, width) for chunk in table.column(name).chunks if len(chunk)]
    return rows[0] if len(rows) == 1 else np.concatenate([np.zeros((0, width), np.uint8), *rows])


def _view(chunk: pa.Array, width: int) -> NDArray[np.uint8]:
    data = np.frombuffer(chunk.buffers()[1], np.uint8)
    return data[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(-1, width)
