"""A WARC file as bytes: gzip members and Zstandard frames inflated one by one, and the way back after damage.

In: a stream that is read forward only. Out: readers over one member (or over a plain file) that raise `zlib.error`,
`ZstdError` or `Truncated` where the bytes end in damage and `Bomb` where they inflate out of all proportion, and
`next_start`, the next offset at which a record can begin. A `Window` keeps the compressed bytes since the member
began, because a broken deflate stream may run far past its true end before zlib notices: the search has to begin
behind the member's first byte. How often it does is bounded, so that no file costs more than a few times its length.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import Any, BinaryIO, NamedTuple

from corpus.warc import inflate
from corpus.warc.zstd import FRAME, MAX_DICTIONARY, Blocks, ZstdError, decompressor, is_skippable, read_dictionary

BLOCK = 64 * 1024
GZIP = b"\x1f\x8b\x08"
WARC = b"WARC/"

_LOOKBACK = 32 * 1024 * 1024  # compressed bytes kept for going back; a member of Common Crawl holds 5 MiB at most
_SMALL = 4096  # compressed bytes of a request or of metadata, and more
_MAX_HEADER = 1024 * 1024  # WARC and HTTP header lines of one record
_START = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|(?<=[\n\0])WARC/[01]\.")
# A member that has given this much, and this many times what it took, is a bomb and not read to its end. Real pages
# stay below 30; deflate reaches 1,032, Zstandard 40,000.
_BOMB_BYTES = 64 * 1024 * 1024
_BOMB_RATIO = 100
_REREAD = 8  # times the length of the file that may be gone back over


def next_start(window: Window, at: int) -> int:
    """The first offset from `at` on where a record can begin, or the end of the file."""
    at = max(at, window.start)
    while block := window.peek(at, BLOCK):
        for match in _START.finditer(block):
            start = at + match.start()
            if match[0] == FRAME:
                if _unfolds_to_record(window, start):
                    return start
            elif match[0] != GZIP or _inflates_to_record(window.peek(start, 4096)):
                return start
        if len(block) < BLOCK:
            break
        at += len(block) - 8  # a match may lie across the border
        window.forget(at)
    return window.end


def way_back(window: Window, at: int, reached: int) -> int:
    """Where to look for the next record after one that began at `at` and was found broken at `reached`.

    Behind its first byte; or, where damage upon damage has had too much read again already, where reading stands.
    """
    window.reread += max(0, reached - at)
    return next_start(window, at + 1 if window.reread <= _REREAD * (window.end + BLOCK) else max(reached, at + 1))


def _inflates_to_record(head: bytes) -> bool:
    try:
        return zlib.decompressobj(inflate.GZIP_BITS).decompress(head, len(WARC)) == WARC
    except zlib.error:
        return False


def _unfolds_to_record(window: Window, at: int) -> bool:
    try:
        return Frame(window, at).read(len(WARC)) == WARC
    except (ZstdError, Truncated):
        return False


class Whole(NamedTuple):
    """A gzip member inflated: its bytes in pieces, the first and the last of which are of some size."""

    pieces: list[bytes]
    size: int  # bytes of all pieces
    end: int  # the next byte of the file


def whole_member(window: Window, at: int, most: int, small: bool = False) -> Whole | None:
    """The gzip member at `at` if it is sound and not large; nothing has been taken from `window` if not.

    `most` is the limit of both its compressed and its inflated bytes. `small` is a guess: what is offered to the
    library and lies behind the member is copied in vain.
    """
    inflater = inflate.gzip_inflater()
    try:
        with window.view(at, _SMALL if small else BLOCK) as block:
            piece = inflater.decompress(block, most + 1)
            taken = len(block) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
    except inflate.ERRORS:
        return None
    pieces, size, position = [piece], len(piece), at + taken
    while not inflater.eof and size <= most:
        with window.view(position, BLOCK) as block:
            if not block or position - at > most:
                return None
            try:
                piece = inflater.decompress(block, most + 1 - size)
            except inflate.ERRORS:
                return None
            position += len(block) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
        pieces.append(piece)
        size += len(piece)
    if size > most:
        return None
    if len(pieces) > 1 and (len(pieces[0]) < BLOCK or len(pieces[-1]) < 16):
        pieces = [b"".join(pieces)]
    return Whole(pieces, size, position)


class Window:
    """A stretch of the file from `start` to `end`: what was read and may be read again."""

    def __init__(self, stream: BinaryIO, start: int, dictionary: bytes = b"") -> None:
        self._stream = stream
        self._bytes = bytearray()
        self.start = start
        self.end = start
        self.dictionary = dictionary  # of the Zstandard frames
        self.reread = 0  # bytes that were gone back over, in all

    def _fill(self, end: int) -> None:
        while self.end < end and (block := self._stream.read(BLOCK)):
            self._bytes += block
            self.end += len(block)

    def peek(self, at: int, size: int) -> bytes:
        """The bytes at `at`, short only at the end of the file."""
        if self.end < at + size:
            self._fill(at + size)
        with memoryview(self._bytes) as view:
            return view[at - self.start : at - self.start + size].tobytes()

    def view(self, at: int, size: int) -> memoryview:
        """Up to `size` bytes at `at`, none only at the end of the file; to be released before the window moves."""
        if self.end < at + size:
            self._fill(at + size)
        return memoryview(self._bytes)[at - self.start : at - self.start + size]

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
        # zlib: this is for members that are damaged, very large or hold several records, and isal's output before an
        # error is another.
        self._inflater = zlib.decompressobj(inflate.GZIP_BITS)
        self._start = at
        self._inflated = 0
        self.position = at
        self.fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._inflated

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
        self._inflated += len(data)
        self.fault = self.fault or _bomb(self._inflated, self.position - self._start)
        buffer[: len(data)] = data
        return len(data)


class Frame(io.RawIOBase):
    """One Zstandard frame, decompressed; the counterpart of `Member`."""

    def __init__(self, window: Window, at: int) -> None:
        self._window = window
        self._start = at
        self._blocks = Blocks(window.peek, at)
        self._reader = decompressor(window.dictionary).stream_reader(self._blocks, read_size=BLOCK)
        self._inflated = 0
        self.fault: Exception | None = None

    @property
    def position(self) -> int:
        return self._blocks.position

    @property
    def has_checksum(self) -> bool:
        return self._blocks.has_checksum

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._inflated

    def readinto(self, buffer: Any) -> int:
        if self.fault is not None:
            raise self.fault
        try:
            data = self._reader.read(len(buffer))
        except ZstdError as error:
            self.fault = error
            raise
        if not data and not self._blocks.ended:
            self.fault = Truncated()
            raise self.fault
        self._window.forget(self.position - _LOOKBACK)
        self._inflated += len(data)
        self.fault = _bomb(self._inflated, self.position - self._start)
        buffer[: len(data)] = data
        return len(data)


def _bomb(inflated: int, taken: int) -> Exception | None:
    if inflated > _BOMB_BYTES and inflated > _BOMB_RATIO * taken:
        return Bomb(f"{taken:,} bytes have inflated to {inflated:,}")
    return None


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
    """The file ends inside a gzip member or a Zstandard frame."""


class Bomb(Exception):
    """A member inflates to so much more than it holds that its rest is not worth the time."""


class HeaderTooLong(Exception):
    """A record's header does not end."""


def skip_newlines(source: Reader) -> None:
    while source.peek(1)[:1] in (b"\r", b"\n"):
        source.read(1)


def skip_dictionary(window: Window, at: int) -> int | None:
    """The end of the skippable frame at `at`, whose dictionary, if it holds one, is kept; None if there is none."""
    head = window.peek(at, 8)
    if not is_skippable(head):
        return None
    size = int.from_bytes(head[4:], "little")
    if head[0] == 0x5D and size <= MAX_DICTIONARY:
        window.dictionary = read_dictionary(window.peek(at + 8, size))
    end = at + 8 + size
    while window.end < end and window.peek(window.end, 1):
        window.forget(window.end - BLOCK)
    return end if window.end >= end else None


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
