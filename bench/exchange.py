"""Clusters by file exchange beside DuckDB: `python -m bench.exchange [--rows N] [--json]`.

N band records (10 million) of synthetic signatures go through the three steps, each in a process of its own on one
thread. `map`: SIGNATURES shards to pairs files. `reduce`: pairs files to edges, ours against DuckDB's distinct
(first row, row) of equal keys, once by a window and once by a group-by and a join, over the same records in one
Parquet file. `labels`: edges and shards to LABELS. Both must find the same edges, or the run fails.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.harness import print_json, print_row, ratios
from corpus.dedup import Config, signatures_schema
from corpus.dedup.cluster import cluster
from corpus.dedup.exchange import Source, fixed_width, partition_edges, read_edges, write_edges, write_pairs
from corpus.shards import ShardWriter

CONFIG = Config()
UNIT = 30_000  # documents in a shard
PARTITION = 64 << 20  # bytes of records, at the most
MEMORY_LIMIT = "2GB"
RECORDS = pa.schema([("key", pa.uint64()), ("rest", pa.uint64()), ("row", pa.uint64())])
FIRST_BY_WINDOW = "SELECT min(row) OVER (PARTITION BY key, rest) AS first, row FROM '{records}'"
FIRST_BY_JOIN = """
    SELECT first, row FROM '{records}'
    JOIN (SELECT key, rest, min(row) AS first FROM '{records}' GROUP BY ALL HAVING count(*) > 1) USING (key, rest)"""


@dataclass
class FileShard:
    """A SIGNATURES file as `cluster` reads it."""

    unit: str
    path: Path

    @property
    def rows(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)

    @property
    def schema(self) -> pa.Schema:
        return pq.read_schema(self.path)

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(1024, columns=columns)


def file_sources(paths: list[Path], rows: list[int]) -> list[Source]:
    """Pairs files of units with so many rows, as a reducer reads them."""

    def source(path: Path, first_row: int) -> Source:
        def read(start: int, length: int) -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        return Source(first_row, read)

    return [source(path, sum(rows[:number])) for number, path in enumerate(paths)]


def write_signatures(path: Path, unit: int, count: int, pool: NDArray[np.uint64]) -> None:
    """A shard of random signatures; a twentieth are texts that other units have too, a fifth share bands."""
    random = np.random.default_rng(unit)
    keys = random.integers(0, 2**64, (count, CONFIG.bands), dtype=np.uint64)
    hashes = random.integers(0, 2**64, (count, 2), dtype=np.uint64)
    signatures = random.integers(0, 2**32, (count, CONFIG.num_perm), dtype=np.uint32)
    twin = random.integers(0, len(pool), count)
    near = np.flatnonzero(random.random(count) < 0.2)
    shared = random.random((len(near), CONFIG.bands)) < 0.4
    keys[near] = np.where(shared, pool[twin[near]], keys[near])
    same = np.flatnonzero(random.random(count) < 0.05)
    keys[same], hashes[same] = pool[twin[same]], pool[twin[same], :2]
    columns = [
        pa.array([f"<urn:uuid:{unit:08x}-0000-4000-8000-{row:012x}>" for row in range(count)]),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(hashes)]),
        pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), CONFIG.bands),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * CONFIG.num_perm), count, [None, pa.py_buffer(signatures)]),
        pa.array(np.full(count, 300, np.int32)),
    ]
    writer = ShardWriter(path, signatures_schema(CONFIG))
    writer.write(pa.record_batch(columns, signatures_schema(CONFIG)))
    writer.close()


def write_records(shards: list[Path], rows: list[int], target: Path) -> None:
    """The same records for the peer: key, rest (of the key: band, or second half of a text's hash) and row."""
    first_row = 0
    with pq.ParquetWriter(target, RECORDS, compression="none", use_dictionary=False) as writer:
        for path, count in zip(shards, rows, strict=True):
            table = pq.read_table(path, columns=["text_hash", "bands"]).combine_chunks()
            hashes = fixed_width(table.column("text_hash").chunk(0), np.uint64)
            keys = table.column("bands").chunk(0).flatten().to_numpy()
            row = np.arange(first_row, first_row + count, dtype=np.uint64)
            rest = np.tile(np.arange(CONFIG.bands, dtype=np.uint64), count)
            columns = [
                np.concatenate([hashes[:, 0], keys]),
                np.concatenate([hashes[:, 1], rest]),
                np.concatenate([row, np.repeat(row, CONFIG.bands)]),
            ]
            writer.write_table(pa.table(columns, schema=RECORDS))
            first_row += count


def map_all(shards: list[Path]) -> int:
    return sum(write_pairs(path, path.with_suffix(".pairs"), CONFIG) for path in shards)


def reduce_all(shards: list[Path], rows: list[int], parts: int) -> int:
    """Edges of all partitions, as they come."""
    sources = file_sources([path.with_suffix(".pairs") for path in shards], rows)
    count = 0
    for part in range(parts):
        edges = partition_edges(sources, part, parts)
        write_edges(edges, shards[0].with_name(f"{part}.edges"))
        count += len(edges)
    return count


def edge_files(folder: Path) -> Iterator[NDArray[np.uint64]]:
    for path in sorted(folder.glob("*.edges")):
        with path.open("rb") as stream:
            yield from read_edges(stream)


def label_all(shards: list[Path]) -> int:
    """Documents kept."""
    folder = shards[0].parent
    labels = cluster([FileShard(path.stem, path) for path in shards], edge_files(folder), CONFIG, folder)
    return sum(int(pc.sum(table.column("keep")).as_py() or 0) for table in labels)


def duckdb_edges(records: Path, query: str) -> int:
    """Distinct edges from the first of equal records to each other one."""
    config: dict[str, Any] = {"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": str(records.parent / "tmp")}
    stars = query.format(records=records)
    with duckdb.connect(config=config) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SELECT count(*) FROM (SELECT DISTINCT first, row FROM ({stars}) WHERE first < row)")
        return int(connection.fetchall()[0][0])


def warm_up(folder: Path) -> None:
    """Load every compiled function."""
    tiny = [folder / "tiny.parquet"]
    map_all(tiny), reduce_all(tiny, [10], 1), label_all(tiny)


class Measured(NamedTuple):
    """What a call returned and took."""

    result: int
    seconds: float
    processor: float  # seconds
    before: float  # MB of memory at the most before the call, and
    peak: float  # after it


def _in_child(call: Callable[..., int], folder: Path | None, *args: Any) -> Measured:
    if folder:
        warm_up(folder)
    before = _peak_megabytes()
    start, busy = time.perf_counter(), time.process_time()
    result = call(*args)
    return Measured(result, time.perf_counter() - start, time.process_time() - busy, before, _peak_megabytes())


def _peak_megabytes() -> float:
    # Not getrusage: its peak is inherited from the parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(label: str, call: Callable[..., int], folder: Path | None, *args: Any) -> Measured:
    """A call in a fresh process, warmed up with the tiny shard in `folder`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(_in_child, call, folder, *args).result()
    print(
        f"{label:<14} {found.seconds:6.2f} s, {found.processor:6.2f} of the processor; "
        f"{found.before:5.0f} MB before, {found.peak:5.0f} MB peak; {found.result:,}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="band records")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    documents = options.rows // CONFIG.bands
    rows = [min(UNIT, documents - start) for start in range(0, documents, UNIT)]
    with tempfile.TemporaryDirectory() as name:
        folder, tiny = Path(name), Path(name, "warm")
        tiny.mkdir()
        pool = np.random.default_rng(0).integers(0, 2**64, (max(1, documents // 50), CONFIG.bands), dtype=np.uint64)
        write_signatures(tiny / "tiny.parquet", 0, 10, pool)
        shards = [folder / f"{unit:05}.parquet" for unit in range(len(rows))]
        for unit, (path, count) in enumerate(zip(shards, rows, strict=True)):
            write_signatures(path, unit, count, pool)
        write_records(shards, rows, folder / "records.parquet")

        mapped = measured("map", map_all, tiny, shards)
        size = sum(path.with_suffix(".pairs").stat().st_size for path in shards)
        parts = 1 << max(0, (size - 1) // PARTITION).bit_length()
        reduced = measured("reduce", reduce_all, tiny, shards, rows, parts)
        labelled = measured("labels", label_all, tiny, shards)
        found = len(np.unique(np.concatenate([*edge_files(folder)]), axis=0))
        theirs = {}
        for peer, query in (("duckdb-window", FIRST_BY_WINDOW), ("duckdb-join", FIRST_BY_JOIN)):
            theirs[peer] = measured(peer, duckdb_edges, None, folder / "records.parquet", query)
            if theirs[peer].result != found:
                sys.exit(f"{peer} finds {theirs[peer].result} edges, ours are {found}")

    records, edges = mapped.result, reduced.result
    print(
        f"{documents:,} documents, {labelled.result:,} kept; {records:,} records, {parts} partitions, {edges:,} edges"
    )
    print(f"bytes a document: pairs {size / documents:.0f}, edges {16 * edges / documents:.1f}")
    for step, took in (("map", mapped), ("reduce", reduced), ("labels", labelled)):
        print(f"{step:<7} {took.processor / documents * 1e6:5.2f} processor seconds per million documents")
    rates = {peer: records / took.seconds / 1e6 for peer, took in theirs.items()}
    ours = records / reduced.seconds / 1e6
    print_row("reduce", "M records/s", ours, rates, higher_is_better=True)
    if options.json:
        print_json("exchange", ratios(ours, rates, True), {"reduce": ours}, rates)


if __name__ == "__main__":
    main()
