"""Zstandard frames, as a `.warc.zst` file has them: one for each record, or one for the whole file.

In: the file's bytes at an offset. Out: the frame's own bytes, block by block, so that reading stops exactly where the
frame ends. The library that decompresses them (`zstandard`) reads ahead and does not say how far. A file may begin with
a dictionary, in a skippable frame whose magic number ends in 5D; the dictionary may be compressed itself.

Formats: RFC 8878; https://iipc.github.io/warc-specifications/specifications/warc-zstd/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import zstandard
from zstandard import ZstdError

__all__ = ["FRAME", "MAX_DICTIONARY", "Blocks", "ZstdError", "decompressor", "is_skippable", "read_dictionary"]

FRAME = b"\x28\xb5\x2f\xfd"
MAX_DICTIONARY = 16 * 1024 * 1024  # usual dictionaries have 0.1 to 1 MiB

_MAX_WINDOW = 1 << 27  # bytes that `zstd --ultra -22` needs; by default the program zstd, too, refuses more
_DICTIONARY = b"\x37\xa4\x30\xec"
_PIECE = 64 * 1024


def is_skippable(head: bytes) -> bool:
    """Whether `head` begins with the eight bytes of a skippable frame's header."""
    return len(head) >= 8 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"


def read_dictionary(data: bytes) -> bytes:
    """The dictionary in the content of a skippable frame; b"" if the content is something else."""
    if data.startswith(FRAME):
        try:
            with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(data) as reader:
                data = reader.read(MAX_DICTIONARY)
        except ZstdError:
            return b""
    return data if data.startswith(_DICTIONARY) else b""


def decompressor(dictionary: bytes) -> Any:
    """A decompressor that refuses windows of more than 128 MiB."""
    if not dictionary:
        return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return zstandard.ZstdDecompressor(dict_data=_loaded(dictionary), max_window_size=_MAX_WINDOW)


@lru_cache(maxsize=1)
def _loaded(dictionary: bytes) -> Any:
    return zstandard.ZstdCompressionDict(dictionary)


class Blocks:
    """A file object over the bytes of the frame at `at` alone.

    `peek(offset, size)` gives bytes of the WARC file, fewer than `size` only at its end.

    position  the offset in the file of the next byte
    ended     whether the last byte of the frame was read
    """

    def __init__(self, peek: Callable[[int, int], bytes], at: int) -> None:
        self._peek = peek
        self._checksum = 0  # length of the checksum behind the last block, in bytes
        self._pending = self._header_size(at)  # bytes before the next block's header
        self._last = False  # whether the block at hand is the last
        self.position = at
        self.ended = False

    def _header_size(self, at: int) -> int:
        """Bytes of the frame's header (RFC 8878, section 3.1.1.1)."""
        descriptor = (self._peek(at, 5)[4:] or b"\0")[0]
        single = descriptor >> 5 & 1
        self._checksum = 4 * (descriptor >> 2 & 1)
        content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
        return 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + content

    @property
    def has_checksum(self) -> bool:
        return self._checksum > 0

    def read(self, size: int = _PIECE) -> bytes:
        pieces = []
        while size > 0 and not self.ended:
            if not self._pending and not self._next():
                break
            piece = self._peek(self.position, min(size, self._pending))
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            self.position += len(piece)
            self._pending -= len(piece)
            self.ended = self._last and not self._pending
        return b"".join(pieces)

    def _next(self) -> bool:
        """Begin the next block, whose bytes begin with its header. False if the file ends before."""
        header = self._peek(self.position, 3)
        if len(header) < 3:
            return False
        bits = int.from_bytes(header, "little")
        self._last = bool(bits & 1)
        self._pending = 3 + (1 if bits >> 1 & 3 == 1 else bits >> 3) + (self._checksum if self._last else 0)
        return True
