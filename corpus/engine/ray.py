"""Units on a Ray cluster that is there already: one Ray Core task a unit, under our supervisor (see `node`).

Ray places tasks and tells when a node or a process dies; the rest is ours. Ray retries nothing (`max_retries=0`),
because it counts neither attempts nor out-of-memory kills as we do. It has no time-out for tasks, and takes minutes
to notice a link that is silently lost; so every running task gives a sign of life each second, and one that is silent
for `Limits.silence` is given up: cancelled, not waited for, and placed on another node. Should the silent node come
back and finish its unit, then whoever commits first has done it, as with any two writers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from corpus.engine.base import Event, Failure, Interrupted, Limits, Unit, Work
from corpus.engine.local import signals
from corpus.engine.node import Answer, Beat, Board, Job, run_unit

_LOOK_EVERY = 1.0  # seconds between looks at the board
_COUNT_EVERY = 5.0  # seconds between looks at which nodes there are
_WAIT = 0.2  # seconds to wait for a task to end, before anything else gets its turn
_PATIENCE = 3.0  # seconds for the board to answer
_CONNECT = 10.0  # seconds for a first connection to the cluster
_START = 300.0  # seconds for a first process on it
_SPARE = 0.25  # tasks that wait for a processor, as a share of the processors: an autoscaler sees them and grows


class RayEngine:
    """Runs units on the cluster that `address`, or else RAY_ADDRESS, names.

    limits   as on one machine; `silence` is the seconds after which a running task is given up
    window   tasks in flight; None: as many as the cluster has processors and a quarter more, as it grows
    """

    def __init__(self, address: str | None, limits: Limits | None = None, window: int | None = None) -> None:
        """Connect. Raises ValueError, in one line, where that cannot be."""
        self.limits = limits or Limits()
        self.window = window
        self.address = address or os.environ.get("RAY_ADDRESS", "")
        _connect(self.address)
        self.task = self._task()
        self.board = self._open_board()
        self.tickets = 0

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, ValueError if a node cannot work for this driver, OSError where
        nothing can be written.
        """
        with _quiet_stdout():
            return _Run(self, work, units, on_event).to_the_end()

    def close(self) -> None:
        """Disconnect; the cluster stays, what this driver has running there ends."""
        import ray

        with _quiet_stdout():
            ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ticket(self) -> int:
        """A number for one task."""
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
            raise ValueError(_not_installed(error) or f"{self.address}: {_reason(error)}") from None
        return board


@dataclass
class _History:
    """A unit within this run."""

    unit: Unit
    failures: int = 0  # Ray processes lost
    lost_with: list[str] = field(default_factory=list)  # nodes that fell silent or died with it
    failed_on: list[str] = field(default_factory=list)  # nodes on which all attempts met an error that may pass


@dataclass
class _Task:
    """A unit in flight."""

    history: _History
    ticket: int
    avoided: frozenset[str]
    heard: float  # when it was submitted, and then when it was last heard of
    beat: Beat | None = None  # None: has not started, as far as we know


