"""How a stage declares its settings.

A stage's `Config` is a frozen dataclass whose fields are made by `setting`: default, one-line help with the unit
and the source of the number, bounds. The same declaration is read three times: to check a recipe, to make the
command-line flags and to write the help texts. Nothing else describes a setting, so nothing can disagree.

    @dataclass(frozen=True)
    class Config:
        threshold: float = setting(0.65, "keep a page when P(language) is above this (FineWeb)", low=0, high=1)
        languages: tuple[str, ...] = setting(("en",), "languages to keep", flag="--language")
        longest: int | None = setting(100, "most words; a number that may be None is switched off by the word off")
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection
from typing import Any

from bpe.arguments import plain
from bpe.parse import brief

OFF = "off"  # the word for None in a recipe: TOML has no None

# Metadata of a field of a step's Config that names a file which a pass before it has written, in any storage: each
# machine gets a copy of it, as of the files that settings name (`corpus.run.remote`).
WRITTEN = {"path": True}

_SCALARS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Collection[str] | None = None,
    flag: str | None = None,
    path: bool = False,
    of: str | None = None,
) -> Any:
    """A documented field of a stage's Config.

    `low` and `high` are inclusive bounds; `choices` the allowed strings; `flag` the command-line name where
    `--field-name` would be unclear (a tuple field is repeatable there); `path` marks a file whose contents, not
    whose name, are part of the configuration. `of` names another stage that has a setting of this name: this setting
    takes its value and cannot be given one.

    >>> from dataclasses import dataclass
    >>> from corpus import setting
    >>> @dataclass(frozen=True)
    ... class Config:
    ...     max_upper: float = setting(0.3, "largest share of upper-case letters", low=0, high=1)
    >>> Config()
    Config(max_upper=0.3)
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "flag": flag, "path": path, "of": of}
    return dataclasses.field(default=default, metadata=metadata)


def check(config: Any) -> Any:
    """Return `config` if every field has its type and lies in its bounds.

    Raises ValueError naming the field, the value and what would be right. Whole numbers are accepted for floats,
    lists for tuples, NumPy's scalars for Python's; all are converted, so that equal settings hash alike.
    """
    hints = typing.get_type_hints(type(config))
    converted = {
        field.name: _checked(field.name, getattr(config, field.name), hints[field.name], field.metadata)
        for field in dataclasses.fields(config)
    }
    return dataclasses.replace(config, **converted)


def element_type(hint: Any) -> tuple[Any, bool, bool]:
    """(scalar type, is it a tuple of them, may it be None) of a field's annotation."""
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        optional, hint = len(arms) < len(typing.get_args(hint)), arms[0]
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True, optional
    return hint, False, optional


def _checked(name: str, value: Any, hint: Any, metadata: Any) -> Any:
    scalar, many, optional = element_type(hint)
    if optional and (value is None or (value == OFF and scalar is not str)):
        return None
    if many:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} = {brief(repr(value))}: should be a list of {_SCALARS[scalar]} each")
        return tuple(_checked_scalar(name, item, scalar, metadata) for item in value)
    return _checked_scalar(name, value, scalar, metadata)


def _checked_scalar(name: str, value: Any, scalar: type, metadata: Any) -> Any:
    value = plain(value)
    if scalar is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ValueError(f"{name} = {brief(value)}: should be a number below 1e308") from None
    if not isinstance(value, scalar) or (scalar is int and isinstance(value, bool)):
        raise ValueError(f"{name} = {brief(repr(value))}: should be {_SCALARS[scalar]}")
    low, high, choices = metadata.get("low"), metadata.get("high"), metadata.get("choices")
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None:
            bounds = f"between {low:g} and {high:g}"
        else:
            bounds = f"at least {low:g}" if low is not None else f"at most {high:g}"
        raise ValueError(f"{name} = {brief(repr(value))}: should be {bounds}")
    if scalar is float and value != value:
        raise ValueError(f"{name} = nan: should be a number")
    if choices is not None and value not in choices:
        raise ValueError(f"{name} = {brief(repr(value))}: should be one of {', '.join(choices)}")
    return value
