"""Every compiled function of `bpe`, a file for each subject.

    memory    loads, stores and hashes at raw addresses
    scan      where one pretoken ends         blocks   the same for 64 bytes at once     split   both, over a text
    tables    tokens and pairs, looked up     words    what one pretoken becomes         encode  the encoder's loop
    count     the trainer counts pretokens    merge    the trainer merges pairs

Kernels are functions of a module, never closures, which Numba cannot keep on disk (numba issue 6264). Their machine
code lies in a folder named after the contents of all files that are compiled together: Numba itself notices changes
only in the file of the function that it compiles, so changes in a callee elsewhere would go unseen.

Text and tables are read through raw addresses (`memory.load*`). A Numba array passed between functions costs
reference counting at every call, which made the scanner nine times slower (16 against 143 MB/s). So the caller keeps
the arrays alive, and every loop is bounded by an `end` or a count that it gets.

A kernel whose name begins with an underscore is called only in its own file. It is part of its callers' machine code
and is not kept on disk by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numba

from bpe.compiled import Function, cache_folder, cached_in, compile_once, config, njit

types: Any = numba.types  # its attributes are made at run time


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, to run without the GIL, and keep the machine code on disk.

    Every integer that one kernel passes to another becomes an int64. Otherwise Numba takes a constant, a number and an
    address for three types and compiles a function, with all that it calls, for each combination: the encoder takes
    17 s that way, and 10 s with one signature for each function.
    """
    is_entry = not function.__name__.startswith("_")
    folder = _cache_folder(config.CACHE_DIR)
    with cached_in(folder):
        compiled: Any = njit(cache=is_entry, nogil=True, no_cfunc_wrapper=True)(function)
    if is_entry:
        compile_once(compiled, folder)
    resolve = compiled.get_call_template  # what Numba asks when it meets a call in another kernel
    compiled.get_call_template = lambda args, kws: resolve(tuple(map(_widened, args)), kws)
    return cast(Function, compiled)


def _widened(kind: Any) -> Any:
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) else kind


def _cache_folder(configured: str) -> str:
    here = Path(__file__).parent
    return cache_folder("bpe", here, (here.parent / "unicode.py",), configured)
