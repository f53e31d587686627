"""What happened to each unit of a run, and what follows from it: another attempt, a quarantined row, or failure.

In: what an engine sees of its units: committed, failed, lost with rows at work, lost with a node. Out: the queue of
units that wait for an attempt, the list of those that failed for good, and an event for everything that a user may want
to know. All engines share these rules, so a unit ends alike on one machine and on a cluster.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corpus.engine.base import Event, Failure, Limits, Quarantine, Unit


@dataclass
class History:
    """What happened to one unit within this run."""

    unit: Unit
    attempts: int = 0  # begun
    failures: int = 0  # attempts that failed, and no row was to blame
    losses: int = 0  # processes lost with rows at work
    careful: bool = False  # the next attempt guards every row alone
    strikes: Counter[tuple[str, int]] = field(default_factory=Counter)  # processes lost, by stage and row
    quarantine: dict[int, Quarantine] = field(default_factory=dict)  # by row
    lost_with: list[str] = field(default_factory=list)  # nodes that fell silent or died with the unit
    failed_on: list[str] = field(default_factory=list)  # nodes where all attempts met an error that may pass


class Ledger:
    """The units of one run: `waiting` for an attempt, `done`, or among the `failures`."""

    def __init__(self, units: Sequence[Unit], limits: Limits, on_event: Callable[[Event], None]) -> None:
        self.waiting = deque(History(unit) for unit in units)
        self.failures: list[Failure] = []
        self.done = 0
        self.on_event = on_event
        self._limits = limits

    def committed(self, history: History) -> None:
        """The unit is done."""
        self.done += 1
        self.on_event(Event("done", history.unit.key, done=self.done))

    def failed(self, history: History, reason: str, trace: str = "") -> None:
        """An attempt failed for a reason that may pass. The unit gets another one after the units that wait."""
        history.failures += 1
        if history.failures < self._limits.attempts:
            self.on_event(Event("retry", history.unit.key, reason, trace=trace))
            self.waiting.append(history)
        else:
            self.give_up(history, reason, trace)

    def lost_rows(self, history: History, first: int, rows: int, why: Quarantine, trace: str) -> None:
        """A process was lost while rows [first, first + rows) were at work. They are to blame."""
        history.losses += 1
        if history.losses > self._limits.quarantines * self._limits.strikes:
            self.give_up(history, f"more than {self._limits.quarantines} of its rows hang or crash")
            return
        if rows > 1:
            history.careful = True
        else:
            history.strikes[why.stage, first] += 1
            if history.strikes[why.stage, first] >= self._limits.strikes:
                history.quarantine[first] = why
                self.report_row("quarantine", history, first, why, trace)
            else:
                self.report_row("retry", history, first, why, trace)
        self.waiting.appendleft(history)

    def lost_node(self, history: History, node: str, reason: str) -> None:
        """The unit's node is gone. That is not the unit's fault, unless it happens wherever the unit goes."""
        history.lost_with.append(node)
        attempts = self._limits.attempts
        if len(set(history.lost_with)) >= attempts or len(history.lost_with) >= 3 * attempts:
            self.give_up(history, f"its nodes are lost: {reason}")
        else:
            self.elsewhere(history, reason)

    def elsewhere(self, history: History, reason: str) -> None:
        """The unit gets another attempt next, and this one does not count."""
        self.on_event(Event("retry", history.unit.key, reason))
        self.waiting.appendleft(history)

    def give_up(self, history: History, reason: str, trace: str = "") -> None:
        """The unit failed for good."""
        self.failures.append(Failure(history.unit.key, reason))
        self.on_event(Event("failed", history.unit.key, reason, trace=trace))

    def report_row(self, kind: str, history: History, row: int, why: Quarantine, trace: str) -> None:
        """Report what a row did."""
        detail = f"row {row}: {why.kind} in {why.stage} ({why.detail})"
        self.on_event(Event(kind, history.unit.key, detail, row=row, trace=trace))

    def tick(self, read: int, kept: int, share: float) -> None:
        """Report how far the units in progress are."""
        self.on_event(Event("tick", read=read, kept=kept, share=share, done=self.done))
