"""The compiled loops of deduplication: `sign` (hashes and signatures of texts), `exchange` (keys, edges, components),
`compare` (which documents of a block stay).

They read NumPy views of Arrow buffers, and write to arrays that the caller allocated. Arrays that belong together are
fields of a NamedTuple. Integers are kept in explicit unsigned types, because Numba silently turns a sum of uint64 and
int64 into float64.
"""

from __future__ import annotations

from pathlib import Path

from bpe.compiled import compiler
from corpus.text.kernels import SOURCES

kernel = compiler("corpus-dedup", Path(__file__).parent, SOURCES)
