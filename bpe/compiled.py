"""Keeps compiled functions on disk: `compiler` makes the decorator of a package of kernels.

Numba notices changes only in the file of the function that it compiles. A changed callee in another file would go
unseen, so machine code lies in a folder named after the contents of all files that are compiled together.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

# Made at run time, or without types.
config: Any = numba.config
njit: Any = numba.njit
Function = TypeVar("Function", bound=Callable[..., object])


@contextlib.contextmanager
def cached_in(folder: str) -> Iterator[None]:
    """The machine code of functions that are decorated in the block lies in this folder."""
    before = config.CACHE_DIR
    config.CACHE_DIR = folder
    try:
        yield
    finally:
        config.CACHE_DIR = before


def compiler(name: str, package: Path, more: Sequence[Path] = ()) -> Callable[[Function], Function]:
    """A decorator for the kernels in the folder `package`, whose machine code depends on the files `more` too.

    A function is compiled at its first call and runs without the GIL. A function whose name begins with an underscore
    is called by other kernels only: it is part of their machine code and not kept on disk by itself.
    """

    def kernel(function: Function) -> Function:
        with cached_in(cache_folder(name, package, tuple(more), config.CACHE_DIR)):
            compiled = njit(cache=not function.__name__.startswith("_"), nogil=True)(function)
        return cast(Function, compiled)

    return kernel


@functools.cache
def cache_folder(name: str, package: Path, more: tuple[Path, ...], configured: str) -> str:
    """Below NUMBA_CACHE_DIR (`configured`) where that is set, else beside the sources, else in the user's cache."""
    sources = [*sorted(package.glob("*.py")), *more]
    parts = [numba.__version__.encode(), *(source.read_bytes() for source in sources)]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    if configured:
        return str(Path(configured, f"{name}-{digest}"))
    beside = package / "__pycache__" / digest
    with contextlib.suppress(OSError):
        beside.mkdir(parents=True, exist_ok=True)
    if os.access(beside, os.W_OK):
        return str(beside)
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", name, digest))
