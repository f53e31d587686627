"""The compiled loops of deduplication, a file a subject: mixing, blocks, words, sign, exchange, compare, lines,
repeated.

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated. Integers are kept in explicit
unsigned types, because Numba turns uint64 mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# The only kernels from elsewhere that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-dedup", Path(__file__).parent, [_MEMORY])
