"""The nodes' side of the Ray engine: what runs in a Ray task, and the board to which tasks send signs of life.

In: an `Assignment`, which is one unit for one node. Out: an `Answer`. The unit runs under the supervisor of `local`,
with one worker process, so a page that hangs or crashes has the same end here as on one machine. The supervisor and its
worker are kept in Ray's own worker process, which serves many tasks; they die with it.
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
# The answer must fit into the message that ends a Ray task (100 kB).
_EVENTS = 100  # of one unit, at the most
_TRACES = 8  # events that carry a traceback, at the most
_TRACE = 8000  # characters of a traceback, at the most

# The engines of this process, kept from task to task, because a new worker process takes seconds to import everything.
_engines: dict[tuple[Limits, str], LocalEngine] = {}


class Beat(NamedTuple):
    """A sign of life of a unit: `age` is in seconds, `node` the id of its node, the rest is how far the unit is."""

    age: float
    node: str
    read: int
    kept: int
    share: float


class Board:
    """An actor on the driver's node: tasks write signs of life to it, the driver reads them.

    No result depends on it: if it is lost, a new one starts empty.
    """

    def __init__(self) -> None:
        self._beats: dict[int, Beat] = {}  # by ticket; here `age` is the time at which the beat came
        self._nodes: dict[str, float] = {}

    def beat(self, ticket: int, node: str, read: int, kept: int, share: float) -> None:
        self._beats[ticket] = Beat(time.monotonic(), node, read, kept, share)
        self._nodes[node] = time.monotonic()

    def read(self, tickets: set[int]) -> tuple[dict[int, Beat], dict[str, float]]:
        """The latest beats of these tasks, and the seconds since each node was heard. Other tasks are forgotten."""
        now = time.monotonic()
        self._beats = {ticket: beat for ticket, beat in self._beats.items() if ticket in tickets}
        beats = {ticket: beat._replace(age=now - beat.age) for ticket, beat in self._beats.items()}
        return beats, {node: now - came for node, came in self._nodes.items()}


@dataclass(frozen=True)
class Assignment:
    """One unit for one node, and what the node needs to run it."""

    unit: Unit
    ticket: int  # the number of this task, under which it sends its signs of life
    work: Work
    limits: Limits
    folder: str  # the driver's working directory, from which relative paths start
    version: str = __version__


@dataclass
class Answer:
    """How a unit ended on a node: `error` is None if it is committed.

    `may_pass`: all attempts on this node met an error that may pass (a lost mount). `stops`: nothing can be written,
    which every other unit on this node would meet too. `unfit`: nothing was tried, because this node cannot work for
    this driver.
    """

    node: str  # Ray's id of the node
    error: str | None = None
    may_pass: bool = False
    stops: bool = False
    unfit: bool = False
    events: list[Event] = field(default_factory=list)


def run_unit(assignment: Assignment, board: Any) -> Answer:
    """The Ray task. Raises SystemExit if its process was asked to end."""
    import ray

    util: Any = ray.util
    node, address = ray.get_runtime_context().get_node_id(), util.get_node_ip_address()
    if assignment.version != __version__:
        versions = f"node {address} has corpus {__version__}, the driver {assignment.version}"
        return Answer(node, f"{versions}; install one version on all", unfit=True)
    with contextlib.suppress(OSError):  # if the node lacks the folder, absolute paths still work
        os.chdir(assignment.folder)
    listener = _Listener(assignment.ticket, board, node)
    try:
        failures = _engine(assignment).run(assignment.work, [assignment.unit], listener)
    except Interrupted:
        raise SystemExit(1) from None
    except OSError as error:
        return Answer(node, f"{error} (node {address})", stops=True, events=listener.events)
    if not failures:
        return Answer(node, events=listener.events)
    may_pass = any(event.kind == "retry" and event.row < 0 for event in listener.events)
    return Answer(node, f"{failures[0].reason} (node {address})", may_pass, events=listener.events)


def _engine(assignment: Assignment) -> LocalEngine:
    key = assignment.limits, assignment.folder  # a worker process stays in the folder in which it was started
    if key not in _engines:
        _engines[key] = LocalEngine(1, assignment.limits)
    return _engines[key]


class _Listener:
    """Listens to the supervisor: sends a beat every second, and collects the events for the driver's user."""

    def __init__(self, ticket: int, board: Any, node: str) -> None:
        self.events: list[Event] = []
        self._ticket = ticket
        self._board = board
        self._node = node
        self._beaten = -BEAT_EVERY
        self._beat(Event("tick"))

    def __call__(self, event: Event) -> None:
        if event.kind in ("retry", "quarantine") and len(self.events) < _EVENTS:
            trace = event.trace[:_TRACE] if len(self.events) < _TRACES else ""
            self.events.append(replace(event, trace=trace))
        elif event.kind == "tick" and time.monotonic() >= self._beaten + BEAT_EVERY:
            self._beat(event)

    def _beat(self, event: Event) -> None:
        self._beaten = time.monotonic()
        self._board.beat.remote(self._ticket, self._node, event.read, event.kept, event.share)
