"""The compiled loops of the filters, a file a subject.

`addresses` (what is in a URL), `lists` (what is in a list of them), `judge`; `chunks`, `simple`, `grams` (words);
`linear` (a fastText classifier). In: NumPy arrays, or addresses of Arrow's buffers and of tables, which the caller
keeps alive. Out: numbers written where the caller says. Hashes are kept in explicit unsigned types, because Numba
turns uint64 mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# The only kernels from elsewhere that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-filters", Path(__file__).parent, [_MEMORY])
