"""Runs a pass: gives the engine those units of this task's share that are not committed yet, and sums up the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from corpus.engine.base import Engine, Event, Failure
from corpus.run.plan import ALONE, Pass, Share, removed
from corpus.store import card
from corpus.store.shards import Dataset


@dataclass
class PassSummary:
    """What one call did for a pass. `units` counts the units of this task's share."""

    name: str
    output: str
    units: int
    skipped: int = 0  # committed before this call
    done: int = 0  # committed by this call
    failures: list[Failure] = field(default_factory=list)
    sums: Mapping[str, str] = field(default_factory=dict)  # as in the Pass
    complete: bool = False  # all units of the pass are committed, by this task or by others


def run_pass(plan: Pass, engine: Engine, on_event: Callable[[Event], None], share: Share = ALONE) -> PassSummary:
    """Run the units of this task's share that are not committed yet.

    Raises Conflict if a unit was made from another input or configuration, Interrupted after Ctrl-C.
    """
    dataset = Dataset(plan.output)
    digest = dataset.begin(plan.config)
    if plan.holds:
        dataset.storage.create(card.NAME, card.dataset_card(plan.holds, dropped=plan.holds == "documents").encode())
    units = {unit.key: unit for unit in plan.units(share.of(plan.keys))}
    if share.count == 1 and len(units) < len(plan.keys):
        raise removed(plan.name, next(key for key in plan.keys if key not in units))
    summary = PassSummary(plan.name, plan.output, len(units), sums=plan.sums)
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
            dataset.storage.sweep()  # scratch folders of workers that were killed
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
    """The event, with its traceback written to a file beside the shards and the file named in its detail."""
    if event.trace:
        dataset.storage.make_folder("_tracebacks")
        key = f"_tracebacks/{event.unit}-{event.row if event.row >= 0 else 'unit'}.txt"
        dataset.storage.create(key, event.trace.encode())
        event.detail += f"; where it was: {dataset.path}/{key}"
    return event
