"""Who runs units. The engine starts, loses and retries them; what a unit means it does not know.

A `Work` is a picklable object with `run(unit, attempt)`. Before every piece of work on rows it enters
`attempt.guard(stage, first, rows, seconds)`: first and rows say which rows of the unit (counted in input order) are
at stake. If the guard's time runs out while Python is still in control, `TimeLimit` is raised inside it; if the
process is stuck or dies there, the supervisor knows from the guard which rows were at work. One row is
quarantined: the next attempt finds it in `attempt.quarantine` and does not touch it. Of several rows the culprit
is unknown: the next attempt is `careful` and guards every row alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class TimeLimit(BaseException):
    """The guard's time is over. Not an Exception, so that a library's broad `except` cannot swallow it."""


class Quarantine(NamedTuple):
    """Why a row must not be run again: what it did ("timeout", "crash", "memory"), where, and the detail to report."""

    stage: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Unit:
    """A piece of work: its key, and the files that it reads."""

    key: str
    inputs: tuple[Any, ...]


class Attempt(Protocol):
    """What a running unit sees of its engine."""

    number: int
    careful: bool
    quarantine: Mapping[int, Quarantine]

    def guard(self, stage: str, first: int, rows: int, seconds: float) -> contextlib.AbstractContextManager[None]:
        """Mark rows [first, first + rows) as being at work in `stage`, for `seconds` at the most."""

    def progress(self, read: int, kept: int, share: float) -> None:
        """Tell how many rows have been read and kept so far, and which share of the unit that is (advisory)."""


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


@dataclass
class Limits:
    """How often and how long."""

    attempts: int = 3  # of a unit, for failures that no row is to blame for
    grace: float = 5.0  # seconds past a guard's own limit before the process is killed
    poll: float = 0.1  # seconds between looks at the workers
    memory: int = 8192  # MiB of resident memory of a worker with rows at work; 0: no limit. Needs /proc (Linux)
    quarantines: int = 1000  # rows of one unit, after which the unit itself is at fault


@dataclass
class State:
    """A unit's history within this run."""

    unit: Unit
    attempts: int = 0
    failures: int = 0
    careful: bool = False
    quarantine: dict[int, Quarantine] = field(default_factory=dict)
