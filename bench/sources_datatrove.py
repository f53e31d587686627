"""Other people's files through stages, ours and datatrove's: the part of `bench.sources` that runs whole commands.

`datatrove_filters`: Parquet -> the four quality rules -> Parquet. `datatrove_dedup`: JSON lines in .zst -> MinHash ->
Parquet. Ours is what a user types, with one worker; the peer is datatrove's reader, stages and writer, one task. Both
are given in documents a second of processor time on one core. Start-up does not count: the processor time of the same
work on a few documents is subtracted on our side, and datatrove has done them before in the same process. Ours is
measured on more documents than the peer, which takes some 30 ms for each. Texts repeat in neither.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from bench.dedup import FINEWEB, datatrove_config, stage_1
from bench.documents import english
from bench.harness import data_folder
from bench.planted import make_documents

FEW = 50  # documents that both sides go through before it counts
Writer = Callable[[Sequence[str], Path], Path]
RULES = ("gopher_repetition", "gopher_quality", "c4", "fineweb")


class Rates(NamedTuple):
    """Documents in a second of processor time."""

    ours: float
    peer: float


def filters(folder: Path) -> Rates:
    """Parquet -> four quality rules -> Parquet."""
    flags = [word for rule in RULES for word in ("--only", rule)] + ["--no-terminal-punctuation"]
    texts = list(english(data_folder()))
    ours = _rate("filter", flags, texts, _write_parquet, folder / "filter")
    return Rates(ours, _peer_rate(_datatrove_filters, texts[:600], _write_parquet, folder / "filter_peer"))


def dedup(folder: Path) -> Rates:
    """JSON lines in .zst -> near-duplicates -> Parquet."""
    texts = make_documents(20_000).texts
    ours = _rate("dedup", [], texts, _write_lines, folder / "dedup")
    return Rates(ours, _peer_rate(_datatrove_dedup, texts[:3000], _write_lines, folder / "dedup_peer"))


def _rate(command: str, flags: list[str], texts: Sequence[str], write: Writer, folder: Path) -> float:
    """Documents a second of `corpus COMMAND`, without its start-up."""
    few, whole = write(texts[:FEW], folder / "few"), write(texts, folder / "whole")
    _seconds(command, flags, few)  # compiles the kernels
    start_up, seconds = _seconds(command, flags, few), _seconds(command, flags, whole)
    return (len(texts) - FEW) / (seconds - start_up)


def _seconds(command: str, flags: list[str], source: Path) -> float:
    """Processor seconds of the command and its worker."""
    output = source.parent / "out"
    shutil.rmtree(output, ignore_errors=True)
    line = [sys.executable, "-m", "corpus", command, str(source), "-o", str(output), "--workers", "1", *flags]
    before = _of_children()
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return _of_children() - before


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peer_rate(run: Callable[[str, str], None], texts: Sequence[str], write: Writer, folder: Path) -> float:
    """Documents a second of datatrove, in a process that has gone through a few documents before."""
    few, whole = write(texts[:FEW], folder / "few"), write(texts, folder / "whole")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return len(texts) / pool.apply(_timed, (run, str(few.parent), str(whole.parent)))


def _timed(run: Callable[[str, str], None], few: str, whole: str) -> float:
    with contextlib.redirect_stderr(io.StringIO()):  # a log of each task
        run(few, f"{few}-out")
        began = time.process_time()
        run(whole, f"{whole}-out")
    return time.process_time() - began


def _write_parquet(texts: Sequence[str], folder: Path) -> Path:
    folder.mkdir(parents=True)
    ids = [f"<urn:uuid:{row:032x}>" for row in range(len(texts))]
    pq.write_table(pa.table({"text": list(texts), "id": ids}), folder / "a.parquet", row_group_size=1000)
    return folder / "a.parquet"


def _write_lines(texts: Sequence[str], folder: Path) -> Path:
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"id": str(row), "text": text}) + "\n" for row, text in enumerate(texts))
    (folder / "a.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder / "a.jsonl.zst"


def _datatrove_filters(source: str, output: str) -> None:
    from datatrove.pipeline import filters
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    rules = [
        filters.GopherRepetitionFilter(),
        filters.GopherQualityFilter(),
        filters.C4QualityFilter(filter_no_terminal_punct=False),
        filters.FineWebQualityFilter(),
    ]
    _execute([ParquetReader(source), *rules, ParquetWriter(output)], 1, output)


def _datatrove_dedup(source: str, output: str) -> None:
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import ParquetWriter

    config = datatrove_config()
    signatures, buckets, removed = (f"{output}/{name}" for name in ("signatures", "buckets", "removed"))
    _execute([JsonlReader(source, compression="zstd"), stage_1(Path(signatures))], 1, f"{output}/1")
    _execute([MinhashDedupBuckets(signatures, buckets, config=config)], FINEWEB.bands, f"{output}/2")
    _execute([MinhashDedupCluster(buckets, removed, config=config)], 1, f"{output}/3")
    last = [JsonlReader(source, compression="zstd"), MinhashDedupFilter(removed), ParquetWriter(f"{output}/documents")]
    _execute(last, 1, f"{output}/4")


def _execute(pipeline: list[Any], tasks: int, folder: str) -> None:
    from datatrove.executor import LocalPipelineExecutor

    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs").run()
