"""Whole gzip members inflated: by ISA-L where the package `isal` is installed, by zlib elsewhere.

In: compressed bytes in pieces. Out: the same bytes whichever library is there. ISA-L takes less than half of zlib's
time (Intel Intelligent Storage Acceleration Library, igzip; https://github.com/intel/isa-l), and is asked only for
members that are sound from their first byte to their checksum: whoever meets an error reads the member again with
zlib, whose errors, and whose output before an error, are then the answer.
"""

from __future__ import annotations

import zlib
from typing import Any

GZIP_BITS = 16 + zlib.MAX_WBITS


def _backends() -> dict[str, Any]:
    found: dict[str, Any] = {"zlib": zlib}
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine
        return found
    return {"isal": isal_zlib, **found}


BACKENDS = _backends()  # the fastest first
backend: Any = next(iter(BACKENDS.values()))
ERRORS = (zlib.error, *(module.error for module in BACKENDS.values()))


def gzip_inflater() -> Any:
    """A decompressobj of one gzip member; it raises one of `ERRORS`."""
    return backend.decompressobj(GZIP_BITS)
