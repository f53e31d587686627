"""Who runs units. The engine starts, loses and retries them; what a unit means it does not know.

A `Work` is a picklable object with `run(unit, attempt)`. Before every piece of work on rows it enters
`attempt.guard(stage, first, rows, seconds)`: first and rows say which rows of the unit (counted in input order) are
at stake. If the guard's time runs out while Python is still in control, `TimeLimit` is raised inside it; if the
process is stuck or dies there, the supervisor knows from the guard which rows were at work. The time is the
processor's, within reason: a stopped process and a busy machine are not a row's fault. Of several rows the culprit is
unknown: the next attempt is `careful` and guards every row alone. A row that takes its process along
twice is quarantined: the next attempt finds it in `attempt.quarantine` and does not touch it. Once is not enough,
because processes are also killed from outside, and an innocent page must not be lost for that.

Two engines, one behaviour: `local.LocalEngine` supervises processes on this machine, `ray.RayEngine` places units on
a cluster, where each of them runs under the same supervisor.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self


class TimeLimit(BaseException):
    """The guard's time is over. Not an Exception, so that a library's broad `except` cannot swallow it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: workers are stopped, committed units stay."""


class Quarantine(NamedTuple):
    """Why a row must not be run again: what it did ("timeout", "crash", "memory"), where, and the detail to report."""

    stage: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Unit:
    """A piece of work: its key, the files that it reads, and the number of its first row over all units (0 where
    nobody counts rows over all units).
    """

    key: str
    inputs: tuple[Any, ...]
    first_row: int = 0


class Attempt(Protocol):
    """What a running unit sees of its engine."""

    number: int
    careful: bool
    quarantine: Mapping[int, Quarantine]

    def guard(self, stage: str, first: int, rows: int, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Mark rows [first, first + rows) as being at work in `stage`, for `seconds` at the most."""

    def progress(self, read: int, kept: int, share: float) -> None:
        """Tell how many rows have been read and kept so far, and which share of the unit that is (advisory)."""

    def note(self, row: int, why: Quarantine, trace: str) -> None:
        """Tell that the unit itself gave up a row, and where that was at work."""


class Work(Protocol):
    """What the engine is given to run; picklable."""

    def run(self, unit: Unit, attempt: Attempt) -> None:
        """Do the unit and commit it. An exception fails the attempt."""


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done, after all its attempts."""

    unit: str
    reason: str


@dataclass
class Event:
    """What happens while units run: kind is start (with `units`), done, failed, retry, quarantine or tick."""

    kind: str
    unit: str = ""
    detail: str = ""
    read: int = 0  # rows of the units in progress
    kept: int = 0
    share: float = 0.0  # of the units in progress, added up: 1.5 is one and a half units
    done: int = 0  # units committed in this run
    units: int = 0  # to do in this run
    row: int = -1  # quarantine, retry: the row at work
    trace: str = ""  # quarantine, retry: where it was at work, as a Python traceback


@dataclass(frozen=True)
class Limits:
    """How often, how long and how much."""

    attempts: int = 3  # of a unit, for failures that no row is to blame for
    strikes: int = 2  # processes that a row takes along before it is quarantined
    quarantines: int = 1000  # rows of one unit, after which the unit itself is at fault
    grace: float = 5.0  # seconds past a guard's own limit before the process is killed
    heartbeat: float = 300.0  # seconds without a sign of life from a worker, outside any guard, before it is killed
    unit: float = 0.0  # seconds for one attempt at a unit; 0: no limit
    poll: float = 0.05  # seconds between looks at the workers
    memory: int = 8192  # MiB of resident memory of a worker with rows at work; 0: no limit. Needs /proc (Linux)
    recycle: int = 2048  # MiB of resident memory with which a worker is replaced between two units; 0: never
    silence: float = 60.0  # seconds without a word from a cluster's node before its units are given to others


class Engine(Protocol):
    """Runs units; one engine serves all passes of a recipe."""

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, when nothing runs any more.
        """

    def close(self) -> None:
        """Let go of the workers."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass
class State:
    """A unit's history within this run."""

    unit: Unit
    attempts: int = 0
    failures: int = 0
    losses: int = 0  # processes lost with rows at work
    careful: bool = False
    strikes: Counter[tuple[str, int]] = field(default_factory=Counter)  # by stage and row
    quarantine: dict[int, Quarantine] = field(default_factory=dict)
