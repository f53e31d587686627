"""Units on a Ray cluster that is running already: one Ray Core task for each unit, under our supervisor (see `node`).

Ray places tasks and reports when a node or a process dies; everything else is done here. Ray retries nothing
(`max_retries=0`), because it counts neither attempts nor out-of-memory kills as `history` does. It has no time limit
for tasks, and takes minutes to notice a link that was silently lost. So every running task gives a sign of life each
second, and a task that is silent for `Limits.silence` is given up: it is cancelled, not waited for, and its unit is
placed on another node. If the silent node comes back and finishes the unit too, the one who commits first counts, as
with any two writers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.engine.base import Engine, Event, Failure, Limits, Unit, Work
from corpus.engine.cluster import Nodes, connect, not_installed, quiet_stdout, reason
from corpus.engine.history import History, Ledger
from corpus.engine.interrupt import interruptible
from corpus.engine.node import Answer, Assignment, Beat, Board, run_unit

_LOOK_EVERY = 1.0  # seconds between two looks at the board
_WAIT = 0.2  # seconds to wait for a task to end, before anything else is done
_PATIENCE = 3.0  # seconds for the board to answer
_START = 300.0  # seconds for a first process on the cluster


class RayEngine(Engine):
    """Runs units on the cluster that `address` names, or else RAY_ADDRESS.

    limits   as on one machine; `silence` is the seconds after which a running task is given up
    window   tasks in flight; None: as many as the cluster has processors at the moment, and a quarter more
    """

    def __init__(self, address: str | None, limits: Limits | None = None, window: int | None = None) -> None:
        """Connect. Raises ValueError, in one line, if that fails."""
        self.limits = limits or Limits()
        self.window = window
        self.address = address or os.environ.get("RAY_ADDRESS", "")
        connect(self.address)
        self.task = self._task()
        self.board = self._open_board()
        self.tickets = 0

    @classmethod
    def started(cls, workers: int | None, limits: Limits) -> RayEngine:
        """An engine on the cluster that RAY_ADDRESS names, with at most `workers` units at a time."""
        return cls(None, limits, workers)

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, ValueError if a node cannot work for this driver, OSError if
        nothing can be written.
        """
        with quiet_stdout():
            return _Driver(self, work, units, on_event).run()

    def close(self) -> None:
        """Disconnect. The cluster stays; what this driver has running there ends."""
        import ray

        with quiet_stdout():
            ray.shutdown()

    def ticket(self) -> int:
        """A new number for a task."""
        self.tickets += 1
        return self.tickets

    def _task(self) -> Any:
        import ray

        return ray.remote(run_unit)

    def _open_board(self) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Board)
        board = actor.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        try:
            ray.get(board.read.remote(set()), timeout=_START)
        except ray.exceptions.RayError as error:
            self.close()
            raise ValueError(not_installed(error) or f"{self.address}: {reason(error)}") from None
        return board


@dataclass
class _Flight:
    """A task in flight: a unit on its way to a node, or running there."""

    history: History
    ticket: int
    avoided: frozenset[str]  # nodes on which it may not be placed
    heard: float  # when it was submitted, and later when it was last heard of
    beat: Beat | None = None  # None: it has not started, as far as the driver knows


