"""Keeps compiled functions on disk: `compiler` makes the decorator of a package of kernels.

Numba notices changes only in the file of the function that it compiles. A changed callee in another file would go
unseen, so machine code lies in a folder named after the contents of all files that are compiled together.

Compilation takes seconds for each kernel, a minute for all. A process that compiles says so, once in a run, on standard
error. Of several processes that need a kernel at the same time one compiles it; the others wait and load its machine
code. `corpus warm-up` compiles all kernels beforehand.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.core.event import Event, Listener, install_listener

from bpe.terminal.text import say

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
        folder = cache_folder(name, package, tuple(more), config.CACHE_DIR)
        is_entry = not function.__name__.startswith("_")
        with cached_in(folder):
            compiled = njit(cache=is_entry, nogil=True)(function)
        if is_entry:
            compile_once(compiled, folder)
        return cast(Function, compiled)

    return kernel


def compile_once(compiled: Any, folder: str) -> None:
    """Let one process at a time compile the Numba function `compiled`, whose machine code is kept in `folder`.

    A process first takes Numba's lock of its threads, then the lock of the function's file: so no thread that waits for
    a file holds what another thread of its process needs. Kernels call each other without circles, and so do locks of
    files.
    """
    compile_or_load = compiled.compile
    function = compiled.py_func
    lock = Path(folder, f"{function.__module__.rpartition('.')[2]}.{function.__name__}.lock")

    def compile_alone(signature: Any) -> Any:
        with global_compiler_lock, _locked(lock), install_listener("numba:compile", _Announcer()):
            return compile_or_load(signature)

    compiled.compile = compile_alone


class _Announcer(Listener):
    """Hears from Numba that it compiles, which it does not say of machine code that it loads."""

    def on_start(self, event: Event) -> None:
        announce()

    def on_end(self, event: Event) -> None:
        pass


@functools.cache
def announce() -> None:
    """Say that kernels are being compiled, unless a process of this run has said so.

    A run is a process with its workers; a file beside the kernels of `bpe` holds the id of the newest run that said so.
    """
    parent = multiprocessing.parent_process()
    run = str(parent.pid if parent else os.getpid())
    said = Path(cache_folder("bpe-compiled", Path(__file__).parent / "kernels", (), config.CACHE_DIR), "said")
    with _locked(said) as file:
        if file is not None:
            if file.read() == run:
                return
            file.seek(0)
            file.truncate()
            file.write(run)
    say("compiling for this machine, once; this takes a minute or two ...")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[TextIO | None]:
    """The file, open and locked against other processes; None where no file can be locked."""
    with contextlib.ExitStack() as stack:
        file = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
        yield file


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
