"""Units on this machine: supervised processes, no server.

Every unit runs in a spawned worker process, also with one worker, so that a page that hangs in C code or kills its
process takes one attempt with it and nothing else. The supervisor watches a few shared numbers per worker (see
`worker`), kills what overstays, eats the memory or gives no sign of life, learns from the guard which row did it, and
starts the unit again: without that row, if it did it before. Workers stay warm from pass to pass, and are replaced
between two units when their memory has grown. They die with the supervisor.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from corpus.engine.base import Event, Failure, Interrupted, Limits, Quarantine, State, Unit, Work
from corpus.engine.worker import (
    BEAT,
    BEAT_EVERY,
    BUSY,
    FIRST,
    KEPT,
    LIMIT,
    NUMBERS,
    PATIENCE,
    READ,
    ROWS,
    SHARE,
    STAGE_BYTES,
    START,
    USED,
    work,
)

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_TRACE_WAIT = 1.0  # seconds for a hung process to write its traceback
_TRACE_BYTES = 65536  # what a pipe holds


class LocalEngine:
    """Supervised worker processes on this machine.

    workers   processes at most; they are started when there is work for them
    """

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        self.width = max(1, workers)
        self.limits = limits or Limits()
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, when all workers are gone; OSError where nothing can be written
        any more (a full disk), which no other attempt or unit would help.
        """
        return _Run(self, work, units, on_event).to_the_end()

    def close(self) -> None:
        """Kill the workers."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def free(self) -> _Worker:
        """A worker without a unit."""
        for worker in [worker for worker in self._workers if not worker.state]:
            if worker.process.is_alive():
                return worker
            self.dismiss(worker)
        worker = _Worker(self._context)
        self._workers.append(worker)
        return worker

    def dismiss(self, worker: _Worker) -> None:
        worker.kill()
        self._workers.remove(worker)


class _Loss(NamedTuple):
    """Why a process is taken from its unit; `row` says whether the rows at work are to blame."""

    kind: str
    detail: str
    row: bool


class _Worker:
    """A worker process as its supervisor sees it."""

    def __init__(self, context: Any) -> None:
        self.numbers = context.RawArray("d", NUMBERS)
        self.stage = context.RawArray("c", STAGE_BYTES)
        self.pipe, theirs = context.Pipe()
        self.traces, write_end = context.Pipe(duplex=False)
        self.numbers[BEAT] = time.monotonic()
        arguments = (theirs, write_end, self.numbers, self.stage, os.getpid())
        self.process = context.Process(target=work, args=arguments, daemon=True)
        with _blank_main():
            self.process.start()
        theirs.close()
        write_end.close()
        self.state: State | None = None
        self.since = 0.0  # when the unit was given

    def give(self, state: State, pickled: bytes) -> None:
        self.state = state
        self.since = time.monotonic()
        state.attempts += 1
        self.numbers[:BEAT] = [0.0] * BEAT
        # A worker that has just died is found dead by the next look at it.
        with contextlib.suppress(OSError):
            self.pipe.send((pickled, state.unit, state.attempts, state.careful, dict(state.quarantine)))

    def answers(self) -> Iterator[Any]:
        """What it has to say."""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                yield self.pipe.recv()

    def loss(self, limits: Limits) -> _Loss | None:
        """Why this worker must be given up, None while all is well."""
        now = time.monotonic()
        start, limit = float(self.numbers[START]), float(self.numbers[LIMIT])
        if not self.process.is_alive():
            return _Loss("crash", _exit_reason(self.process.exitcode), row=start > 0)
        if start and now > start + limit + limits.grace and self._has_had_its_time(now, limits.grace):
            return _Loss("timeout", f"{limit:g}", row=True)
        if start and limits.memory and self.memory() > limits.memory:
            return _Loss("memory", f"{limits.memory} MiB", row=True)
        if limits.unit and now > self.since + limits.unit:
            return _Loss("timeout", f"the unit took more than {limits.unit:g} s", row=False)
        silent = now - float(self.numbers[BEAT])
        if not start and silent > BEAT_EVERY + limits.grace and self._activity()[0] == "T":
            return _Loss("stopped", "its process was stopped by a signal", row=False)
        if not start and silent > limits.heartbeat:
            return _Loss("stuck", f"its process gave no sign of life for {limits.heartbeat:g} s", row=False)
        return None

    def memory(self) -> int:
        """MiB of resident memory; 0 where that cannot be told."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * _PAGE >> 20
        except (OSError, IndexError):  # it has just ended, or there is no /proc
            return 0

    def trace(self, *, ask: bool) -> str:
        """The Python traceback of what is at work; `ask` a living process for it."""
        if ask:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)
        if not self.traces.poll(_TRACE_WAIT if ask else 0):
            return ""
        time.sleep(0.05)  # it is written in small pieces
        return os.read(self.traces.fileno(), _TRACE_BYTES).decode(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.traces.close()

    def _has_had_its_time(self, now: float, grace: float) -> bool:
        """Whether the limit of the rows at work is truly over: a busy machine is not their fault."""
        start, limit = float(self.numbers[START]), float(self.numbers[LIMIT])
        state, used = self._activity()
        busy = used - float(self.numbers[USED]) >= BUSY * limit
        return busy or state in ("T", "") or now > start + PATIENCE * limit + grace

    def _activity(self) -> tuple[str, float]:
        """(R, S, T (stopped), ... as in proc(5), processor seconds so far); ("", 0) where that cannot be told."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS
        except (OSError, IndexError):
            return "", 0.0


class _Run:
    """One pass over the units."""

    def __init__(
        self, engine: LocalEngine, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]
    ) -> None:
        self.engine = engine
        self.limits = engine.limits
        self.pickled = pickle.dumps(work)
        self.waiting = deque(State(unit) for unit in units)
        self.busy: list[_Worker] = []
        self.on_event = on_event
        self.failures: list[Failure] = []
        self.done = 0
        self.stop = False

    def to_the_end(self) -> list[Failure]:
        try:
            with signals(self._interrupt):
                while self.waiting or self.busy:
                    self._step()
        except BaseException:
            self.engine.close()  # what is at work must not commit after we have gone
            raise
        return self.failures

    def _interrupt(self) -> None:
        self.stop = True

    def _step(self) -> None:
        if self.stop:
            raise Interrupted
        while self.waiting and len(self.busy) < self.engine.width:
            worker = self.engine.free()
            worker.give(self.waiting.popleft(), self.pickled)
            self.busy.append(worker)
        watched = [item for worker in self.busy for item in (worker.pipe, worker.process.sentinel)]
        multiprocessing.connection.wait(watched, timeout=self.limits.poll)
        for worker in list(self.busy):
            self._attend(worker)
        read, kept, share = (sum(worker.numbers[index] for worker in self.busy) for index in (READ, KEPT, SHARE))
        self.on_event(Event("tick", read=int(read), kept=int(kept), share=share, done=self.done))

    def _attend(self, worker: _Worker) -> None:
        state = worker.state
        assert state is not None
        loss = worker.loss(self.limits)  # before its answers: a last word counts, even of one that died after it
        for answer in worker.answers():
            if answer[0] == "note":
                _, row, why, trace = answer
                self._tell("quarantine", state, row, why, trace)
            else:
                self._ended(worker, state, error=answer[1], cure=answer[2])
                return
        if loss:
            self._lost(worker, state, loss)

    def _ended(self, worker: _Worker, state: State, error: str | None, cure: str) -> None:
        self.busy.remove(worker)
        worker.state = None
        if self.limits.recycle and worker.memory() > self.limits.recycle:
            self.engine.dismiss(worker)
        if error and cure == "person":
            raise OSError(error)
        if error:
            self._failed(state, error, retry=cure == "retry")
        else:
            self.done += 1
            self.on_event(Event("done", state.unit.key, done=self.done))

    def _lost(self, worker: _Worker, state: State, loss: _Loss) -> None:
        """The worker died or is stuck: blame the rows in its guard, and go on without it."""
        trace = worker.trace(ask=loss.kind != "crash")
        first, rows = int(worker.numbers[FIRST]), int(worker.numbers[ROWS])
        stage = worker.stage.value.decode()
        self.busy.remove(worker)
        self.engine.dismiss(worker)
        if not loss.row:
            reason = f"its process ended ({loss.detail})" if loss.kind == "crash" else loss.detail
            self._failed(state, reason, retry=True, trace=trace)
            return
        state.losses += 1
        if state.losses > self.limits.quarantines * self.limits.strikes:
            self._failed(state, f"more than {self.limits.quarantines} of its rows hang or crash", retry=False)
            return
        if rows > 1:
            state.careful = True
        else:
            state.strikes[stage, first] += 1
            why = Quarantine(stage, loss.kind, loss.detail)
            if state.strikes[stage, first] >= self.limits.strikes:
                state.quarantine[first] = why
                self._tell("quarantine", state, first, why, trace)
            else:
                self._tell("retry", state, first, why, trace)
        self.waiting.appendleft(state)

    def _tell(self, kind: str, state: State, row: int, why: Quarantine, trace: str) -> None:
        detail = f"row {row}: {why.kind} in {why.stage} ({why.detail})"
        self.on_event(Event(kind, state.unit.key, detail, row=row, trace=trace))

    def _failed(self, state: State, reason: str, retry: bool, trace: str = "") -> None:
        state.failures += 1
        if retry and state.failures < self.limits.attempts:
            self.on_event(Event("retry", state.unit.key, reason, trace=trace))
            self.waiting.append(state)
        else:
            self.failures.append(Failure(state.unit.key, reason))
            self.on_event(Event("failed", state.unit.key, reason, trace=trace))


def _exit_reason(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


@contextlib.contextmanager
def _blank_main() -> Iterator[None]:
    """A spawned process imports its parent's main module; works live in modules, so ours has no need to."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the supervisor to stop; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        interrupt()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
