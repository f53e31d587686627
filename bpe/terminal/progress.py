"""Progress of long work on standard error: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from bpe.terminal.text import readable, say

SECONDS = 10.0  # between plain lines


class Live:
    """Shows how far the work called `name` is.

    A subclass or caller opens `showing`, then moves the tasks of `bar` where that is not None, and otherwise prints
    a `line` whenever `due` says so.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Any = None  # rich.progress.Progress; None where standard error is no terminal
        self._shown = time.monotonic()

    @contextlib.contextmanager
    def showing(self, *columns: str, transient: bool = False) -> Iterator[None]:
        """Inside, `bar` is drawn. `columns` are class names of rich.progress, or texts such as `{task.description}`."""
        if not sys.stderr.isatty():
            yield
            return
        from rich import progress
        from rich.console import Console

        made = [progress.TextColumn(c) if "{" in c else getattr(progress, c)() for c in columns]
        self.bar = progress.Progress(*made, console=Console(stderr=True), transient=transient)
        with self.bar:
            yield

    def due(self) -> bool:
        """Whether it is time for another plain line; then the clock starts anew."""
        if time.monotonic() - self._shown <= SECONDS:
            return False
        self._shown = time.monotonic()
        return True

    def line(self, text: str) -> None:
        """Print a line now, above the bar if there is one."""
        if self.bar is not None:
            self.bar.console.print(readable(f"{self.name}: {text}"), markup=False, highlight=False)
        else:
            say(f"{self.name}: {text}")
