"""The passes of line deduplication: three find out which lines many documents have, one removes these lines.

A partition is an equal part of the range of all hashes.

pass          its units     what a unit writes
hashes        a shard       a 64-bit hash of each line, partitioned, with the number of documents that have the line
repeated      a partition   the hashes of lines that at least `documents` documents of all shards have
table         one           the hashes of all partitions as one sorted table
(documents)   a shard       the documents without these lines, after the per-row stages that follow in the recipe
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from corpus.dedup.lines.config import Removal
from corpus.dedup.lines.work import LineHashesWork, RepeatedWork, TableWork
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob, documents_behind, finished, partitions
from corpus.run.chain import Step
from corpus.run.commit import find_output
from corpus.run.plan import Pass, document_units, global_pass, with_no_others
from corpus.run.recipe import describe
from corpus.store.records import Input
from corpus.store.shards import Dataset

DATASETS = ("hashes", "repeated", "table")


def lines_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, each planned when the one before it is done. `steps` are the stage `lines` and the stages behind it.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    described = describe(steps[:1])
    hashes, repeated, table = (f"{job.work}/{name}" for name in DATASETS)
    hash_lines = Pass(
        "hashes",
        hashes,
        job.keys,
        document_units(job.documents),
        described,
        lambda digest: LineHashesWork("hashes", config, hashes, digest, job.documents),
    )
    yield from finished(job, hash_lines)
    hash_files = Dataset(hashes).whole("hashes")
    parts = partitions(hash_files.size, job.memory)
    find_repeated = global_pass(
        "repeated",
        repeated,
        parts,
        hash_files,
        described,
        lambda digest: RepeatedWork("repeated", config, repeated, digest, hashes, hash_files.size // len(parts)),
    )
    yield from finished(job, find_repeated)
    make_table = global_pass(
        "table",
        table,
        ["all"],
        Dataset(repeated).whole("repeated"),
        described,
        lambda digest: TableWork("table", table, digest, repeated),
    )
    yield from finished(job, make_table)
    path = f"{table}/{find_output(Dataset(table), 'all', 'table').path}"
    remove = Step("lines", "corpus.dedup.lines.apply", Removal(path, config))
    units = _numbered_units(job.documents, hashes, Dataset(table).whole("table"))
    yield documents_behind(job, remove, steps, output, units, {})


def _numbered_units(documents: str, hashes: str, table: Input) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents and the table, and know the number of the shard's first row."""

    def units(keys: Sequence[str]) -> list[Unit]:
        rows, first_rows = 0, {}
        for record in Dataset(hashes).scan():
            first_rows[record.unit] = rows
            rows += record.counts[-1]["kept"]
        return [
            Unit(unit.key, (*unit.inputs, table), first_row=first_rows[unit.key])
            for unit in document_units(documents)(keys)
        ]

    return units
