"""Every compiled function of `bpe`, a file a subject: memory, split, encode, count, merge.

They are module-level functions, never closures, which Numba cannot cache on disk (numba issue 6264). And they are
kept in a folder named after the contents of all files that are compiled together: Numba looks for changes in the file
of the function that it compiles and in no other, so that a callee elsewhere would go stale unseen.

Text and tables are read through raw addresses (`memory.load*`): a Numba array passed between functions costs
reference counting at every call, which made the scanner nine times slower (16 against 143 MB/s). So the caller keeps
the arrays alive, and every loop is bounded by the `end` that it is given.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

config: Any = numba.config  # its attributes are made at run time
Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, without the GIL, and keep the machine code on disk."""
    before = config.CACHE_DIR
    config.CACHE_DIR = _cache_folder(before)
    try:
        compiled: Any = numba.njit(cache=True, nogil=True)(function)
    finally:
        config.CACHE_DIR = before
    return cast(Function, compiled)


@functools.cache
def _cache_folder(configured: str) -> str:
    """Below NUMBA_CACHE_DIR where that is set, else beside the sources, else in the user's cache folder."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "unicode.py"]
    name = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    if configured:
        return str(Path(configured, f"bpe-{name}"))
    beside = here / "__pycache__" / name
    with contextlib.suppress(OSError):
        beside.mkdir(parents=True, exist_ok=True)
    if os.access(beside, os.W_OK):
        return str(beside)
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bpe", name))


def is_compiled() -> bool:
    """Whether there is machine code on disk from an earlier process: else the first calls take seconds."""
    return any(Path(_cache_folder(config.CACHE_DIR)).rglob("*.nbi"))
