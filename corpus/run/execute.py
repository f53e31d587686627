"""A pass, run: the units of this task's share that are not committed yet, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from corpus.engine import Engine, Event, Failure
from corpus.run.plan import ALONE, Pass, Share, removed
from corpus.store.shards import Dataset


@dataclass
class PassSummary:
    """What one call did for a pass."""

    name: str
    output: str
    units: int  # of this call's share
    skipped: int = 0  # done before
    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    complete: bool = False  # nothing is left for anybody


def run_pass(plan: Pass, engine: Engine, on_event: Callable[[Event], None], share: Share = ALONE) -> PassSummary:
    """Run what is not done yet of this task's share.

    Raises Conflict if a unit was made from another input or configuration, Interrupted after Ctrl-C.
    """
    dataset = Dataset(plan.output)
    digest = dataset.begin(plan.config)
    units = {unit.key: unit for unit in plan.units(share.of(plan.keys))}
    if share.count == 1 and len(units) < len(plan.keys):
        raise removed(plan.name, next(key for key in plan.keys if key not in units))
    summary = PassSummary(plan.name, plan.output, len(units))
    for record in dataset.scan():
        if unit := units.pop(record.unit, None):
            dataset.check(record, digest, unit.inputs)
            summary.skipped += 1
    if units:
        on_event(Event("start", units=len(units)))
        todo = list(units.values())
        try:
            summary.failures = engine.run(plan.work(digest), todo, lambda event: on_event(_kept_trace(dataset, event)))
        finally:
            dataset.storage.sweep()  # what killed workers left
        summary.done = len(todo) - len(summary.failures)
    missing = dataset.missing(plan.keys)
    failed = {failure.unit for failure in summary.failures}
    if lost := [key for key in missing if key in units and key not in failed]:
        raise removed(plan.output, lost[0])
    summary.complete = not missing
    if summary.complete:
        dataset.compact()
    return summary


def _kept_trace(dataset: Dataset, event: Event) -> Event:
    """Keep the traceback that comes with an event beside the shards, and say where."""
    if event.trace:
        dataset.storage.make_folder("_tracebacks")
        key = f"_tracebacks/{event.unit}-{event.row if event.row >= 0 else 'unit'}.txt"
        dataset.storage.create(key, event.trace.encode())
        event.detail += f"; where it was: {dataset.path}/{key}"
    return event
