"""The compiled loops of line deduplication: `lines` (hashes of lines), `repeated` (which lines many documents have, and
texts without them).

They read NumPy views of Arrow buffers, and write to arrays that the caller allocated.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-lines", Path(__file__).parent, SOURCES)
