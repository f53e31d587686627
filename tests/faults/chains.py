"""A short real chain on a small crawl, run by an engine: what it writes undisturbed, and how to compare with that."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from corpus.engine.base import Unit
from corpus.run.chain import Step
from corpus.run.commit import find_output
from corpus.run.recipe import make_step
from corpus.run.work import ChainWork
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset
from corpus.warc.source import WarcPages
from tests.faults.works import Config, FaultyWork

SECONDS = 2.0  # a page may take; more than any page of this crawl needs, even on a busy machine
MEMORY = 700  # MiB


class Peace(NamedTuple):
    """What the chain writes when no page does any harm."""

    units: list[Unit]
    dataset: Dataset

    def table(self, unit: str, kind: str) -> pa.Table:
        return self.dataset.table(find_output(self.dataset, unit, kind))

    def kept(self, unit: Unit, row: int) -> str:
        """The id of a document that this unit keeps."""
        return str(self.table(unit.key, "documents").column("id")[row])


def chain(config: Config, alone: bool) -> tuple[Step, ...]:
    """The faulty stage among others: on pages, one by one, or behind the extraction, on texts in batches."""
    faulty = Step("faulty", "tests.faults.page_works" if alone else "tests.faults.works", config)
    pages, text = [make_step("urls"), make_step("extract")], [make_step("gopher_quality")]
    return (*pages[:1], faulty, *pages[1:], *text) if alone else (*pages, faulty, *text)


def work(output: Path, config: Config, alone: bool = True) -> ChainWork:
    digest = Dataset(output).begin({"chain": "faults"})
    return ChainWork("faults", chain(config, alone), str(output), digest, WarcPages(), seconds=SECONDS)


def faulty_work(output: Path, victim: str, moment: str, flags: Path, how: str = "kill", times: int = 1) -> FaultyWork:
    """The chain without the faulty stage, and with a fault outside of any row."""
    plan = work(output, Config())
    return FaultyWork(
        plan.name,
        plan.steps,
        plan.output,
        plan.config_hash,
        plan.reader,
        seconds=plan.seconds,
        victim=victim,
        moment=moment,
        how=how,
        flags=str(flags),
        times=times,
    )


def record(dataset: Dataset, unit: Unit) -> CommitRecord:
    found = dataset.record(unit.key)
    assert found
    return found


def files(dataset: Dataset, unit: Unit) -> list[tuple[str, int, str]]:
    """Kind, rows and sha256 of what a unit has committed."""
    return [(output.kind, output.rows, output.sha256) for output in record(dataset, unit).outputs]
