"""SIGNATURES of a whole corpus and the edges between its documents -> LABELS: which documents stay, and which
document stands for each of the others.

A cluster is a connected component of the edges, as in FineWeb, and its first document in input order is kept. Joining
makes the lower row the root, so the labels depend on the order of the documents and on nothing else: not on how they
are cut into shards, not on the order of the edges. Components chain: a document may be dropped in favour of one that
it resembles only through a third, and its `value` may lie below `threshold`.

What grows with the corpus is in memory the root of each document and the size of each cluster, 4 bytes each, and the
row of each document that stands for others, 4 bytes more. Signatures stream by twice: once to put those of the
documents that stand for others into a local file, where they are found by number, and once to compare each dropped
document with its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.dedup.config import LABELS, Config, check_signatures
from corpus.dedup.exchange import fixed_width
from corpus.dedup.kernels import exchange as kernels

__all__ = ["LABELS", "Shard", "cluster"]

_COLUMNS = ["id", "text_hash", "signature"]
_NARROW = 2**32  # fewer rows than this are counted in 32 bits


class Shard(Protocol):
    """SIGNATURES of one unit, as often as they are asked for; `schema` with its metadata."""

    @property
    def unit(self) -> str: ...

    @property
    def rows(self) -> int: ...

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """All rows in order."""


class _Representatives(NamedTuple):
    """The documents that stand for others, by number, memory-mapped but for their rows."""

    rows: NDArray[Any]  # ascending, as wide as the roots
    hashes: NDArray[np.uint64]  # [n, 2]
    signatures: NDArray[np.uint32]  # [n, num_perm]
    ids: pa.Array  # large_string


def cluster(
    shards: Sequence[Shard], edges: Iterable[NDArray[np.uint64]], config: Config, folder: Path
) -> Iterator[pa.Table]:
    """A LABELS table for each shard, row by row, in the order given; one at a time.

    `edges` are pairs of rows (uint64[n, 2]), which count over all shards, as does `cluster_id`. Below `folder`, four
    files hold about 500 bytes for each document that stands for others. Raises ValueError naming the unit if a shard
    was not signed with `config` or on a machine with other Unicode tables, and if an edge leads nowhere.
    """
    for shard in shards:
        check_signatures(shard.unit, shard.schema, config)
    starts = [0, *np.cumsum([shard.rows for shard in shards], dtype=np.int64).tolist()]
    root = _components(starts[-1], edges)
    sizes = np.zeros(len(root), np.int32)
    kernels.component_sizes(root, sizes)
    rows = np.flatnonzero(sizes > 1).astype(root.dtype)
    representatives = _store(shards, starts, rows, config, folder)
    for shard, start in zip(shards, starts[:-1], strict=True):
        batches = []
        for batch in shard.batches(_COLUMNS):
            batches.append(_labels(batch, start, root, sizes, representatives, config))
            start += batch.num_rows
        yield pa.Table.from_batches(batches, LABELS)


def _components(rows: int, edges: Iterable[NDArray[np.uint64]]) -> NDArray[Any]:
    """Each row's root: the first row of its component; uint32 as long as that is wide enough."""
    root = np.arange(rows, dtype=np.uint32 if rows < _NARROW else np.uint64)
    for part in edges:
        if len(part) and part.max() >= rows:
            raise ValueError(
                f"an edge to row {part.max()} of {rows} documents: it belongs to other signatures; "
                "remove the folders of the deduplication"
            )
        kernels.union_edges(root, part)
    kernels.flatten(root)
    return root


def _store(
    shards: Sequence[Shard], starts: list[int], rows: NDArray[Any], config: Config, folder: Path
) -> _Representatives:
    """Copy the documents at the given rows into files below `folder`."""
    paths = [folder / name for name in ("hashes", "signatures", "ids", "ends")]
    with contextlib.ExitStack() as stack:
        hashes, signatures, ids, ends = (stack.enter_context(path.open("wb")) for path in paths)
        ends.write(bytes(8))
        stored = 0  # bytes of ids
        for shard, start, stop in zip(shards, starts[:-1], starts[1:], strict=True):
            if not len(_within(rows, start, stop)):
                continue
            for batch in shard.batches(_COLUMNS):
                taken = batch.take(pa.array(_within(rows, start, start + batch.num_rows) - start))
                start += batch.num_rows
                hashes.write(fixed_width(taken.column("text_hash"), np.uint64).data)
                signatures.write(fixed_width(taken.column("signature"), np.uint32).data)
                names = taken.column("id").cast(pa.large_binary())
                ends.write((stored + np.cumsum(pc.binary_length(names).to_numpy(), dtype=np.int64)).data)
                stored += ids.write(b"".join(names.to_pylist()))
    data, offsets = pa.py_buffer(_mapped(paths[2], np.uint8)), pa.py_buffer(_mapped(paths[3], np.int64))
    return _Representatives(
        rows,
        _mapped(paths[0], np.uint64).reshape(-1, 2),
        _mapped(paths[1], np.uint32).reshape(-1, config.num_perm),
        pa.Array.from_buffers(pa.large_string(), len(rows), [None, offsets, data]),
    )


def _within(rows: NDArray[Any], start: int, stop: int) -> NDArray[np.int64]:
    first, last = np.searchsorted(rows, np.array([start, stop], np.uint64).astype(rows.dtype))
    return rows[first:last].astype(np.int64)


def _mapped(path: Path, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """A file's numbers; an empty file cannot be mapped."""
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)


def _labels(
    batch: pa.RecordBatch,
    start: int,
    root: NDArray[Any],
    sizes: NDArray[np.int32],
    representatives: _Representatives,
    config: Config,
) -> pa.RecordBatch:
    """LABELS of a batch of SIGNATURES whose first row is `start`."""
    here = root[start : start + batch.num_rows]
    keep = here == np.arange(start, start + batch.num_rows, dtype=root.dtype)
    dropped = np.flatnonzero(~keep)
    other = np.searchsorted(representatives.rows, here[dropped])
    exact = np.zeros(len(here), np.bool_)
    if config.exact:
        hashes = fixed_width(batch.column("text_hash"), np.uint64)
        exact[dropped] = (hashes[dropped] == representatives.hashes[other]).all(axis=1)
    # Share of equal entries: the MinHash estimate of Jaccard similarity.
    value = np.where(exact, 1.0, np.nan)
    near = ~exact[dropped]
    signatures = fixed_width(batch.column("signature"), np.uint32)[dropped[near]]
    value[dropped[near]] = (signatures == representatives.signatures[other[near]]).mean(axis=1)
    ids = batch.column("id")
    columns = [
        ids,
        pa.array(keep),
        pa.array(here.astype(np.int64)),
        pa.array(sizes[here]),
        pc.replace_with_mask(ids, pa.array(~keep), representatives.ids.take(pa.array(other)).cast(pa.string())),
        pa.array(np.where(exact, "dedup.exact", "dedup.minhash"), pa.string(), mask=keep),
        pa.array(value, mask=keep),
        pa.array(np.where(exact, 1.0, config.threshold), mask=keep),
    ]
    return pa.record_batch(columns, schema=LABELS)
