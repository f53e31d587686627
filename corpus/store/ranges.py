"""An object that is read in ranges, as a seekable file.

In: a function that fetches a range, and the size of the object. Out: a buffered reader. Each read of it that the buffer
cannot serve is one range, so a connection that breaks costs one range.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

READ_AHEAD = 4 << 20  # bytes of a read when an object is read from its beginning to its end


def range_reader(fetch: Callable[[int, int], bytes], size: int, ahead: int = READ_AHEAD) -> io.BufferedReader:
    """The object of `size` bytes whose bytes `fetch(start, length)` gives."""
    return io.BufferedReader(_Ranges(fetch, size), ahead)


class _Ranges(io.RawIOBase):
    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._position))
        if length:
            buffer[:length] = self._fetch(self._position, length)
            self._position += length
        return length
