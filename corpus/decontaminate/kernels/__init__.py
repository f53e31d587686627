"""The compiled loops of decontamination: `contain` (the n-grams of texts, and which of them are in a table).

They read NumPy views of Arrow buffers and tables, and write to arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-decontaminate", Path(__file__).parent, SOURCES)
