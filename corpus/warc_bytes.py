"""A WARC file as bytes: gzip members inflated one by one, and the way back to sense after damage.

In: a stream that is read forward only. Out: readers over one gzip member (or over a plain file) that raise
`zlib.error` or `Truncated` where the bytes end in damage, and `next_start`, the next offset at which a record can
begin. A `Window` keeps the compressed bytes since the member began, because a broken deflate stream may run far
past its true end before zlib notices: the search has to begin behind the member's first byte.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import Any, BinaryIO

BLOCK = 64 * 1024
GZIP = b"\x1f\x8b\x08"
WARC = b"WARC/"

_LOOKBACK = 32 * 1024 * 1024  # compressed bytes kept for going back; a member of Common Crawl holds 5 MiB at most
_MAX_HEADER = 1024 * 1024  # WARC and HTTP header lines of one record
_START = re.compile(rb"\x1f\x8b\x08|(?<=[\n\0])WARC/[01]\.")


def next_start(window: Window, at: int) -> int:
    """The first offset from `at` on where a record can begin, or the end of the file."""
    at = max(at, window.start)
    while block := window.peek(at, BLOCK):
        for match in _START.finditer(block):
            start = at + match.start()
            if match[0] != GZIP or _inflates_to_record(window.peek(start, 4096)):
                return start
        if len(block) < BLOCK:
            break
        at += len(block) - 8  # a match may lie across the border
        window.forget(at)
    return window.end


def _inflates_to_record(head: bytes) -> bool:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, len(WARC)) == WARC
    except zlib.error:
        return False


class Window:
    """A stretch of the file from `start` to `end`: what was read and may be read again."""

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream = stream
        self._bytes = bytearray()
        self.start = start
        self.end = start

    def peek(self, at: int, size: int) -> bytes:
        """The bytes at `at`, short only at the end of the file."""
        while self.end < at + size and (block := self._stream.read(BLOCK)):
            self._bytes += block
            self.end += len(block)
        with memoryview(self._bytes) as view:
            return bytes(view[at - self.start : at - self.start + size])

    def forget(self, before: int) -> None:
        """Let go of the bytes before `before`."""
        if before > self.start:
            del self._bytes[: before - self.start]
            self.start = min(before, self.end)


class Plain(io.RawIOBase):
    """The file as it is, from `at` on."""

    def __init__(self, window: Window, at: int) -> None:
        self._window = window
        self._position = at

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._window.peek(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        self._window.forget(self._position - _LOOKBACK)
        return len(data)


class Member(io.RawIOBase):
    """One gzip member, inflated. `position` is the next byte of the file; `fault` the error that ended it."""

    def __init__(self, window: Window, at: int) -> None:
        self._window = window
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._start = at
        self.position = at
        self.fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.fault is not None:
            raise self.fault
        data = b""
        while not data and not self._inflater.eof:
            block = self._window.peek(self.position, BLOCK)
            if not block:
                self.fault = Truncated()
                raise self.fault
            try:
                data = self._inflater.decompress(block, len(buffer))
            except zlib.error as error:
                self.fault = error
                data = _before_error(block, len(buffer)) if self.position == self._start else b""
                if not data:
                    raise
                break
            inflater = self._inflater  # at the end, zlib leaves the rest of the input in both of its fields
            self.position += len(block) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
            self._window.forget(self.position - _LOOKBACK)
        buffer[: len(data)] = data
        return len(data)


def _before_error(block: bytes, size: int) -> bytes:
    """What inflates before the error: zlib drops the output of the call that fails, and it holds the header."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    data = bytearray()
    try:
        for at in range(len(block)):  # byte by byte, so that the call that fails has little to drop
            data += inflater.decompress(block[at : at + 1])
            if len(data) >= size:
                break
    except zlib.error:
        pass
    return bytes(data[:size])


class Reader(io.BufferedReader):
    """Lines and bytes of one member, with an end to what headers may hold."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw, BLOCK)
        self.header_bytes = 0

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(BLOCK if size is None or size < 0 else min(size, BLOCK))
        self.header_bytes += len(line)
        if self.header_bytes > _MAX_HEADER:
            raise HeaderTooLong(f"header lines of more than {_MAX_HEADER} bytes")
        return line


class Truncated(Exception):
    """The file ends inside a gzip member."""


class HeaderTooLong(Exception):
    """A record's header does not end."""


def skip_newlines(source: Reader) -> None:
    while source.peek(1)[:1] in (b"\r", b"\n"):
        source.read(1)


def skip_to_record(source: Reader) -> bytes:
    """Move on to the next line that begins a record in the same member; b"" if there is none."""
    fresh = True  # at the start of a line
    while head := source.peek(1):
        if fresh and head.startswith(WARC):
            return head
        end = head.find(b"\n" + WARC)
        end = head.rfind(b"\n") if end < 0 else end
        if end >= 0:
            source.read(end + 1)
            fresh = True
        else:
            fresh = io.BufferedReader.readline(source, BLOCK).endswith(b"\n")
    return b""
