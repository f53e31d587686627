"""The compiled loops of the classifier: linear (a linear model's score of a text).

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler

kernel = compiler("corpus-classifier", Path(__file__).parent)
