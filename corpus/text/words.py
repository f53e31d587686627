"""Memory for the kernels that hash the words of texts (`corpus.text.kernels.words`)."""

from __future__ import annotations

import numpy as np

from bpe.texts import Utf8
from corpus.text.kernels.blocks import BLOCK
from corpus.text.kernels.words import AT_ONCE, GROWTH, Scratch

LONGEST = (2**32 - 1) // GROWTH - BLOCK  # bytes of a text: offsets in the buffer of its folded words have 32 bits


def scratch_for(texts: Utf8) -> Scratch:
    """Memory for hashing the words of these texts. Raises ValueError if one of them is longer than LONGEST."""
    longest = int(np.diff(texts.offsets).max(initial=0))
    if longest > LONGEST:
        raise ValueError(f"text of {longest} bytes: no more than {LONGEST} can be signed; cut it into documents")
    return Scratch(
        np.empty(longest + BLOCK, np.uint8),
        np.empty(GROWTH * longest + 4 * BLOCK, np.uint8),
        np.empty(longest + 2 + AT_ONCE, np.uint32),
        np.empty(longest // 2 + 1, np.uint64),
        np.empty(1024, np.uint64),
    )
