"""SIGNATURES tables through the files of the exchange, as the passes take them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.dedup import Config
from corpus.dedup.cluster import cluster
from corpus.dedup.exchange import Source, partition_edges, read_edges, write_edges, write_pairs


@dataclass
class MemoryShard:
    """A table as a shard; `log` gets the unit's name whenever its rows are asked for."""

    unit: str
    table: pa.Table
    log: list[str] = field(default_factory=list)
    batch_rows: int = 1000

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        self.log.append(self.unit)
        yield from self.table.select(columns).to_batches(max_chunksize=self.batch_rows)


def cut(table: pa.Table, cuts: list[int]) -> list[pa.Table]:
    """The table cut into shards at these rows (modulo their number)."""
    ends = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts), table.num_rows]
    return [table.slice(start, end - start) for start, end in itertools.pairwise(ends)]


def pairs_source(path: Path, first_row: int = 0) -> Source:
    """A local pairs file as a reducer sees it."""

    def read(start: int, length: int) -> bytes:
        return path.read_bytes()[start : start + length]

    return Source(first_row, read, path.name)


def write_all_pairs(tables: Sequence[pa.Table], config: Config, folder: Path) -> list[Source]:
    """A pairs file for each table, below `folder`."""
    sources, first_row = [], 0
    for number, table in enumerate(tables):
        signatures, pairs = folder / f"{number}.parquet", folder / f"{number}.pairs"
        pq.write_table(table, signatures)
        write_pairs(signatures, pairs, config)
        sources.append(pairs_source(pairs, first_row))
        first_row += table.num_rows
    return sources


def label(tables: Sequence[pa.Table], config: Config, parts: int = 2, batch_rows: int = 1000) -> list[pa.Table]:
    """LABELS of SIGNATURES tables, through pairs files, edge files and `cluster`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_all_pairs(tables, config, folder)
        for part in range(parts):
            write_edges(partition_edges(sources, part, parts), folder / f"{part}.edges")

        def edges() -> Iterator[NDArray[np.uint64]]:
            for part in range(parts):
                with (folder / f"{part}.edges").open("rb") as stream:
                    yield from read_edges(stream)

        shards = [MemoryShard(f"unit{i}", table, batch_rows=batch_rows) for i, table in enumerate(tables)]
        return list(cluster(shards, edges(), config, folder))
