"""The compiled loops of the filters, a file a subject: chunks, grams.

In: NumPy arrays and addresses of their data, which the caller keeps alive. Out: arrays that the caller allocated, or
numbers.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# The only kernels from elsewhere that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-filters", Path(__file__).parent, [_MEMORY])
