"""`python -m bench.exchange [--documents N] [--repeats N] [--json]`: clusters of synthetic keys, beside DuckDB.

N documents (2 million) with 14 band keys each, on one thread, each side in a process of its own. A fifth of the
documents share some bands with others, a twentieth all of them; all other keys occur once. Both sides begin with files
of the same keys, in their own format, and end with the root of each document, by the same union-find:

    ours     pairs files -> `partition_edges`, one partition at a time -> files of edges -> `components`
    duckdb   Parquet with a column for each band -> group-by and join, one band at a time -> `components`

DuckDB takes one band at a time so that it stays within 2 GB; the edges of a band go straight to the union-find. The
time to write the files is reported as `write` and is no part of the ratio. The roots must be equal, or the run fails.
Each side runs three times in one process and its fastest run counts, because other work on the machine only ever adds
time. With `--documents 20000000 --repeats 1` the files take 6 GB of disk.
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
from corpus.dedup.exchange import partition_edges, read_edges, write_edges, write_keys
from corpus.dedup.slots import PairFile

BANDS = 14
UNIT = 250_000  # documents in a pairs file
PARTITION = 128 << 20  # bytes of records, at the most
MEMORY_LIMIT = "2GB"
# For 20 million documents, a window function and unnested lists of rows were not faster (processor seconds).
STARS = """
    SELECT first, row FROM '{wide}'
    JOIN (SELECT band{band} AS key, min(row) AS first FROM '{wide}' GROUP BY key HAVING count(*) > 1)
    ON band{band} = key WHERE row > first"""


def file_sources(paths: list[Path], rows: list[int]) -> list[PairFile]:
    """The pairs files of units, of which each has `rows[i]` documents, as a reducer reads them."""

    def source(path: Path, first_row: int) -> PairFile:
        def read(start: int, length: int) -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        return PairFile(first_row, read, path.name)

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


def write_inputs(folder: Path, documents: int) -> dict[str, float]:
    """Write the keys as pairs files and as one Parquet file; the seconds of each, without the making of the keys."""
    pool = np.random.default_rng(2**32).integers(0, 2**64, (max(1, documents // 20), BANDS), dtype=np.uint64)
    schema = pa.schema([*((f"band{band}", pa.uint64()) for band in range(BANDS)), ("row", pa.uint32())])
    first_row, pairs, parquet = 0, 0.0, 0.0
    with pq.ParquetWriter(folder / "wide.parquet", schema, compression="none", use_dictionary=False) as writer:
        for unit, (path, count) in enumerate(zip(pairs_files(folder, documents), units(documents), strict=True)):
            keys = synthetic_keys(unit, count, pool)
            start = time.perf_counter()
            write_keys([(keys.reshape(-1), np.repeat(np.arange(count, dtype=np.uint32), BANDS))], path)
            written = time.perf_counter()
            pairs += written - start
            rows = np.arange(first_row, first_row + count, dtype=np.uint32)
            writer.write_table(pa.table([*np.ascontiguousarray(keys.T), rows], schema=schema))
            parquet += time.perf_counter() - written
            first_row += count
    return {"pairs": pairs, "parquet": parquet}


def cluster_ours(folder: Path, documents: int, target: Path) -> dict[str, float]:
    """Seconds of each step; writes the roots to `target`."""
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
    """As `cluster_ours`, with the edges of one band in memory."""
    config: dict[str, Any] = {"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": str(folder / "tmp")}
    start = time.perf_counter()

    def edges() -> Iterator[NDArray[np.uint64]]:
        with duckdb.connect(config=config) as connection:
            connection.execute("SET enable_progress_bar = false")
            for band in range(BANDS):
                rows = connection.execute(STARS.format(wide=folder / "wide.parquet", band=band)).fetchnumpy()
                yield np.stack([*rows.values()], axis=1).astype(np.uint64)

    root = components(documents, edges())
    seconds = time.perf_counter() - start
    np.save(target, root)
    return {"edges and union-find": seconds}


class Measured(NamedTuple):
    """Time and memory of one side."""

    seconds: dict[str, float]  # of each step in the fastest run
    processor: float  # processor seconds of that run
    before: float  # peak memory before the runs, MB
    peak: float  # peak memory after the runs, MB

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    @property
    def steps(self) -> str:
        return ", ".join(f"{step} {seconds:.2f} s" for step, seconds in self.seconds.items())

    @property
    def memory(self) -> str:
        return f"{self.before:.0f} MB before, {self.peak:.0f} MB peak"


def _in_child(call: Callable[..., dict[str, float]], warm: Path, repeats: int, *args: Any) -> Measured:
    write_inputs(warm, 10), cluster_ours(warm, 10, warm / "root.npy")  # load every compiled function
    before = _peak_megabytes()
    runs = []
    for _ in range(repeats):
        busy = time.process_time()
        seconds = call(*args)
        runs.append((seconds, time.process_time() - busy))
    seconds, processor = min(runs, key=lambda run: sum(run[0].values()))
    return Measured(seconds, processor, before, _peak_megabytes())


def _peak_megabytes() -> float:
    # getrusage would return a peak that is inherited from the parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(call: Callable[..., dict[str, float]], warm: Path, repeats: int, *args: Any) -> Measured:
    """`repeats` runs in a fresh process, which warms up in the folder `warm`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_in_child, call, warm, repeats, *args).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    documents = options.documents
    with tempfile.TemporaryDirectory() as name:
        folder, warm = Path(name), Path(name, "warm")
        warm.mkdir()
        written = measured(write_inputs, warm, 1, folder, documents)
        print(f"write   {written.steps}; {written.memory}", flush=True)
        pairs = sum(path.stat().st_size for path in pairs_files(folder, documents))
        totals, processor, roots = {}, {}, {}
        for side, call in (("ours", cluster_ours), ("duckdb", cluster_duckdb)):
            cost = measured(call, warm, options.repeats, folder, documents, folder / f"{side}.npy")
            shown = f"{cost.total:.2f} s ({cost.steps}), processor {cost.processor:.2f} s; {cost.memory}"
            print(f"{side:<7} {shown}", flush=True)
            totals[side], processor[side] = cost.total, cost.processor
            roots[side] = np.load(folder / f"{side}.npy")
        edges = sum(path.stat().st_size for path in folder.glob("*.edges"))
    if not np.array_equal(roots["ours"], roots["duckdb"]):
        sys.exit("the components differ")
    components_found = np.count_nonzero(roots["ours"] == np.arange(documents))
    print(f"{documents:,} documents, {edges // 16:,} edges, {components_found:,} components, the same on both sides")
    print(f"bytes a document: pairs {pairs / documents:.1f}, edges {edges / documents:.1f}")
    rates = {side: documents * BANDS / seconds / 1e6 for side, seconds in totals.items()}
    ours = rates.pop("ours")
    print_row("cluster", "M keys/s", ours, rates, higher_is_better=True)
    print(f"processor seconds of duckdb to ours: {processor['duckdb'] / processor['ours']:.2f}x")
    if options.json:
        print_json("exchange", ratios(ours, rates, True), {"cluster": ours}, rates)


if __name__ == "__main__":
    main()
