"""The compiled loops of decontamination: contain (the n-grams of a text, and which of them a table holds).

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-decontaminate", Path(__file__).parent, SOURCES)
