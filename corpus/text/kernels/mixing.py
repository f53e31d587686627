"""A hash of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from corpus.text.kernels import kernel

# 2^64 divided by the golden ratio, odd (Knuth, The Art of Computer Programming 3, section 6.4).
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@kernel
def _mix64(x: Any) -> Any:
    """MurmurHash3's 64-bit finalizer: a bijection in which every input bit reaches every output bit."""
    x ^= x >> uint64(33)
    x *= uint64(0xFF51AFD7ED558CCD)
    x ^= x >> uint64(33)
    x *= uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> uint64(33))
