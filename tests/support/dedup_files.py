"""SIGNATURES tables and candidates for the passes of deduplication, and SIGNATURES as files of the exchange."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.dedup import Config
from corpus.dedup.exchange import write_keys
from corpus.dedup.keys import keys
from corpus.dedup.signatures import schema
from corpus.dedup.slots import SLOTS, PairFile

# A document in short: its text's hash as a number, its num_perm minima, its shingles, its dump.
Row = tuple[int, Sequence[int], int, str | None]
SMALL = Config(bands=3, rows=2)


def signatures(rows: Sequence[Row], config: Config) -> pa.Table:
    """A SIGNATURES table."""
    fields = schema(config)
    columns = {
        "id": [f"doc{number}" for number in range(len(rows))],
        "dump": [row[3] for row in rows],
        "text_hash": [row[0].to_bytes(16, "little") for row in rows],
        "signature": [np.array(row[1], "<u4").tobytes() for row in rows],
        "shingles": [row[2] for row in rows],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in fields], schema=fields)


def cut(table: pa.Table, cuts: list[int]) -> list[pa.Table]:
    """Cut the table into shards at these rows (modulo the number of rows)."""
    ends = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts), table.num_rows]
    return [table.slice(start, end - start) for start, end in itertools.pairwise(ends)]


def pairs_source(path: Path, first_row: int = 0) -> PairFile:
    """A local pairs file as a reducer sees it."""

    def read(start: int, length: int) -> bytes:
        return path.read_bytes()[start : start + length]

    return PairFile(first_row, read, path.name)


def write_all_pairs(tables: Sequence[pa.Table], config: Config, folder: Path) -> list[PairFile]:
    """A pairs file for each table, below `folder`."""
    sources, first_row = [], 0
    for number, table in enumerate(tables):
        pairs = folder / f"{number}.pairs"
        write_keys([keys(batch, config) for batch in table.combine_chunks().to_batches()], pairs)
        sources.append(pairs_source(pairs, first_row))
        first_row += table.num_rows
    return sources


def without_checksums(data: bytes, size: int) -> bytes:
    """A file of records by slots as earlier versions wrote it: byte offsets and no checksums."""
    header = 8 * (SLOTS + 1)
    firsts = np.frombuffer(data[:header], "<u8") & np.uint64(2**32 - 1)
    return (header + size * firsts).astype("<u8").tobytes() + data[header:]


def candidate(row: int, **more: Any) -> dict[str, Any]:
    """A candidate of block 0; `minima` are its signature, `ngrams` its set."""
    minima = more.pop("minima", [7] * SMALL.num_perm)
    known = {
        "row": row,
        "block": 0,
        "published": False,
        "id": f"d{row}",
        "length": 100,
        "text_hash": row.to_bytes(16, "little"),
        "signature": np.array(minima, "<u4").tobytes(),
        "ngrams": [1, 2, 3, 4],
    }
    return known | more
