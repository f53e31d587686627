"""The compiled loops that several stages use: `mixing` (a hash of 64 bits), `blocks` (vectors of 64 characters),
`words` (UTF-8 text to folded words and their hashes).

They read bytes and tables by their addresses, and the caller keeps these arrays alive. Integers are kept in explicit
unsigned types, because Numba silently turns a sum of uint64 and int64 into float64.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

_HERE = Path(__file__).parent
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

# The files whose functions become part of a kernel in another folder that calls functions of this one.
SOURCES = [*sorted(_HERE.glob("*.py")), _MEMORY]

kernel = compiler("corpus-text", _HERE, [_MEMORY])
