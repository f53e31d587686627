"""Units on this machine: supervised processes, no server.

Every unit runs in a spawned worker process, also with one worker, so that a page that hangs in C code or kills its
process takes one attempt with it and nothing else. The supervisor watches a few shared numbers per worker (the
guard: since when, for how long, which rows), kills what overstays or eats the memory, learns from the guard which row
did it, and starts the unit again without that row. Workers die with the supervisor, and ignore Ctrl-C, which is its
business.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from corpus.engine import Event, Failure, Limits, Quarantine, State, TimeLimit, Unit, Work

# The numbers that a worker shares: guard start (monotonic seconds, 0 = no guard), its limit, first row, rows,
# rows read, rows kept, share of the unit done. The stage's name travels in a byte array beside them.
_START, _LIMIT, _FIRST, _ROWS, _READ, _KEPT, _SHARE = range(7)
_STAGE_BYTES = 64
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: workers are stopped, committed units stay."""


def run(
    work: Work,
    units: Sequence[Unit],
    workers: int,
    on_event: Callable[[Event], None],
    limits: Limits | None = None,
) -> list[Failure]:
    """Run every unit; returns those that failed for good.

    Raises Interrupted after Ctrl-C or SIGTERM, when all workers are gone.
    """
    return _Supervisor(work, units, workers, on_event, limits or Limits()).run()


class _Worker:
    """A worker process as its supervisor sees it."""

    def __init__(self, context: Any, work: Work) -> None:
        self.numbers = context.RawArray("d", 7)
        self.stage = context.RawArray("c", _STAGE_BYTES)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(work, theirs, self.numbers, self.stage, os.getpid()), daemon=True
        )
        self.process.start()
        theirs.close()
        self.state: State | None = None

    def give(self, state: State) -> None:
        self.state = state
        state.attempts += 1
        self.numbers[:] = [0.0] * 7
        self.pipe.send((state.unit, state.attempts, state.careful, dict(state.quarantine)))

    def overstayed(self, grace: float) -> bool:
        start = float(self.numbers[_START])
        return start > 0 and time.monotonic() > start + float(self.numbers[_LIMIT]) + grace

    def memory(self) -> int:
        """MiB of resident memory while rows are at work; 0 where that cannot be told."""
        if not self.numbers[_START]:
            return 0
        try:
            with open(f"/proc/{self.process.pid}/statm") as file:
                return int(file.read().split()[1]) * _PAGE >> 20
        except (OSError, IndexError):  # it has just ended, or there is no /proc
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Supervisor:
    def __init__(
        self,
        work: Work,
        units: Sequence[Unit],
        workers: int,
        on_event: Callable[[Event], None],
        limits: Limits,
    ) -> None:
        self.work = work
        self.waiting = deque(State(unit) for unit in units)
        self.width = max(1, min(workers, len(units)))
        self.on_event = on_event
        self.limits = limits
        self.context = multiprocessing.get_context("spawn")
        self.workers: list[_Worker] = []
        self.failures: list[Failure] = []
        self.done = 0
        self.stop = False

    def run(self) -> list[Failure]:
        with _signals(self._interrupt):
            try:
                while self.waiting or any(worker.state for worker in self.workers):
                    self._step()
            finally:
                for worker in self.workers:
                    worker.kill()
        return self.failures

    def _interrupt(self) -> None:
        self.stop = True

    def _step(self) -> None:
        if self.stop:
            raise Interrupted
        busy = [worker for worker in self.workers if worker.state]
        while self.waiting and len(busy) < self.width:
            worker = next((worker for worker in self.workers if not worker.state), None) or self._hire()
            worker.give(self.waiting.popleft())
            busy.append(worker)
        watched = [worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy]
        multiprocessing.connection.wait(watched, timeout=self.limits.poll)
        for worker in busy:
            self._attend(worker)
        in_work = [worker.numbers for worker in self.workers if worker.state]
        read, kept, share = (sum(numbers[index] for numbers in in_work) for index in (_READ, _KEPT, _SHARE))
        self.on_event(Event("tick", read=int(read), kept=int(kept), share=share, done=self.done))

    def _hire(self) -> _Worker:
        worker = _Worker(self.context, self.work)
        self.workers.append(worker)
        return worker

    def _attend(self, worker: _Worker) -> None:
        state = worker.state
        assert state is not None
        answer = None
        with contextlib.suppress(EOFError, OSError):
            if worker.pipe.poll():
                answer = worker.pipe.recv()
        if answer is not None:
            worker.state = None
            error, retry = answer
            if error:
                self._failed(state, error, retry)
            else:
                self.done += 1
                self.on_event(Event("done", state.unit.key, done=self.done))
        elif not worker.process.is_alive():
            self._lost(worker, state, "crash", _exit_reason(worker.process.exitcode))
        elif worker.overstayed(self.limits.grace):
            self._lost(worker, state, "timeout", f"{worker.numbers[_LIMIT]:g}")
        elif self.limits.memory and worker.memory() > self.limits.memory:
            self._lost(worker, state, "memory", f"{self.limits.memory} MiB")

    def _lost(self, worker: _Worker, state: State, kind: str, detail: str) -> None:
        """The worker died or is stuck: blame the rows in its guard, and go on without it."""
        worker.kill()
        self.workers.remove(worker)
        first, rows = int(worker.numbers[_FIRST]), int(worker.numbers[_ROWS])
        stage = worker.stage.value.decode()
        if not worker.numbers[_START]:
            self._failed(state, f"its process ended ({detail})", retry=True)
        elif len(state.quarantine) >= self.limits.quarantines:
            self._failed(state, f"more than {self.limits.quarantines} of its rows hang or crash", retry=False)
        else:
            if rows == 1:
                state.quarantine[first] = Quarantine(stage, kind, detail)
                self.on_event(Event("quarantine", state.unit.key, f"row {first}: {kind} in {stage} ({detail})"))
            state.careful = state.careful or rows > 1
            self.waiting.appendleft(state)

    def _failed(self, state: State, reason: str, retry: bool) -> None:
        state.failures += 1
        if retry and state.failures < self.limits.attempts:
            self.on_event(Event("retry", state.unit.key, reason))
            self.waiting.append(state)
        else:
            self.failures.append(Failure(state.unit.key, reason))
            self.on_event(Event("failed", state.unit.key, reason))


