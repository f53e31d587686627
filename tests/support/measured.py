"""A plugin for coverage: a worker process writes down what it has reached whenever a unit ends.

Workers are killed when a run ends, and a killed process writes nothing.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import coverage
from coverage.plugin_support import Plugins

_send = Connection.send


def _saving_send(connection: Connection, message: Any) -> None:
    if isinstance(message, tuple) and message[:1] == ("end",) and (measured := coverage.Coverage.current()):
        measured.save()
    _send(connection, message)


def coverage_init(registry: Plugins, options: Any) -> None:
    Connection.send = _saving_send  # type: ignore[method-assign]
    registry.add_noop(coverage.CoveragePlugin())
