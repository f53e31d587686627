"""Every compiled function of `bpe`, a file a subject: memory, split, tables, words, encode, count,
merge.

They are module-level functions, never closures, which Numba cannot cache on disk (numba issue 6264). And they are
kept in a folder named after the contents of all files that are compiled together: Numba looks for changes in the file
of the function that it compiles and in no other, so that a callee elsewhere would go stale unseen.

Text and tables are read through raw addresses (`memory.load*`): a Numba array passed between functions costs
reference counting at every call, which made the scanner nine times slower (16 against 143 MB/s). So the caller keeps
the arrays alive, and every loop is bounded by the `end` that it is given.

A kernel whose name begins with an underscore is called by other kernels alone. It is part of their machine code, and
on disk only as that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numba

from bpe.compiled import Function, cache_folder, cached_in, config, njit

# Its attributes are made at run time.
types: Any = numba.types


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, without the GIL, and keep the machine code on disk.

    Every integer that another kernel passes to it becomes an int64. For Numba takes a constant, a number and an
    address for three types, and compiles a function, with all that it calls, for each combination: 17 s for the
    encoder, where one signature a function takes 10.
    """
    is_entry = not function.__name__.startswith("_")
    with cached_in(_cache_folder(config.CACHE_DIR)):
        compiled: Any = njit(cache=is_entry, nogil=True, no_cfunc_wrapper=True)(function)
    resolve = compiled.get_call_template  # what Numba asks when it meets a call in another kernel
    compiled.get_call_template = lambda args, kws: resolve(tuple(map(_widened, args)), kws)
    return cast(Function, compiled)


def _widened(kind: Any) -> Any:
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) else kind


def _cache_folder(configured: str) -> str:
    here = Path(__file__).parent
    return cache_folder("bpe", here, (here.parent / "unicode.py",), configured)


def is_compiled(*entries: str) -> bool:
    """Whether there is machine code on disk of each entry, such as "encode.encode_texts": else its first call takes
    seconds."""
    folder = Path(_cache_folder(config.CACHE_DIR))
    return all(any(folder.rglob(f"{entry}-*.nbi")) for entry in entries)
