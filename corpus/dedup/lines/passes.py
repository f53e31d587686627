"""The passes of line deduplication: three that find out which lines many documents have, one that removes them.

hashes        a unit a shard     of its documents' lines
repeated      a unit a range     of hashes: which lines are in many documents
table         one unit           of all of them
(documents)   a unit a shard     without these lines, through the stages that follow
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from corpus.dedup.lines.apply import Config as Removal
from corpus.dedup.lines.work import LineHashesWork, RepeatedWork, TableWork, table_of
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob, documents_behind, ranges
from corpus.run.chain import Step
from corpus.run.plan import Pass, document_units, global_pass, wait_for, with_no_others
from corpus.run.recipe import describe
from corpus.store.records import Input
from corpus.store.shards import Dataset

DATASETS = ("hashes", "repeated", "table")


def lines_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `lines` and those behind it; each planned when the one before it is done.

    Raises Conflict if a folder holds other units.
    """
    yield from with_no_others(_passes(job, steps, output))


def _passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    config = steps[0].config
    described = describe(steps[:1])
    hashes, repeated, table = (f"{job.work}/{name}" for name in DATASETS)
    yield Pass(
        "hashes",
        hashes,
        job.keys,
        document_units(job.documents),
        described,
        lambda digest: LineHashesWork("hashes", config, hashes, digest, job.documents),
    )
    wait_for(hashes, job.keys, job.share)
    whole = Dataset(hashes).whole("hashes")
    parts = ranges(whole.size, job.memory)
    yield global_pass(
        "repeated",
        repeated,
        parts,
        whole,
        described,
        lambda digest: RepeatedWork("repeated", config, repeated, digest, hashes, whole.size // len(parts)),
    )
    wait_for(repeated, parts, job.share)
    yield global_pass(
        "table",
        table,
        ["all"],
        Dataset(repeated).whole("repeated"),
        described,
        lambda digest: TableWork("table", table, digest, repeated),
    )
    wait_for(table, ["all"], job.share)
    path = f"{table}/{table_of(Dataset(table)).path}"
    remove = Step("lines", "corpus.dedup.lines.apply", Removal(path, config))
    units = _numbered_units(job.documents, hashes, Dataset(table).whole("table"))
    yield documents_behind(job, remove, steps, output, units, {})


def _numbered_units(documents: str, hashes: str, table: Input) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents, know the number of its first row, and read the table."""

    def units(keys: Sequence[str]) -> list[Unit]:
        rows, first = 0, {}
        for record in Dataset(hashes).scan():
            first[record.unit] = rows
            rows += record.counts[-1]["kept"]
        return [
            Unit(unit.key, (*unit.inputs, table), first_row=first[unit.key]) for unit in document_units(documents)(keys)
        ]

    return units
