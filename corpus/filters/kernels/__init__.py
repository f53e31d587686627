"""The compiled loops of the filters: linear, a fastText classifier.

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler

kernel = compiler("corpus-filters", Path(__file__).parent)
