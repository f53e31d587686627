"""The arguments of public functions, checked by name before any work.

In: the name of an argument and the value that a caller passed. Out: the value as the function works with it, such as a
number of Python for a number of NumPy. A value of a wrong type raises TypeError, a value that is out of bounds raises
ValueError; the message names the argument, the value and the fix. The three packages check their arguments here, so
that one mistake has one message. Nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from bpe.parse import brief

# A flag of one of our commands in a message: `-o`, `--batch-tokens`.
_FLAG = re.compile(r"(?<![\w-])(?<!pip install )(-o|--[a-z][a-z-]+)\b")
_ARGUMENTS = {"-o": "output", "--lid-model": "model"}  # of a flag whose argument has another name


def plain(value: Any) -> Any:
    """A scalar of NumPy as Python's own; any other value as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def whole_number(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """`value`, if it is a whole number from `low` to `high`. Raises TypeError for another type, ValueError."""
    number = plain(value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} = {brief(repr(value))}: should be a whole number")
    _check_bounds(name, number, low, high)
    return number


def number(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """`value`, if it is a number from `low` to `high` and not NaN. Raises TypeError for another type, ValueError."""
    checked = real(name, value)
    if checked != checked:
        raise ValueError(f"{name} = nan: should be a number")
    _check_bounds(name, checked, low, high)
    return checked


def real(name: str, value: Any) -> float:
    """`value`, if it is a number that a float can hold, NaN included. Raises TypeError for another type, ValueError."""
    scalar = plain(value)
    if not isinstance(scalar, int | float) or isinstance(scalar, bool):
        raise TypeError(f"{name} = {brief(repr(value))}: should be a number")
    if isinstance(scalar, int) and abs(scalar) > sys.float_info.max:
        raise ValueError(f"{name} = {brief(scalar)}: should be a number below 1e308")
    return scalar


def _check_bounds(name: str, value: float, low: float | None, high: float | None) -> None:
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None and value > high:
            raise ValueError(f"{name} = {value}: should be between {low} and {high}")
        raise ValueError(f"{name} = {value}: should be at {f'least {low}' if low is not None else f'most {high}'}")


def string(name: str, value: Any) -> str:
    """`value`, if it is a string. Raises TypeError."""
    if not isinstance(value, str):
        raise of_type(name, value, "a str")
    return value


def path(name: str, value: Any) -> str:
    """A path as a string, of a string or a `pathlib.Path`. Raises TypeError, and ValueError for the empty string."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise of_type(name, value, "a path, as str or pathlib.Path")
    if not text:
        raise ValueError(f"{name} is empty: name a file or folder")
    return text


def paths(name: str, value: Any) -> list[str]:
    """The paths as strings, of one path or of several. Raises TypeError, and ValueError for none or an empty one."""
    one = isinstance(value, str | os.PathLike)
    found = [path(name, item) for item in ([value] if one else several(name, value, "a path or a list of paths"))]
    if not found:
        raise ValueError(f"{name} is empty: name a file, a folder or a pattern at least")
    return found


def several(name: str, value: Any, what: str) -> Iterable[Any]:
    """`value`, if it has items: an iterable, but no string, whose items would be its characters. Raises TypeError.

    `what` says in the message what to pass: "several texts, such as a list of strings".
    """
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise of_type(name, value, what)
    return value


def strings(name: str, value: Any) -> tuple[str, ...]:
    """The items of `value`, if they are all strings. Raises TypeError."""
    items = tuple(several(name, value, "a list of strings"))
    wrong = next((index for index, item in enumerate(items) if not isinstance(item, str)), None)
    if wrong is not None:
        raise of_type(f"{name}[{wrong}]", items[wrong], "a str")
    return items


def instance(name: str, value: Any, kind: type, how: str) -> Any:
    """`value`, if it is of the class `kind`; `how` says in the message how to get one. Raises TypeError."""
    if not isinstance(value, kind):
        raise of_type(name, value, f"a {kind.__name__}, {how}")
    return value


def mapping(name: str, value: Any, example: str) -> Mapping[Any, Any]:
    """`value`, if it is a dict or another mapping; `example` shows one in the message. Raises TypeError."""
    if not isinstance(value, Mapping):
        raise of_type(name, value, f"a dict, as in {example}")
    return value


def function(name: str, value: Any) -> Any:
    """`value`, if it can be called, or None: nothing is to be called. Raises TypeError."""
    if value is not None and not callable(value):
        raise of_type(name, value, "a function, such as print")
    return value


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """`value`, if it is one of the strings `known`. Raises ValueError that lists them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} = {brief(repr(value))}: should be one of {', '.join(known)}")
    return value


def of_type(name: str, value: Any, what: str) -> TypeError:
    """The error for an argument of a wrong type; `what` says what to pass."""
    return TypeError(f"{name} is of type {type(value).__name__}: pass {what}")


def check_apart(inputs: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Raises ValueError if the output is one of the inputs, which are paths, addresses or patterns of local files."""
    for item in inputs:
        text = os.fspath(item)
        named = glob.glob(text) if glob.has_magic(text) and not _is_address(text) else [text]
        if any(_place(one) == _place(os.fspath(output)) for one in named):
            raise ValueError(f"{os.fspath(output)}: is the input too; name another output")


def _is_address(path: str) -> bool:
    return "://" in path and not path.startswith("file://")


def _place(path: str) -> str:
    return path.rstrip("/") if _is_address(path) else os.path.realpath(path.removeprefix("file://"))


@contextlib.contextmanager
def without_flags() -> Iterator[None]:
    """Turns flags into arguments in the messages of errors that the body raises: `--batch-tokens` into `batch_tokens`.

    The commands and the functions share the code below them, whose messages speak of flags.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (as_arguments(error.args[0]),)
        raise


def without_flags_in(log: Callable[[str], None]) -> Callable[[str], None]:
    """`log`, called with lines in which flags have become arguments."""
    return lambda line: log(as_arguments(line))


def as_arguments(message: str) -> str:
    """A message with the names of arguments where it has flags; a command between backquotes stays as it is."""
    parts = message.split("`")
    parts[::2] = [_FLAG.sub(lambda flag: _argument(flag[1]), part) for part in parts[::2]]
    return "`".join(parts)


def _argument(flag: str) -> str:
    return _ARGUMENTS.get(flag, flag.removeprefix("--").replace("-", "_"))
