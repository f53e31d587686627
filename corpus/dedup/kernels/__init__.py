"""The compiled loops of deduplication, a file a subject: sign, exchange, compare.

In: NumPy views of Arrow buffers and tables. Out: arrays that the caller allocated. Integers are kept in explicit
unsigned types, because Numba turns uint64 mixed with int64 into float64 without a word.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-dedup", Path(__file__).parent, SOURCES)
