"""The worker's side of the local engine: a spawned process that takes units from a pipe until it closes.

It shares a few numbers with its supervisor: which rows are at work, since when and for how long, and a heartbeat. It
answers over the pipe: ("note", row, quarantine, trace) for a row that the unit gave up by itself, ("end", error, cure)
when the unit ends.

Tracebacks go through a second pipe, to which `faulthandler` writes from a signal handler in C: when the supervisor
sends SIGUSR1, even while a C call holds the interpreter, and before the process dies of a SIGSEGV.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from bpe.terminal.failures import said
from corpus.engine.base import Quarantine, TimeLimit, Work

# The numbers that a worker shares: guard start (monotonic seconds, 0 = no guard), the processor seconds that it had
# used by then, the guard's limit, first row, rows, rows read, rows kept, share of the unit done, last heartbeat. A byte
# array beside them holds the stage's name.
START, USED, LIMIT, FIRST, ROWS, READ, KEPT, SHARE, BEAT = range(9)
NUMBERS = 9
STAGE_BYTES = 64
BEAT_EVERY = 1.0  # seconds
# A row has had its time when it has used the share BUSY of its limit in processor time. If its process was stopped, or
# had to share its processor, it gets its limit PATIENCE times over. Else a row's fate would depend on the load of the
# machine.
BUSY = 0.9
PATIENCE = 4
_NO_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LocalAttempt:
    """An attempt at a unit in this process: it writes the shared numbers and sets the alarm."""

    def __init__(
        self, number: int, careful: bool, quarantine: Mapping[int, Quarantine], shared: Any, stage: Any, pipe: Any
    ) -> None:
        self.number = number
        self.careful = careful
        self.quarantine = quarantine
        self.guarded = False
        self._shared = shared
        self._stage = stage
        self._pipe = pipe

    @contextlib.contextmanager
    def guard(self, stage: str, first: int, rows: int, seconds: float) -> Iterator[None]:
        self._stage.value = stage.encode()[: STAGE_BYTES - 1]
        self._shared[LIMIT], self._shared[FIRST], self._shared[ROWS] = seconds, first, rows
        self._shared[USED], self._shared[START] = time.process_time(), time.monotonic()
        self._patience = PATIENCE
        self.guarded = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            self.guarded = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._shared[START] = 0.0

    def alarm(self) -> None:
        """Raise TimeLimit if the rows at work have used up their time; else set the alarm again."""
        if not self.guarded:
            return
        self._patience -= 1
        limit = float(self._shared[LIMIT])
        if self._patience and time.process_time() - self._shared[USED] < BUSY * limit:
            signal.setitimer(signal.ITIMER_REAL, limit)
        else:
            raise TimeLimit

    def progress(self, read: int, kept: int, share: float) -> None:
        self._shared[READ], self._shared[KEPT], self._shared[SHARE] = read, kept, share

    def note(self, row: int, why: Quarantine, trace: str) -> None:
        self._pipe.send(("note", row, why, trace))


def work(pipe: Any, traces: Any, shared: Any, stage: Any, parent: int) -> None:
    """A worker process: take units until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    faulthandler.enable(traces.fileno())
    faulthandler.register(signal.SIGUSR1, traces.fileno(), all_threads=True)
    threading.Thread(target=_beat, args=(shared,), daemon=True).start()
    attempt: LocalAttempt | None = None

    def alarm(signum: int, frame: Any) -> None:
        if attempt is not None:
            attempt.alarm()

    signal.signal(signal.SIGALRM, alarm)
    while True:
        try:
            pickled, unit, number, careful, quarantine = pipe.recv()
        except (EOFError, OSError):
            return
        attempt = LocalAttempt(number, careful, quarantine, shared, stage, pipe)
        pipe.send(("end", *outcome(pickled, unit, attempt)))


def outcome(pickled: bytes, unit: Any, attempt: LocalAttempt) -> tuple[str | None, str]:
    """Run the unit. Returns (the error, None if it is committed; the cure).

    The cure is "retry" for an error that may pass, "person" for an error that all units would meet until somebody
    removes its cause, and "" for one that no other attempt would avoid.
    """
    todo: Work | None = None
    try:
        todo = pickle.loads(pickled)
        todo.run(unit, attempt)
    except (ValueError, FileNotFoundError) as error:  # the input or the settings are wrong
        return said(error) or str(error) or type(error).__name__, ""
    except OSError as error:
        if error.errno in _NO_WRITING:
            error = OSError(error.errno, os.strerror(error.errno), getattr(todo, "output", unit.key))
            return f"{said(error)}", "person"
        return said(error) or str(error) or type(error).__name__, "retry"  # a lost mount, a network
    except Exception as error:  # noqa: BLE001 - reported to the supervisor, which fails the unit loudly
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})", "retry"
    return None, ""


def _beat(shared: Any) -> None:
    while True:
        shared[BEAT] = time.monotonic()
        time.sleep(BEAT_EVERY)


def _die_with(parent: int) -> None:
    """End this process when the supervisor ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)
