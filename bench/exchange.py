"""Clusters of synthetic keys beside DuckDB: `python -m bench.exchange [--documents N] [--json]`.

N documents (2 million) of 14 band keys each, one thread, each side in a process of its own. A fifth of the documents
share some bands with others, a twentieth all of them; the other keys occur once. Both sides begin with their own files
of the same keys and end with the root of each document, by the same union-find:

    ours     pairs files -> `partition_edges`, a partition at a time -> files of edges -> `components`
    duckdb   Parquet with a column a band -> group-by and join, a band at a time -> `components`

A band at a time is the fastest way for DuckDB that we know of. It may use 2 GB, and what it finds in a band goes
straight to the union-find. Our time to write the pairs files is reported as `map`. The roots must be the same,
or the run fails. With 20 million documents it takes 6 GB of disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.harness import print_json, print_row, ratios
from corpus.dedup.components import components
from corpus.dedup.exchange import Source, partition_edges, read_edges, write_edges, write_keys

BANDS = 14
UNIT = 250_000  # documents in a pairs file
PARTITION = 128 << 20  # bytes of records, at the most
MEMORY_LIMIT = "2GB"
# Faster than a window, than lists of rows unnested, and than all bands at once.
STARS = """
    SELECT first, row FROM '{wide}'
    JOIN (SELECT band{band} AS key, min(row) AS first FROM '{wide}' GROUP BY key HAVING count(*) > 1)
    ON band{band} = key WHERE row > first"""


def file_sources(paths: list[Path], rows: list[int]) -> list[Source]:
    """Pairs files of units with so many rows, as a reducer reads them."""

    def source(path: Path, first_row: int) -> Source:
        def read(start: int, length: int) -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        return Source(first_row, read, path.name)

    return [source(path, sum(rows[:number])) for number, path in enumerate(paths)]


def synthetic_keys(unit: int, count: int, pool: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Keys of a unit's documents, uint64[count, BANDS]."""
    random = np.random.default_rng(unit)
    keys = random.integers(0, 2**64, (count, BANDS), dtype=np.uint64)
    twin = random.integers(0, len(pool), count)
    near = np.flatnonzero(random.random(count) < 0.2)
    keys[near] = np.where(random.random((len(near), BANDS)) < 0.4, pool[twin[near]], keys[near])
    same = np.flatnonzero(random.random(count) < 0.05)
    keys[same] = pool[twin[same]]
    return keys


def units(documents: int) -> list[int]:
    """Documents in each unit."""
    return [min(UNIT, documents - start) for start in range(0, documents, UNIT)]


def pairs_files(folder: Path, documents: int) -> list[Path]:
    return [folder / f"{unit:05}.pairs" for unit in range(len(units(documents)))]


