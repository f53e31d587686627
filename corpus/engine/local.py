"""Units on this machine: supervised processes, no server.

Every unit runs in a spawned worker process, even if there is only one worker. So a page that hangs in C code or kills
its process ends one attempt and nothing else. The supervisor watches a few shared numbers of each worker (see
`worker`). It kills a worker that takes too long, uses too much memory or gives no sign of life, learns from the guard
which row was to blame, and starts the unit again; `history` decides whether with that row or without it. Workers are
kept from pass to pass, and replaced between two units when their memory has grown. They die with the supervisor.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from corpus.engine.base import Engine, Event, Failure, Limits, Quarantine, Unit, Work
from corpus.engine.history import History, Ledger
from corpus.engine.interrupt import interruptible
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
_TRACE_BYTES = 65536  # the size of a pipe


class LocalEngine(Engine):
    """Supervised worker processes on this machine.

    workers   the most processes at a time; they are started when there is work for them
    """

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        self.width = max(1, workers)
        self.limits = limits or Limits()
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    @classmethod
    def started(cls, workers: int | None, limits: Limits) -> LocalEngine:
        """An engine with `workers` processes, or as many as this process may use cores."""
        from bpe.terminal.program import cores

        return cls(workers or cores(), limits)

    def run(self, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]) -> list[Failure]:
        """Run every unit; returns those that failed for good.

        Raises Interrupted after Ctrl-C or SIGTERM, when all workers are gone. Raises OSError if nothing can be written
        any more (a full disk), because every other attempt and unit would fail too.
        """
        return _Supervisor(self, work, units, on_event).run()

    def close(self) -> None:
        """Kill the workers."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def free(self) -> _Worker:
        """A worker without a unit."""
        for worker in [worker for worker in self._workers if not worker.history]:
            if worker.process.is_alive():
                return worker
            self.dismiss(worker)
        worker = _Worker(self._context)
        self._workers.append(worker)
        return worker

    def dismiss(self, worker: _Worker) -> None:
        """Kill a worker that is not to be used again."""
        worker.kill()
        self._workers.remove(worker)


class _Loss(NamedTuple):
    """Why a worker is given up; `row` says whether the rows at work are to blame."""

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
        self.history: History | None = None  # of its unit; None while it has none
        self.since = 0.0  # when it was given the unit

    def give(self, history: History, pickled: bytes) -> None:
        """Let it run the next attempt at a unit with the pickled work."""
        self.history = history
        self.since = time.monotonic()
        history.attempts += 1
        self.numbers[:BEAT] = [0.0] * BEAT
        # If the worker has just died, the next look at it finds that out.
        with contextlib.suppress(OSError):
            self.pipe.send((pickled, history.unit, history.attempts, history.careful, dict(history.quarantine)))

    def answers(self) -> Iterator[Any]:
        """The messages that it has sent since the last call."""
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
        """MiB of resident memory; 0 if it is not known."""
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * _PAGE >> 20
        except (OSError, IndexError):  # it has just ended, or there is no /proc
            return 0

    def trace(self, *, ask: bool) -> str:
        """The Python traceback of the rows at work; with `ask`, a living process is asked to write it."""
        if ask:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGUSR1)
        if not self.traces.poll(_TRACE_WAIT if ask else 0):
            return ""
        time.sleep(0.05)  # faulthandler writes it in small pieces
        return os.read(self.traces.fileno(), _TRACE_BYTES).decode(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.traces.close()

    def _has_had_its_time(self, now: float, grace: float) -> bool:
        """Whether the rows at work have used up their limit. They are not to blame for a busy machine."""
        start, limit = float(self.numbers[START]), float(self.numbers[LIMIT])
        state, used = self._activity()
        busy = used - float(self.numbers[USED]) >= BUSY * limit
        return busy or state in ("T", "") or now > start + PATIENCE * limit + grace

    def _activity(self) -> tuple[str, float]:
        """(state as in proc(5): R, S, T (stopped), ...; processor seconds so far); ("", 0) if they are not known."""
        try:
            with open(f"/proc/{self.process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS
        except (OSError, IndexError):
            return "", 0.0


class _Supervisor:
    """Runs the units of one pass on an engine's workers."""

    def __init__(
        self, engine: LocalEngine, work: Work, units: Sequence[Unit], on_event: Callable[[Event], None]
    ) -> None:
        self.engine = engine
        self.limits = engine.limits
        self.pickled = pickle.dumps(work)
        self.ledger = Ledger(units, engine.limits, on_event)
        self.busy: list[_Worker] = []

    def run(self) -> list[Failure]:
        try:
            with interruptible() as check:
                while self.ledger.waiting or self.busy:
                    check()
                    self._step()
        except BaseException:
            self.engine.close()  # no unit may commit after this process has reported the end of the run
            raise
        return self.ledger.failures

    def _step(self) -> None:
        while self.ledger.waiting and len(self.busy) < self.engine.width:
            worker = self.engine.free()
            worker.give(self.ledger.waiting.popleft(), self.pickled)
            self.busy.append(worker)
        watched = [item for worker in self.busy for item in (worker.pipe, worker.process.sentinel)]
        multiprocessing.connection.wait(watched, timeout=self.limits.poll)
        for worker in list(self.busy):
            self._attend(worker)
        read, kept, share = (sum(worker.numbers[index] for worker in self.busy) for index in (READ, KEPT, SHARE))
        self.ledger.tick(int(read), int(kept), share)

    def _attend(self, worker: _Worker) -> None:
        history = worker.history
        assert history is not None
        # Look for a loss first and read the messages then: the last message of a worker that died after it counts.
        loss = worker.loss(self.limits)
        for answer in worker.answers():
            if answer[0] == "note":
                _, row, why, trace = answer
                self.ledger.report_row("quarantine", history, row, why, trace)
            else:
                self._ended(worker, history, error=answer[1], cure=answer[2])
                return
        if loss:
            self._lost(worker, history, loss)

    def _ended(self, worker: _Worker, history: History, error: str | None, cure: str) -> None:
        """The unit came to its end, with an error or committed; see `worker.outcome` for what may cure the error."""
        self.busy.remove(worker)
        worker.history = None
        if self.limits.recycle and worker.memory() > self.limits.recycle:
            self.engine.dismiss(worker)
        if error is None:
            self.ledger.committed(history)
        elif cure == "person":
            raise OSError(error)
        elif cure == "retry":
            self.ledger.failed(history, error)
        else:
            self.ledger.give_up(history, error)

    def _lost(self, worker: _Worker, history: History, loss: _Loss) -> None:
        """The worker died or hangs: go on without it. The rows in its guard may be to blame."""
        trace = worker.trace(ask=loss.kind != "crash")
        first, rows = int(worker.numbers[FIRST]), int(worker.numbers[ROWS])
        stage = worker.stage.value.decode()
        self.busy.remove(worker)
        self.engine.dismiss(worker)
        if loss.row:
            self.ledger.lost_rows(history, first, rows, Quarantine(stage, loss.kind, loss.detail), trace)
        else:
            reason = f"its process ended ({loss.detail})" if loss.kind == "crash" else loss.detail
            self.ledger.failed(history, reason, trace)


def _exit_reason(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


@contextlib.contextmanager
def _blank_main() -> Iterator[None]:
    """Hide the main module while a process is spawned.

    A spawned process imports the main module of its parent. Ours need not: the works that they run live in modules.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
