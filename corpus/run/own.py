"""A user's own rule: makes a stage of a module that a recipe names.

    [loud]                      # any name that no stage has
    module = "loud"             # loud.py in this folder, or anything that can be imported
    max_upper = 0.2             # settings of its Config

The module has a frozen dataclass `Config`, and either `rule(text, config)`, which is called for each document, or,
where a rule needs other columns or adds columns, `process(batch, config)`, as in our own stages. A rule answers None
where the document stays, and else `Drop(rule, value, threshold)` or `(keep, rule, value, threshold)`. A module may
declare a `STAGE` (corpus.stage.Stage) as our own stages do, and then needs nothing else. Whatever a rule or a process
raises at a document sets this one document aside (corpus.run.chain).

The source code of the module is part of the config hash, so that a changed rule is a changed recipe: all Python files
of its package, or the file of a module that is in no package.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from corpus.config import element_type
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Stage

_TYPES = (int, float, str, bool)
_MAKERS = {"double": "float64", "float": "float32", "halffloat": "float16", "bool": "bool_"}  # of pyarrow, by type


class WrongAnswer(ValueError):
    """A rule or a process answered something that is no answer."""


def declared(name: str, module: str) -> Stage:
    """The STAGE of `module`, or the stage made of a user's module that has a rule or a process instead.

    `name` is the name that the recipe gives it. Raises ValueError if the module cannot be imported, or has no rule.
    """
    loaded = (sys.modules.get(module) if isinstance(module, str) else None) or load(module)
    if isinstance(stage := getattr(loaded, "STAGE", None), Stage):
        return stage
    columns, resources = (getattr(loaded, part, None) for part in ("columns", "resources"))
    process = getattr(loaded, "process", None) or functools.partial(_ask, name, module)
    added = tuple(getattr(loaded, "COLUMNS", ()))
    if wrong := next((column for column in added if not isinstance(column, pa.Field)), None):
        raise ValueError(f"module = {module!r}: COLUMNS has {wrong!r}; should be pa.field(name, type)")
    columns = columns or (lambda config: added)
    judge = functools.partial(_with_its_columns, name, module, process, columns)
    return Stage(name, loaded.Config, judge, columns=columns, resources=resources)


def _with_its_columns(
    stage: str,
    module: str,
    process: Callable[[pa.RecordBatch, Any], Any],
    columns: Callable[[Any], Sequence[pa.Field]],
    batch: pa.RecordBatch,
    settings: Any,
) -> Any:
    """The answer of the module's process. Raises WrongAnswer if it adds other columns than COLUMNS names.

    A column that COLUMNS does not name would be lost, because a shard has the columns that are declared.
    """
    answer = process(batch, settings)
    if not isinstance(answer, Outcome):
        return answer  # which the caller refuses
    declared, names = [field.name for field in columns(settings)], answer.kept.schema.names
    for column in (name for name in names if name not in (*batch.schema.names, *declared)):
        kind = str(answer.kept.schema.field(column).type)
        field = f'pa.field("{column}", pa.{_MAKERS.get(kind, kind)}())'
        raise WrongAnswer(
            f"[{stage}] {module}.process adds the column {column}; add COLUMNS = ({field},) to the module"
        )
    missing = [name for name in declared if name not in names]
    if missing and answer.kept.num_rows:
        raise WrongAnswer(f"[{stage}] {module}.process should add the column {missing[0]}, which its COLUMNS names")
    return answer


def _ask(stage: str, module: str, batch: pa.RecordBatch, settings: Any) -> Outcome:
    """Call the module's rule for each document. Raises WrongAnswer for an answer of the wrong form."""
    rule = importlib.import_module(module).rule
    drops = {}
    for row, text in enumerate(batch.column("text").to_pylist()):
        drop = _drop(rule(text or "", settings), stage, module)
        if drop is not None:
            drops[row] = drop
    return outcome(batch, stage, drops)


def load(module: Any) -> ModuleType:
    """Import the module, from the current folder too. Raises ValueError saying what is wrong with it."""
    if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"module = {module!r}: should be an import path, as in my_package.loud")
    if (here := os.getcwd()) not in sys.path and "" not in sys.path:
        sys.path.append(here)  # worker processes are started with the same path
    try:
        importlib.invalidate_caches()
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            file = module.replace(".", "/") + ".py"
            raise ValueError(f"module = {module!r}: not found; should be {file} in {here}, or installed") from None
        raise ValueError(f"module = {module!r}: cannot be imported: {error}") from None
    except Exception as error:  # noqa: BLE001 - it is not our code, and may do anything
        raise ValueError(
            f"module = {module!r}: cannot be imported: {' '.join(f'{type(error).__name__}: {error}'.split())}"
        ) from None
    if not isinstance(getattr(loaded, "STAGE", None), Stage):
        _check(module, loaded)
    return loaded


def is_own(module: str) -> bool:
    """Whether the module is a user's own, and no stage of this package."""
    return module.partition(".")[0] != __package__.partition(".")[0]


def source_hash(module: str) -> str:
    """SHA-256 over the Python files of a module's package, or over the module's file."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        raise ValueError(f"module = {module!r}: has no source file, so that nobody could tell when it changes")
    file = Path(spec.origin)
    files = sorted(file.parent.rglob("*.py")) if spec.submodule_search_locations else [file]
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(file.parent).as_posix().encode()
        digest.update(b"%d %s %d " % (len(name), name, path.stat().st_size) + path.read_bytes())
    return digest.hexdigest()


def _check(name: str, module: ModuleType) -> None:
    cls = getattr(module, "Config", None)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"module = {name!r}: should have a frozen dataclass Config, of its settings")
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"module = {name!r}: Config should be frozen: @dataclass(frozen=True)")
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name == "module":
            raise ValueError(f"module = {name!r}: Config.module should have another name; the recipe needs this one")
        if element_type(hints[field.name])[0] not in _TYPES:
            raise ValueError(f"module = {name!r}: Config.{field.name} should be an int, float, str, bool or a tuple")
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"module = {name!r}: Config.{field.name} should have a default")
    function = getattr(module, "process", None) or getattr(module, "rule", None)
    if not callable(function):
        raise ValueError(f"module = {name!r}: should have a function rule(text, config), or process(batch, config)")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        form = "process(batch, config)" if hasattr(module, "process") else "rule(text, config)"
        signature = f"{function.__name__}{inspect.signature(function)}"
        raise ValueError(f"module = {name!r}: {signature} should be {form}") from None


def _drop(answer: Any, stage: str, module: str) -> Drop | None:
    if answer is None:
        return None
    if isinstance(answer, Drop):
        rule, value, threshold = answer
    elif isinstance(answer, tuple) and len(answer) == 4 and isinstance(answer[0], bool):
        keep, rule, value, threshold = answer
        if keep:
            return None
    else:
        raise WrongAnswer(
            f"[{stage}] {module}.rule answered {answer!r:.100}; "
            "should be None, Drop(rule, value, threshold) or (keep, rule, value, threshold)"
        )
    prefix = f"{stage}."
    return Drop(rule if str(rule).startswith(prefix) else f"{prefix}{rule}", value, threshold)