def write_inputs(folder: Path, documents: int) -> float:
    """The keys as pairs files and as one Parquet file; returns the seconds that pairs files took."""
    pool = np.random.default_rng(2**32).integers(0, 2**64, (max(1, documents // 20), BANDS), dtype=np.uint64)
    schema = pa.schema([*((f"band{band}", pa.uint64()) for band in range(BANDS)), ("row", pa.uint32())])
    first_row, seconds = 0, 0.0
    with pq.ParquetWriter(folder / "wide.parquet", schema, compression="none", use_dictionary=False) as writer:
        for unit, (path, count) in enumerate(zip(pairs_files(folder, documents), units(documents), strict=True)):
            keys = synthetic_keys(unit, count, pool)
            start = time.perf_counter()
            write_keys([(keys.reshape(-1), np.repeat(np.arange(count, dtype=np.uint32), BANDS))], path)
            seconds += time.perf_counter() - start
            rows = np.arange(first_row, first_row + count, dtype=np.uint32)
            writer.write_table(pa.table([*np.ascontiguousarray(keys.T), rows], schema=schema))
            first_row += count
    return seconds


def cluster_ours(folder: Path, documents: int, target: Path) -> dict[str, float]:
    """Seconds of each step."""
    start = time.perf_counter()
    paths = pairs_files(folder, documents)
    size = sum(path.stat().st_size for path in paths)
    parts = 1 << max(0, (size - 1) // PARTITION).bit_length()
    sources = file_sources(paths, units(documents))
    for part in range(parts):
        write_edges(partition_edges(sources, part, parts), folder / f"{part:05}.edges")
    reduced = time.perf_counter()
    root = components(documents, edge_files(folder))
    joined = time.perf_counter()
    np.save(target, root)
    return {"edges": reduced - start, "union-find": joined - reduced}


def edge_files(folder: Path) -> Iterator[NDArray[np.uint64]]:
    for path in sorted(folder.glob("*.edges")):
        with path.open("rb") as stream:
            yield from read_edges(stream)


def cluster_duckdb(folder: Path, documents: int, target: Path) -> dict[str, float]:
    """Seconds of each step."""
    config: dict[str, Any] = {"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": str(folder / "tmp")}
    seconds = {"edges": 0.0, "union-find": 0.0}
    start = time.perf_counter()

    def edges() -> Iterator[NDArray[np.uint64]]:
        with duckdb.connect(config=config) as connection:
            connection.execute("SET enable_progress_bar = false")
            for band in range(BANDS):
                found = connection.execute(STARS.format(wide=folder / "wide.parquet", band=band)).fetchnumpy()
                yield np.stack([*found.values()], axis=1).astype(np.uint64)

    root = components(documents, edges())
    seconds["edges"] = time.perf_counter() - start
    np.save(target, root)
    return seconds


class Measured(NamedTuple):
    """What a call returned and took."""

    result: Any
    before: float  # MB of memory at the most before the call, and
    peak: float  # after it


def _in_child(call: Callable[..., Any], warm: Path | None, *args: Any) -> Measured:
    if warm:  # load every compiled function
        write_inputs(warm, 10), cluster_ours(warm, 10, warm / "root.npy")
    before = _peak_megabytes()
    return Measured(call(*args), before, _peak_megabytes())


def _peak_megabytes() -> float:
    # Not getrusage: its peak is inherited from the parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(call: Callable[..., Any], warm: Path | None, *args: Any) -> Measured:
    """A call in a fresh process, warmed up in the folder `warm`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_in_child, call, warm, *args).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    documents = options.documents
    with tempfile.TemporaryDirectory() as name:
        folder, warm = Path(name), Path(name, "warm")
        warm.mkdir()
        mapped = measured(write_inputs, warm, folder, documents)
        size = sum(path.stat().st_size for path in pairs_files(folder, documents))
        print(f"map            {mapped.result:6.2f} s; {size / documents:.1f} bytes a document", flush=True)
        totals = {}
        for label, call in (("ours", cluster_ours), ("duckdb", cluster_duckdb)):
            found = measured(call, warm if label == "ours" else None, folder, documents, folder / f"{label}.npy")
            totals[label] = sum(found.result.values())
            steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in found.result.items() if seconds)
            print(
                f"{label:<14} {totals[label]:6.2f} s ({steps}); {found.before:.0f} MB before, {found.peak:.0f} MB peak",
                flush=True,
            )
        edges = sum(path.stat().st_size for path in folder.glob("*.edges")) // 16
        ours, theirs = np.load(folder / "ours.npy"), np.load(folder / "duckdb.npy")
        if not np.array_equal(ours, theirs):
            sys.exit("the components differ")
        found_components = np.count_nonzero(ours == np.arange(documents))
    print(f"{documents:,} documents, {edges:,} edges, {found_components:,} components, the same on both sides")
    rates = {side: documents * BANDS / seconds / 1e6 for side, seconds in totals.items()}
    ours_rate = rates.pop("ours")
    print_row("cluster", "M keys/s", ours_rate, rates, higher_is_better=True)
    if options.json:
        print_json("exchange", ratios(ours_rate, rates, True), {"cluster": ours_rate}, rates)


if __name__ == "__main__":
    main()
