"""The compiled loops of the classifier: `linear` adds up the weights of a text's words.

In: NumPy views of Arrow buffers and of tables. Out: arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler

kernel = compiler("corpus-classifier", Path(__file__).parent)
