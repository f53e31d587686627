"""Ctrl-C and SIGTERM while an engine runs: the first asks the engine to stop, the second ends the process at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from corpus.engine.base import Interrupted


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """A function that raises Interrupted once the process has received Ctrl-C or SIGTERM.

    Outside of the main thread no signal can be handled, and the function never raises.
    """
    requested = False

    def check() -> None:
        if requested:
            raise Interrupted

    def handle(signum: int, frame: Any) -> None:
        nonlocal requested
        requested = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
