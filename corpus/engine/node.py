"""The cluster's side of the Ray engine: what runs in its tasks, and the board on which they give signs of life.

A task is one unit. It runs under the supervisor of `local`, with one worker process, so that a page that hangs or
crashes ends here exactly as on one machine. The supervisor and its worker stay warm in Ray's worker process, which
serves many tasks; they die with it.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from corpus import __version__
from corpus.engine.base import Event, Interrupted, Limits, Unit, Work
from corpus.engine.local import LocalEngine

BEAT_EVERY = 1.0  # seconds between signs of life
_TOLD = 100  # events of one unit that are told: the answer must fit into the message that ends a task (100 kB)
_TRACED = 8  # of them with a traceback
_TRACE = 8000  # characters of one

# Of this process, kept from task to task: a new worker process costs seconds of imports.
_engines: dict[tuple[Limits, str], LocalEngine] = {}


class Beat(NamedTuple):
    """A sign of life of a unit: `age` seconds old, from the node with this id, and how far the unit is."""

    age: float
    node: str
    read: int
    kept: int
    share: float


class Board:
    """An actor on the driver's node: tasks write on it, the driver reads it. What it says is advisory."""

    def __init__(self) -> None:
        self._beats: dict[int, Beat] = {}  # by ticket; here `age` is the time it came
        self._nodes: dict[str, float] = {}

    def beat(self, ticket: int, node: str, read: int, kept: int, share: float) -> None:
        self._beats[ticket] = Beat(time.monotonic(), node, read, kept, share)
        self._nodes[node] = time.monotonic()

    def read(self, tickets: set[int]) -> tuple[dict[int, Beat], dict[str, float]]:
        """The latest beats of these tasks, others are forgotten; and how long ago each node was heard."""
        now = time.monotonic()
        self._beats = {ticket: beat for ticket, beat in self._beats.items() if ticket in tickets}
        beats = {ticket: beat._replace(age=now - beat.age) for ticket, beat in self._beats.items()}
        return beats, {node: now - came for node, came in self._nodes.items()}


@dataclass(frozen=True)
class Job:
    """What the tasks of one run have in common."""

    work: Work
    limits: Limits
    folder: str  # the driver's working directory, which relative paths start from
    version: str = __version__


@dataclass
class Answer:
    """How a unit ended: `error` is None if it is committed.

    `may_pass`: the error is one that may pass (a lost mount), but all attempts on this node met it. `stops`: nothing
    can be written, which every other unit here would meet too. `unfit`: nothing was tried, because this node cannot
    work for this driver.
    """

    node: str  # where, as Ray numbers them
    error: str | None = None
    may_pass: bool = False
    stops: bool = False
    unfit: bool = False
    events: list[Event] = field(default_factory=list)


def run_unit(job: Job, unit: Unit, ticket: int, board: Any) -> Answer:
    """A task. Raises SystemExit if its process was asked to end."""
    import ray

    util: Any = ray.util
    node, address = ray.get_runtime_context().get_node_id(), util.get_node_ip_address()
    if job.version != __version__:
        mismatch = f"node {address} has corpus {__version__}, the driver {job.version}; install one version on all"
        return Answer(node, mismatch, unfit=True)
    with contextlib.suppress(OSError):  # then only absolute paths are of use here
        os.chdir(job.folder)
    teller = _Teller(ticket, board, node)
    try:
        failures = _engine(job).run(job.work, [unit], teller)
    except Interrupted:
        raise SystemExit(1) from None
    except OSError as error:
        return Answer(node, f"{error} (node {address})", stops=True, events=teller.events)
    if not failures:
        return Answer(node, events=teller.events)
    may_pass = any(event.kind == "retry" and event.row < 0 for event in teller.events)
    return Answer(node, f"{failures[0].reason} (node {address})", may_pass, events=teller.events)


def _engine(job: Job) -> LocalEngine:
    key = job.limits, job.folder  # its worker process stays in the folder that it was started in
    if key not in _engines:
        _engines[key] = LocalEngine(1, job.limits)
    return _engines[key]


class _Teller:
    """Listens to the supervisor: beats every second, and collects what the driver's user wants to be told."""

    def __init__(self, ticket: int, board: Any, node: str) -> None:
        self.events: list[Event] = []
        self._ticket = ticket
        self._board = board
        self._node = node
        self._beaten = -BEAT_EVERY
        self._beat(Event("tick"))

    def __call__(self, event: Event) -> None:
        if event.kind in ("retry", "quarantine") and len(self.events) < _TOLD:
            trace = event.trace[:_TRACE] if len(self.events) < _TRACED else ""
            self.events.append(replace(event, trace=trace))
        elif event.kind == "tick" and time.monotonic() >= self._beaten + BEAT_EVERY:
            self._beat(event)

    def _beat(self, event: Event) -> None:
        self._beaten = time.monotonic()
        self._board.beat.remote(self._ticket, self._node, event.read, event.kept, event.share)
