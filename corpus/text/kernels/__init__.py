"""The compiled loops that several stages use, a file a subject: mixing (hashes of a word of memory), blocks (vectors of
64 characters), words (UTF-8 to folded words and their hashes).

In: addresses of bytes and tables, which the caller keeps alive. Integers are kept in explicit unsigned types, because
Numba turns uint64 mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

_HERE = Path(__file__).parent
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

# Every file whose functions are compiled into a kernel that calls one of these.
SOURCES = [*sorted(_HERE.glob("*.py")), _MEMORY]

kernel = compiler("corpus-text", _HERE, [_MEMORY])
