"""Ctrl-C and SIGTERM as a request to stop: the training loop asks for it between updates and ends in good order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """A context that yields a function: whether a signal has arrived.

    After the first signal the handlers from before are in force again, so that a second signal ends the process.
    """
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    for number in SIGNALS:
        signal.signal(number, remember)
    try:
        yield lambda: bool(received)
    finally:
        restore()