class _Run:
    """One pass over the units."""

    def __init__(self, engine: RayEngine, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]):
        self.engine = engine
        self.limits = engine.limits
        self.on_event = on_event
        self.job = Job(work, engine.limits, os.getcwd())
        self.memory = getattr(work, "memory", 0) << 20
        self.waiting = deque(_History(unit) for unit in units)
        self.flying: dict[Any, _Task] = {}  # by the reference to its result
        self.nodes = _Nodes(self.limits.silence)
        self.failures: list[Failure] = []
        self.done = 0
        self.looked = 0.0
        self.deaf = False
        self.stop = False

    def to_the_end(self) -> list[Failure]:
        try:
            with signals(self._interrupt):
                while self.waiting or self.flying:
                    self._step()
        finally:
            self._cancel(self.flying)
        return self.failures

    def _interrupt(self) -> None:
        self.stop = True

    def _step(self) -> None:
        if self.stop:
            raise Interrupted
        self.nodes.count()
        window = self.engine.window or self.nodes.window()
        while self.waiting and len(self.flying) < window:
            self._submit(self.waiting.popleft())
        for reference in self._ended():
            self._end(reference, self.flying.pop(reference))
        if time.monotonic() >= self.looked + _LOOK_EVERY and self._look():
            self._give_up_the_silent()
        beats = [task.beat for task in self.flying.values() if task.beat]
        read, kept, share = sum(b.read for b in beats), sum(b.kept for b in beats), sum(b.share for b in beats)
        self.on_event(Event("tick", read=read, kept=kept, share=share, done=self.done))

    def _submit(self, history: _History, quiet: Iterable[str] = ()) -> None:
        avoided = self.nodes.avoidable(self.nodes.suspects.union(history.failed_on, history.lost_with[-1:], quiet))
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        if avoided:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"}
        if self.memory:  # a unit may want more than there is; then it has a node for itself
            options["memory"] = min(self.memory, self.nodes.largest_memory(avoided))
        ticket = self.engine.ticket()
        task = self.engine.task.options(name=f"unit {history.unit.key}", **options)
        reference = task.remote(self.job, history.unit, ticket, self.engine.board)
        self.flying[reference] = _Task(history, ticket, avoided, time.monotonic())

    def _ended(self) -> list[Any]:
        import ray

        if not self.flying:
            return []
        references = list(self.flying)
        if not ray.wait(references, num_returns=1, timeout=_WAIT)[0]:
            return []
        ended: list[Any] = ray.wait(references, num_returns=len(references), timeout=0)[0]
        return ended

    def _end(self, reference: Any, task: _Task) -> None:
        import ray

        history = task.history
        try:
            answer: Answer = ray.get(reference)
        except ray.exceptions.NodeDiedError as error:
            self._lost(history, task.beat.node if task.beat else "", _reason(error))
        except ray.exceptions.RayError as error:
            if missing := _not_installed(error):
                raise ValueError(missing) from None
            self._retry(history, _reason(error))
        else:
            self._answered(history, answer)

    def _answered(self, history: _History, answer: Answer) -> None:
        key = history.unit.key
        if answer.unfit:
            raise ValueError(answer.error)
        for event in answer.events:
            self.on_event(event)
        if not answer.error:
            self.done += 1
            self.on_event(Event("done", key, done=self.done))
        elif (answer.may_pass or answer.stops) and not history.failed_on and self.nodes.avoidable({answer.node}):
            history.failed_on.append(answer.node)  # what it lacks another node may have
            self._again(history, answer.error)
        elif answer.stops:
            raise OSError(answer.error)
        else:
            self._fail(history, answer.error)

    def _look(self) -> bool:
        """Read the board; False if there is none at the moment."""
        import ray

        self.looked = time.monotonic()
        try:
            tickets = {task.ticket for task in self.flying.values()}
            beats, nodes = ray.get(self.engine.board.read.remote(tickets), timeout=_PATIENCE)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            self.deaf = True  # it is restarted, and knows nothing of before
            return False
        now = time.monotonic()
        for task in self.flying.values():
            if beat := beats.get(task.ticket):
                task.beat, task.heard = beat, now - beat.age
            elif self.deaf:
                task.heard = now
        self.deaf = False
        self.nodes.heard(nodes)
        return True

    def _give_up_the_silent(self) -> None:
        now, silence = time.monotonic(), self.limits.silence
        silent = {r: task for r, task in self.flying.items() if task.beat and now - task.heard > silence}
        for reference, task in silent.items():
            assert task.beat
            self._cancel([reference])
            del self.flying[reference]
            self.nodes.suspect(task.beat.node)
            address = self.nodes.address(task.beat.node)
            self._lost(task.history, task.beat.node, f"node {address} has been silent for {silence:g} s")
        for reference, task in [(r, task) for r, task in self.flying.items() if self._is_stuck(task)]:
            self._cancel([reference])
            del self.flying[reference]
            self._submit(task.history, self.nodes.quiet())

    def _is_stuck(self, task: _Task) -> bool:
        """Whether a task may be on its way to a node that is not there any more: Ray does not tell which one."""
        if task.beat:
            return False
        unwanted = self.nodes.suspects
        if time.monotonic() - task.heard > self.limits.silence:
            unwanted = unwanted | self.nodes.quiet()
        return not self.nodes.avoidable(unwanted) <= task.avoided or self.nodes.are_all_in(task.avoided)

    def _cancel(self, references: Iterable[Any]) -> None:
        import ray

        for reference in references:
            ray.cancel(reference, force=True)

    def _lost(self, history: _History, node: str, reason: str) -> None:
        """Its node is gone. That is not the unit's fault, unless it happens wherever the unit goes."""
        history.lost_with.append(node)
        attempts = self.limits.attempts
        if len(set(history.lost_with)) >= attempts or len(history.lost_with) >= 3 * attempts:
            self._fail(history, f"its nodes are lost: {reason}")
        else:
            self._again(history, reason)

    def _retry(self, history: _History, reason: str) -> None:
        history.failures += 1
        if history.failures < self.limits.attempts:
            self._again(history, reason)
        else:
            self._fail(history, reason)

    def _again(self, history: _History, reason: str) -> None:
        self.on_event(Event("retry", history.unit.key, reason))
        self.waiting.appendleft(history)

    def _fail(self, history: _History, reason: str) -> None:
        self.failures.append(Failure(history.unit.key, reason))
        self.on_event(Event("failed", history.unit.key, reason))


