"""The interface between engines and work: an engine starts units, loses them and starts them again.

What a unit means, an engine does not know. A `Work` is a picklable object with `run(unit, attempt)`. Before every piece
of work on rows it enters `attempt.guard(stage, first, rows, seconds)`, which says which rows of the unit, counted in
input order, are at work.

- If the guard's time is over while Python is still in control, `TimeLimit` is raised inside the guard.
- If the process hangs in C code or dies, the supervisor learns from the guard which rows were at work.

The time is processor time, within reason: rows are not to blame for a stopped process or a busy machine. Of several
rows at work the culprit is unknown, so the next attempt is `careful` and guards every row alone. A row that kills its
process twice is quarantined: the next attempt finds it in `attempt.quarantine` and does not touch it. One time is not
enough, because processes are also killed from outside, and an innocent page must not be lost for that.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self


class TimeLimit(BaseException):
    """The guard's time is over. Not an Exception, so that a library's broad `except` cannot swallow it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: workers are stopped, committed units stay."""


class Quarantine(NamedTuple):
    """Why a row must not be run again: in which stage, how it failed ("timeout", "crash", "memory"), and the detail."""

    stage: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Unit:
    """A piece of work: its key, the files that it reads, the number of its first row over all units (0 where nobody
    counts rows over all units), and which part of the files it reads (None: all of them).
    """

    key: str
    inputs: tuple[Any, ...]
    first_row: int = 0
    part: Any = None


class Attempt(Protocol):
    """What a running unit sees of its engine."""

    number: int  # from 1
    careful: bool  # guard every row alone
    quarantine: Mapping[int, Quarantine]  # by row: do not touch these

    def guard(self, stage: str, first: int, rows: int, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Mark rows [first, first + rows) as being at work in `stage`, for at most `seconds`."""

    def progress(self, read: int, kept: int, share: float) -> None:
        """Report the rows read and kept so far, and the share of the unit that is done. This is only for display."""

    def note(self, row: int, why: Quarantine, trace: str) -> None:
        """Report that the unit gave up a row by itself; `trace` is the traceback of where the row was at work."""


class Work(Protocol):
    """What an engine runs. It must be picklable.

    A work may have an attribute `memory`: the MiB that a unit is expected to need, by which a cluster places units.
    """

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
    trace: str = ""  # quarantine, retry: the Python traceback of where it was at work


@dataclass(frozen=True)
class Limits:
    """How often a unit is tried, how long it may take, and how much memory it may use."""

    attempts: int = 3  # at a unit, for failures that no row is to blame for
    strikes: int = 2  # processes that a row kills before it is quarantined
    quarantines: int = 1000  # rows of one unit; with more, the unit itself fails
    grace: float = 5.0  # seconds past a guard's own limit before the process is killed
    heartbeat: float = 300.0  # seconds without a sign of life from a worker outside any guard, before it is killed
    unit: float = 0.0  # seconds for one attempt at a unit; 0: no limit
    poll: float = 0.05  # seconds between looks at the workers
    memory: int = 8192  # MiB of resident memory of a worker with rows at work; 0: no limit. Needs /proc (Linux)
    recycle: int = 2048  # MiB of resident memory at which a worker is replaced between two units; 0: never
    silence: float = 60.0  # seconds without a sign of life from a cluster's node before its units go to other nodes


class Engine(ABC):
    """Runs units. One engine serves all passes of a recipe.

    A new engine is a class with these three methods, and a line in the table of `corpus.engine.start`.
    """

    @classmethod
    @abstractmethod
    def started(cls, workers: int | None, limits: Limits) -> Self:
        """The engine that the command line asks for; `workers` is the value of `--workers`, None if it is not given.

        Raises ValueError, in one line, if the engine cannot be started here.
        """

    @abstractmethod
    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, when nothing runs any more.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the workers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
