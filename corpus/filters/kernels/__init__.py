"""The compiled loops of the filters, one file for each subject.

URLs: `addresses` (host and page of a URL), `lists` (the lines of a block list), `judge` (URLs that may fail a rule).
Words: `chunks` (text to words), `simple` (the words of new chunks), `grams` (repeated n-grams).

In: NumPy arrays, or memory addresses of Arrow's buffers and of tables, which the caller keeps alive. Out: numbers,
written into arrays of the caller. Hashes have explicit unsigned types, because Numba silently turns uint64 mixed with
int64 into float64.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# Kernels of another package that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-filters", Path(__file__).parent, [_MEMORY])
