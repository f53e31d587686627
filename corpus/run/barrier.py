"""What the passes of all barriers share: the job that they are given, and the units that they are cut into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from corpus.engine.base import Unit
from corpus.run.chain import Step
from corpus.run.plan import ALONE, Pass, Share, document_units
from corpus.run.recipe import Recipe, describe
from corpus.run.work import ChainWork, Documents
from corpus.store.records import Input
from corpus.store.shards import Dataset

_PARTITION = 64 << 20  # bytes that a unit brings together, where that makes no more than _PARTITIONS units
_PARTITIONS = 1024
_HELD = 4  # times a partition that a unit holds in memory


@dataclass(frozen=True)
class BarrierJob:
    """What a barrier is given to work on.

    documents  the dataset that it judges
    keys       the units of `documents`
    recipe     of which it is a part
    work       the folder for the datasets of its own passes
    memory     MiB of a unit that brings a partition together; None: 256, more where that makes too many units
    options    what the command line asks of this barrier beside its settings (deduplication: `IndexOptions`)
    """

    documents: str
    keys: Sequence[str]
    recipe: Recipe
    work: str
    share: Share = ALONE
    memory: int | None = None
    options: Any = None


def shard_pass(job: BarrierJob, step: Step, output: str, kind: str, config: dict[str, Any]) -> Pass:
    """The pass that takes every shard of the job's documents through one step, and writes files of this kind."""
    return Pass(
        step.stage,
        output,
        job.keys,
        document_units(job.documents),
        config,
        lambda digest: ChainWork(step.stage, (step,), output, digest, Documents(job.documents), kind=kind),
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
    """The pass that acts on what a barrier found out, and takes the documents through the stages behind it.

    first   the step that acts: the barrier's own stage, with what its passes found out
    steps   the stage of the barrier, and the stages behind it
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
            Documents(job.documents, labels),
            keep_dropped_text=job.recipe.keep_dropped_text,
        ),
    )


def ranges(size: int, memory: int | None) -> list[str]:
    """The keys of units that share `size` bytes: a power of two of units, decided by the input and `memory` alone."""
    held = max(1, (memory << 20) // _HELD) if memory else _PARTITION
    parts = min(1 << max(0, (size - 1) // held).bit_length(), _PARTITIONS)
    return [f"{part:04d}-of-{parts:04d}" for part in range(parts)]


def labelled(documents: str, labels: str) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents and its labels."""

    def units(keys: Sequence[str]) -> list[Unit]:
        there = {output.unit: output for output in Dataset(labels).files("labels")}
        found = []
        for unit in document_units(documents)(keys):
            label = there.get(unit.key)
            if label is None:
                raise ValueError(
                    f"{documents}: unit {unit.key} was added while these documents were worked on; remove {labels}"
                )
            found.append(Unit(unit.key, (*unit.inputs, Input(label.path, label.bytes, label.sha256))))
        return found

    return units
