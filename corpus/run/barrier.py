"""What the passes of all barriers share: the job that they are given, and how their work is cut into units.

A barrier's passes are a generator. It yields a pass, and goes on when that pass has run: `finished` yields one and
waits for its units, so that the next pass can be planned by what the units have committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from corpus.engine.base import Unit
from corpus.run.chain import Step, sums_of
from corpus.run.plan import ALONE, Pass, Share, document_units, wait_for
from corpus.run.recipe import Recipe, describe
from corpus.run.work import ChainWork, Documents
from corpus.store.records import Input
from corpus.store.shards import Dataset

READS = 8  # ranges of files that a unit reads at a time, for storage that is far away

_PARTITION = 64 << 20  # bytes of a partition, unless that makes more than _PARTITIONS of them
_PARTITIONS = 1024
_HELD = 4  # times its partition that a unit holds in memory


@dataclass(frozen=True)
class BarrierJob:
    """What a barrier is given to work on.

    documents  the dataset whose documents it judges
    keys       the units of `documents`
    recipe     the recipe that the barrier is a stage of
    work       the folder for the datasets that its passes write
    share      the part of every pass's units that this task does
    memory     MiB that a unit may hold of its partition; None: 256, or more where that makes over 1,024 partitions
    options    what the command line asks of the barrier beside its settings (deduplication: `IndexOptions`)
    """

    documents: str
    keys: Sequence[str]
    recipe: Recipe
    work: str
    share: Share = ALONE
    memory: int | None = None
    options: Any = None


def finished(job: BarrierJob, plan: Pass) -> Iterator[Pass]:
    """Yields the pass, and returns when all its units are committed: `yield from finished(...)`.

    Raises Waiting if another task has not done its units in time.
    """
    yield plan
    wait_for(plan.output, plan.keys, job.share)


def shard_pass(job: BarrierJob, step: Step, output: str, kind: str, config: dict[str, Any]) -> Pass:
    """The pass that takes every shard of the job's documents through one step, and writes files of one kind."""
    return Pass(
        step.stage,
        output,
        job.keys,
        document_units(job.documents),
        config,
        lambda digest: ChainWork(step.stage, (step,), output, digest, Documents.of(job.documents), kind=kind),
    )


def documents_behind(
    job: BarrierJob,
    first: Step,
    steps: Sequence[Step],
    output: str,
    units: Callable[[Sequence[str]], list[Unit]],
    config: dict[str, Any],
    labels: str | None = None,
) -> Pass:
    """The last pass of a barrier: it judges the documents, and takes them through the per-row stages behind it.

    first   the barrier's own step, which reads what its passes have found out
    steps   the stage of the barrier, and the stages behind it
    units   the units of this pass, by their keys
    config  what the config hash covers beside the settings of `steps`
    labels  the dataset whose rows `first` reads beside the documents
    """
    name = PurePosixPath(output).name if steps[1:] else steps[0].stage
    return Pass(
        name,
        output,
        job.keys,
        units,
        config | describe(steps, keep_dropped_text=job.recipe.keep_dropped_text),
        lambda digest: ChainWork(
            name,
            (first, *steps[1:]),
            output,
            digest,
            Documents.of(job.documents, labels),
            keep_dropped_text=job.recipe.keep_dropped_text,
        ),
        sums_of(steps),
        "documents",
    )


def partitions(size: int, memory: int | None) -> list[str]:
    """Keys of the units that share `size` bytes, a partition each; `partition_of` reads them.

    There is a power of two of them, which depends on `size` and on the setting `memory` (MiB) alone.
    """
    held = max(1, (memory << 20) // _HELD) if memory else _PARTITION
    parts = min(1 << max(0, (size - 1) // held).bit_length(), _PARTITIONS)
    return [f"{part:04d}-of-{parts:04d}" for part in range(parts)]


def partition_of(unit: Unit) -> tuple[int, int]:
    """(which partition a unit of `partitions` has, from 0; how many there are)."""
    part, parts = map(int, unit.key.split("-of-"))
    return part, parts


def labelled(documents: str, labels: str) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents and the shard of its labels."""

    def units(keys: Sequence[str]) -> list[Unit]:
        label_files = {output.unit: output for output in Dataset(labels).files("labels")}
        planned = []
        for unit in document_units(documents)(keys):
            label = label_files.get(unit.key)
            if label is None:
                raise ValueError(
                    f"{documents}: unit {unit.key} was added while these documents were worked on; remove {labels}"
                )
            planned.append(Unit(unit.key, (*unit.inputs, Input(f"{labels}/{label.path}", label.bytes, label.sha256))))
        return planned

    return units
