"""The compiled loops of line deduplication, a file a subject: lines (hashes of lines),
repeated (lines of many documents).

In: NumPy views of Arrow buffers. Out: arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-lines", Path(__file__).parent, SOURCES)