class _Nodes:
    """The cluster's nodes that can run units, and what we think of them."""

    def __init__(self, silence: float) -> None:
        self.silence = silence
        self.suspects: set[str] = set()  # fell silent with a unit
        self._alive: dict[str, dict[str, Any]] = {}
        self._ages: dict[str, float] = {}
        self._counted = 0.0

    def count(self) -> None:
        """See which nodes there are, if the last time is long ago."""
        import ray

        if time.monotonic() < self._counted + _COUNT_EVERY and self._alive:
            return
        self._counted = time.monotonic()
        cluster: Any = ray
        self._alive = {n["NodeID"]: n for n in cluster.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1}
        self.suspects &= self._alive.keys()

    def window(self) -> int:
        cpus = sum(int(node["Resources"]["CPU"]) for key, node in self._alive.items() if key not in self.suspects)
        return cpus + max(2, int(cpus * _SPARE))

    def heard(self, ages: dict[str, float]) -> None:
        self._ages = ages
        self.suspects -= {node for node, age in ages.items() if age < self.silence / 2}

    def suspect(self, node: str) -> None:
        """A unit has fallen silent there; others may still be heard from it, then it was not the node."""
        if node in self._alive and self._ages.get(node, self.silence) > self.silence / 2:
            self.suspects.add(node)

    def quiet(self) -> set[str]:
        """Those that have not been heard lately, which may just mean that they had nothing to do."""
        return {node for node in self._alive if self._ages.get(node, self.silence) >= self.silence}

    def avoidable(self, unwanted: Iterable[str]) -> frozenset[str]:
        """Those of them that are still there; none, if no other would be left."""
        there = self._alive.keys() & set(unwanted)
        return frozenset(there) if there != self._alive.keys() else frozenset()

    def are_all_in(self, nodes: frozenset[str]) -> bool:
        return bool(self._alive) and self._alive.keys() <= nodes

    def largest_memory(self, avoided: Iterable[str]) -> int:
        """Bytes of the node that has most, of those that are not avoided."""
        usable = self._alive.keys() - set(avoided)
        return max((int(self._alive[node]["Resources"].get("memory", 0)) for node in usable), default=1 << 62)

    def address(self, node: str) -> str:
        return str(self._alive[node]["NodeManagerAddress"]) if node in self._alive else node[:8]


def _connect(address: str) -> None:
    """Join the cluster. Raises ValueError, in one line, where that cannot be."""
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("the engine ray needs Ray: pip install '.[ray]'") from None
    _check(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.AuthenticationError, RuntimeError, ConnectionError, ValueError) as error:
        text = " ".join(str(error).split())
        if "Version mismatch" in text:
            raise ValueError(f"{text}; use the cluster's versions here, or submit this as a Ray job") from None
        if isinstance(error, ray.exceptions.AuthenticationError):
            text = "it wants a token"
        raise ValueError(
            f"cannot join the Ray cluster at {address}: {text}; run this on one of its nodes, or as a Ray job, and "
            "with its token, if it has one (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray took it for itself


def _check(address: str) -> None:
    """Refuse what names no cluster, or another door to one, before Ray tries it for minutes."""
    if not address or address == "local":
        raise ValueError(
            "set RAY_ADDRESS to a running Ray cluster, as host:port (on one of its nodes: RAY_ADDRESS=auto); "
            "this command starts none"
        )
    if "://" in address:
        raise ValueError(
            f"RAY_ADDRESS={address}: give host:port (port 6379 by default) on a node of the cluster; "
            "from outside of it, submit this command as a Ray job"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, ValueError) as error:
        raise ValueError(f"no Ray cluster at RAY_ADDRESS={address} ({error}); is it running?") from None


def _quiet_stdout() -> contextlib.redirect_stdout[Any]:
    """Ray prints what befalls the cluster to stdout, where only our results belong."""
    return contextlib.redirect_stdout(sys.stderr)


def _reason(error: BaseException) -> str:
    """The line of Ray's message that says it: the last one of a traceback, else the first."""
    from ray.exceptions import RayTaskError

    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if isinstance(error, RayTaskError) else 0]


def _not_installed(error: BaseException) -> str | None:
    """One line if Ray could not load our code on a node."""
    text = str(error)
    if "failed to import on the worker" not in text:
        return None
    return f"this package cannot be loaded on a node of the cluster; install it on all ({text.splitlines()[-1]})"