class _LocalAttempt:
    """The worker's side of an attempt: writes the shared numbers, arms the clock."""

    def __init__(self, number: int, careful: bool, quarantine: Mapping[int, Quarantine], shared: Any, stage: Any):
        self.number = number
        self.careful = careful
        self.quarantine = quarantine
        self._shared = shared
        self._stage = stage
        self.guarded = False

    @contextlib.contextmanager
    def guard(self, stage: str, first: int, rows: int, seconds: float) -> Iterator[None]:
        self._stage.value = stage.encode()[: _STAGE_BYTES - 1]
        self._shared[_LIMIT], self._shared[_FIRST], self._shared[_ROWS] = seconds, first, rows
        self._shared[_START] = time.monotonic()
        self.guarded = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self.guarded = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._shared[_START] = 0.0

    def progress(self, read: int, kept: int, share: float) -> None:
        self._shared[_READ], self._shared[_KEPT], self._shared[_SHARE] = read, kept, share


def _work(work: Work, pipe: Any, shared: Any, stage: Any, parent: int) -> None:
    """A worker process: take units until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    attempt: _LocalAttempt | None = None

    def alarm(signum: int, frame: Any) -> None:
        if attempt is not None and attempt.guarded:
            raise TimeLimit

    signal.signal(signal.SIGALRM, alarm)
    while True:
        try:
            unit, number, careful, quarantine = pipe.recv()
        except (EOFError, OSError):
            return
        attempt = _LocalAttempt(number, careful, quarantine, shared, stage)
        try:
            work.run(unit, attempt)
            answer: tuple[str | None, bool] = (None, False)
        except (ValueError, FileNotFoundError) as error:  # the input or the settings: no use in trying again
            answer = (str(error), False)
        except OSError as error:  # a full disk, a lost mount: may pass
            answer = (str(error), True)
        except Exception as error:  # noqa: BLE001 - reported to the supervisor, which fails the unit loudly
            where = traceback.extract_tb(error.__traceback__)[-1]
            answer = (f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})", True)
        pipe.send(answer)


def _die_with(parent: int) -> None:
    """End this process when the supervisor ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


@contextlib.contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the supervisor to stop; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, frame: Any) -> None:
        interrupt()
        signal.signal(signum, signal.SIG_DFL)

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
