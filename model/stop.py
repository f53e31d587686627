"""Ctrl-C and SIGTERM as a request to stop: the training loop asks for it between updates and ends in good order.

Python lets the main thread alone set handlers, and runs them there. Training in another thread is not stopped by a
signal; the main thread's handlers stay as they are.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """A context that yields a function: whether a signal has arrived.

    After the first signal the handlers from before are in force again, so that a second signal ends the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    # A handler that Python has not set is None and cannot be restored: such a signal is left to whoever set it.
    handlers = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not None}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    for number in handlers:
        signal.signal(number, remember)
    try:
        yield lambda: bool(received)
    finally:
        restore()
