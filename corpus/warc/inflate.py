"""The library that inflates whole gzip members: ISA-L where the package `isal` is installed, and zlib elsewhere.

In: compressed bytes in pieces. Out: the inflated bytes, equal for both libraries. ISA-L takes less than half of zlib's
time (Intel Intelligent Storage Acceleration Library, igzip; https://github.com/intel/isa-l). It is used only for
members that are sound from their first byte to their checksum. A caller that meets an error reads the member again with
zlib, so that the error, and the bytes before it, are zlib's on every machine.
"""

from __future__ import annotations

import zlib
from typing import Any

GZIP_BITS = 16 + zlib.MAX_WBITS


def _backends() -> dict[str, Any]:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine
        return {"zlib": zlib}
    return {"isal": isal_zlib, "zlib": zlib}


BACKENDS = _backends()  # the fastest first
backend: Any = next(iter(BACKENDS.values()))
ERRORS = (zlib.error, *(module.error for module in BACKENDS.values()))


def gzip_inflater() -> Any:
    """A decompressobj for one gzip member; on damage, it raises one of `ERRORS`."""
    return backend.decompressobj(GZIP_BITS)
