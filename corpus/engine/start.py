"""The table of engines.

In: the engine's name, `--workers` and the limits. Out: a started engine. A new engine is a file with an `Engine`, and a
line here; the command line takes its choices and their help from this table.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

from corpus.engine.base import Engine, Limits


class EngineChoice(NamedTuple):
    """An engine that can be asked for by name."""

    place: str  # "module:class" of an `Engine`; the module is loaded when the engine is started
    about: str  # where it runs units, for --help
    workers: str  # what --workers means for it, for --help


ENGINES = {
    "local": EngineChoice(
        "corpus.engine.local:LocalEngine", "processes on this machine", "worker processes (default: as many as cores)"
    ),
    "ray": EngineChoice(
        "corpus.engine.ray:RayEngine",
        "the Ray cluster that RAY_ADDRESS names",
        "units at a time (default: as many as the cluster has CPUs)",
    ),
}
DEFAULT = "local"


def start_engine(name: str, workers: int | None, limits: Limits) -> Engine:
    """The engine `name`. Raises ValueError for a name that is not in the table, or if the engine cannot start."""
    if name not in ENGINES:
        raise ValueError(f"engine {name!r}: there is none of this name; choose one of {', '.join(ENGINES)}")
    module, _, cls = ENGINES[name].place.partition(":")
    engine: Engine = getattr(importlib.import_module(module), cls).started(workers, limits)
    return engine