class _Driver:
    """Runs the units of one pass on the cluster."""

    def __init__(self, engine: RayEngine, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]):
        self.engine = engine
        self.limits = engine.limits
        self.work = work
        self.folder = os.getcwd()
        self.memory = getattr(work, "memory", 0) << 20  # bytes
        self.ledger = Ledger(units, engine.limits, on_event)
        self.flying: dict[Any, _Flight] = {}  # by the reference to its result
        self.nodes = Nodes(self.limits.silence)
        self.looked = 0.0  # when the board was last read
        self.deaf = False  # whether the board did not answer

    def run(self) -> list[Failure]:
        try:
            with interruptible() as check:
                while self.ledger.waiting or self.flying:
                    check()
                    self._step()
        finally:
            self._cancel(self.flying)
        return self.ledger.failures

    def _step(self) -> None:
        self.nodes.count()
        window = self.engine.window or self.nodes.window()
        while self.ledger.waiting and len(self.flying) < window:
            self._submit(self.ledger.waiting.popleft())
        for reference in self._ended():
            self._end(reference, self.flying.pop(reference))
        if time.monotonic() >= self.looked + _LOOK_EVERY and self._look():
            self._give_up_the_silent()
        beats = [flight.beat for flight in self.flying.values() if flight.beat]
        self.ledger.tick(sum(b.read for b in beats), sum(b.kept for b in beats), sum(b.share for b in beats))

    def _submit(self, history: History, quiet: Iterable[str] = ()) -> None:
        avoided = self.nodes.avoidable(self.nodes.suspects.union(history.failed_on, history.lost_with[-1:], quiet))
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        if avoided:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"}
        if self.memory:  # a unit that needs more than any node has gets the largest node for itself
            options["memory"] = min(self.memory, self.nodes.largest_memory(avoided))
        ticket = self.engine.ticket()
        assignment = Assignment(history.unit, ticket, self.work, self.limits, self.folder)
        task = self.engine.task.options(name=f"unit {history.unit.key}", **options)
        reference = task.remote(assignment, self.engine.board)
        self.flying[reference] = _Flight(history, ticket, avoided, time.monotonic())

    def _ended(self) -> list[Any]:
        """References of the tasks that have ended; waits a moment for the first."""
        import ray

        if not self.flying:
            return []
        references = list(self.flying)
        if not ray.wait(references, num_returns=1, timeout=_WAIT)[0]:
            return []
        ended: list[Any] = ray.wait(references, num_returns=len(references), timeout=0)[0]
        return ended

    def _end(self, reference: Any, flight: _Flight) -> None:
        import ray

        try:
            answer: Answer = ray.get(reference)
        except ray.exceptions.NodeDiedError as error:
            self.ledger.lost_node(flight.history, flight.beat.node if flight.beat else "", reason(error))
        except ray.exceptions.RayError as error:
            if missing := not_installed(error):
                raise ValueError(missing) from None
            self.ledger.failed(flight.history, reason(error))
        else:
            self._answered(flight.history, answer)

    def _answered(self, history: History, answer: Answer) -> None:
        if answer.unfit:
            raise ValueError(answer.error)
        for event in answer.events:
            self.ledger.on_event(event)
        if not answer.error:
            self.ledger.committed(history)
        elif (answer.may_pass or answer.stops) and not history.failed_on and self.nodes.avoidable({answer.node}):
            history.failed_on.append(answer.node)  # another node may have the mount or the space that this one lacks
            self.ledger.elsewhere(history, answer.error)
        elif answer.stops:
            raise OSError(answer.error)
        else:
            self.ledger.give_up(history, answer.error)

    def _look(self) -> bool:
        """Read the board; False if it does not answer at the moment."""
        import ray

        self.looked = time.monotonic()
        try:
            tickets = {flight.ticket for flight in self.flying.values()}
            beats, nodes = ray.get(self.engine.board.read.remote(tickets), timeout=_PATIENCE)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            self.deaf = True  # Ray starts a new board, which knows nothing of the time before
            return False
        now = time.monotonic()
        for flight in self.flying.values():
            if beat := beats.get(flight.ticket):
                flight.beat, flight.heard = beat, now - beat.age
            elif self.deaf:
                flight.heard = now
        self.deaf = False
        self.nodes.heard(nodes)
        return True

    def _give_up_the_silent(self) -> None:
        now, silence = time.monotonic(), self.limits.silence
        silent = {r: flight for r, flight in self.flying.items() if flight.beat and now - flight.heard > silence}
        for reference, flight in silent.items():
            assert flight.beat
            self._cancel([reference])
            del self.flying[reference]
            node = flight.beat.node
            self.nodes.suspect(node)
            silence_of = f"node {self.nodes.address(node)} has been silent for {silence:g} s"
            self.ledger.lost_node(flight.history, node, silence_of)
        for reference, flight in [(r, flight) for r, flight in self.flying.items() if self._is_stuck(flight)]:
            self._cancel([reference])
            del self.flying[reference]
            self._submit(flight.history, self.nodes.quiet())

    def _is_stuck(self, flight: _Flight) -> bool:
        """Whether a task that has not started may be on its way to a lost node. Ray does not tell where it sends it."""
        if flight.beat:
            return False
        unwanted = self.nodes.suspects
        if time.monotonic() - flight.heard > self.limits.silence:
            unwanted = unwanted | self.nodes.quiet()
        return not self.nodes.avoidable(unwanted) <= flight.avoided or self.nodes.are_all_in(flight.avoided)

    def _cancel(self, references: Iterable[Any]) -> None:
        import ray

        for reference in references:
            ray.cancel(reference, force=True)
