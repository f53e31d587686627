"""The compiled loops of stages that read pages; each file has one subject: page_text.

In: addresses of bytes and tables, which the caller keeps alive. Out: bytes at an address behind which the caller has
made enough room. `bpe.kernels` says why kernels take addresses and no arrays.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# Kernels of another package that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-pages", Path(__file__).parent, [_MEMORY])
