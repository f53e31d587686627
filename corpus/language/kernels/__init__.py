"""The compiled loops of stages that read pages, a file a subject: page_text.

In: addresses of bytes and tables, which the caller keeps alive. Out: what is written to an address that the caller
vouches for. `bpe.kernels` says why addresses and not arrays.
"""

from __future__ import annotations

from pathlib import Path

import bpe
from bpe.compiled import compiler

# The only kernels from elsewhere that are compiled into these.
_MEMORY = Path(bpe.__file__).parent / "kernels/memory.py"

kernel = compiler("corpus-pages", Path(__file__).parent, [_MEMORY])
