"""A WARC file as bytes: gzip members and Zstandard frames inflated one by one, and the way back after damage.

In: a stream that is read forward only. Out: readers of one member, of one frame or of a plain file, and `next_start`,
the next offset at which a record can begin. A reader raises `zlib.error`, `ZstdError` or `Truncated` where the bytes
are damaged, and `Bomb` where a member inflates out of all proportion.

A `Window` keeps the compressed bytes since the member began. A broken deflate stream may run far past its true end
before zlib notices, so the search for the next record has to begin right behind the member's first byte. How many
bytes are read again is bounded: no file costs more than a few times its length.
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

_LOOKBACK = 32 * 1024 * 1024  # compressed bytes kept for going back; Common Crawl's members have 5 MiB at the most
_KEPT = 2 * 1024 * 1024  # inflated bytes kept for going back inside of a member
_SMALL = 4096  # compressed bytes that hold a request or metadata
_MAX_HEADER = 1024 * 1024  # WARC and HTTP header lines of one record
_START = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|(?<=[\n\0])WARC/[01]\.")
# A member that has inflated to more bytes than this, and to more than this many times its compressed bytes, is a bomb,
# and is not read to its end. The ratio of real pages stays below 30; deflate reaches 1,032, Zstandard 40,000.
_BOMB_BYTES = 64 * 1024 * 1024
_BOMB_RATIO = 100
_REREAD = 8  # times the length of the file that may be read again


def next_start(window: Window, at: int) -> int:
    """The first offset from `at` on at which a record can begin, or the end of the file."""
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
        at += len(block) - 8  # a match may lie across the end of the block
        window.forget(at)
    return window.end


def way_back(window: Window, at: int, reached: int) -> int:
    """The next offset at which a record can begin, after one that begins at `at` and proved broken at `reached`.

    The search begins behind the broken record's first byte. Where too much has been read again already, because damage
    followed damage, it begins at `reached`.
    """
    window.reread += max(0, reached - at)
    return next_start(window, at + 1 if window.reread <= _REREAD * (window.end + BLOCK) else max(reached, at + 1))


def _inflates_to_record(head: bytes) -> bool:
    """Whether `head` begins a gzip member that begins with a record."""
    try:
        return zlib.decompressobj(inflate.GZIP_BITS).decompress(head, len(WARC)) == WARC
    except zlib.error:
        return False


def _unfolds_to_record(window: Window, at: int) -> bool:
    """Whether a Zstandard frame that begins with a record is at `at`."""
    try:
        return Frame(window, at).read(len(WARC)) == WARC
    except (ZstdError, Truncated):
        return False


class Whole(NamedTuple):
    """A whole gzip member, inflated.

    pieces  its bytes; where there are several pieces, the first has `BLOCK` bytes and more, the last 16 and more
    size    bytes of all pieces
    end     the offset in the file behind the member
    """

    pieces: list[bytes]
    size: int
    end: int


def whole_member(window: Window, at: int, most: int, small: bool = False) -> Whole | None:
    """The gzip member at `at`, if it is sound and has at most `most` bytes both compressed and inflated; else None.

    `small` is the caller's guess that the member has fewer than 4,096 compressed bytes. The library is then offered
    fewer bytes at first, because it copies all bytes behind the member in vain. `window` forgets nothing.
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
    """The bytes of the file from `start` to `end`, which were read and can be read again.

    dictionary  the dictionary of the file's Zstandard frames; b"" if it has none
    reread      bytes that were read again after damage, in all
    """

    def __init__(self, stream: BinaryIO, start: int, dictionary: bytes = b"") -> None:
        self._stream = stream
        self._bytes = bytearray()
        self.start = start
        self.end = start
        self.dictionary = dictionary
        self.reread = 0

    def _fill(self, end: int) -> None:
        while self.end < end and (block := self._stream.read(BLOCK)):
            self._bytes += block
            self.end += len(block)

    def peek(self, at: int, size: int) -> bytes:
        """The `size` bytes at `at`; fewer only at the end of the file."""
        with self.view(at, size) as view:
            return view.tobytes()

    def view(self, at: int, size: int) -> memoryview:
        """The `size` bytes at `at` without a copy; fewer only at the end. Release the view before the window moves."""
        if self.end < at + size:
            self._fill(at + size)
        return memoryview(self._bytes)[at - self.start : at - self.start + size]

    def forget(self, before: int) -> None:
        """Free the bytes before the offset `before`."""
        if before > self.start:
            del self._bytes[: before - self.start]
            self.start = min(before, self.end)


class Plain(io.RawIOBase):
    """The bytes of the file as they are, from `at` on."""

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


class Inflated(io.RawIOBase):
    """The bytes that a gzip member or a Zstandard frame inflates to, from its first byte to its last.

    position      the offset in the file behind the compressed bytes that were used
    fault         the error at which the bytes end; None as long as they are sound
    has_checksum  whether a checksum behind the bytes vouches for them

    The last `_KEPT` bytes of the record at work are kept: a wrong Content-Length may have skipped a record in them.
    """

    position: int
    has_checksum: bool

    def __init__(self, window: Window, at: int) -> None:
        self._window = window
        self._start = at
        self._size = 0  # bytes so far
        self._kept = bytearray()  # the last of them
        self._unread = 0  # of the bytes kept, those at the end that are to be read again
        self._reread = 0  # in all
        self.position = at
        self.fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size - self._unread

    def keep_from(self, at: int) -> None:
        """Free the bytes before the offset `at` among the inflated bytes, where a record begins."""
        del self._kept[: at - (self._size - len(self._kept))]

    def back_to_record(self, at: int, reached: int) -> bool:
        """Go back from the offset `reached` to the first record behind the offset `at`, if its beginning is kept.

        Returns False if no record begins there, or if too much has been read again already.
        """
        start = self._kept.find(b"\n" + WARC, max(at - (self._size - len(self._kept)), 0)) + 1
        if not start or self._reread > _REREAD * (self._size + BLOCK):
            return False
        self._unread = len(self._kept) - start
        self._reread += max(reached - self.tell(), 0)
        return True

    def readinto(self, buffer: Any) -> int:
        if self._unread:
            size = min(self._unread, len(buffer))
            first = len(self._kept) - self._unread
            buffer[:size] = self._kept[first : first + size]
            self._unread -= size
            return size
        if self.fault is not None:
            raise self.fault
        try:
            data = self._inflate(len(buffer))
        except (zlib.error, ZstdError, Truncated) as error:
            self.fault = error
            raise
        self._window.forget(self.position - _LOOKBACK)
        self._size += len(data)
        self._kept += data
        del self._kept[:-_KEPT]
        self.fault = self.fault or _bomb(self._size, self.position - self._start)
        buffer[: len(data)] = data
        return len(data)

    def _inflate(self, size: int) -> bytes:
        """At least one byte and at most `size` bytes; none at the end. Moves `position`."""
        raise NotImplementedError


class Member(Inflated):
    """The bytes of the gzip member at `at`.

    zlib inflates them, and not ISA-L: members that are damaged, very large or hold several records come here, and
    ISA-L gives other bytes before an error.
    """

    has_checksum = True

    def __init__(self, window: Window, at: int) -> None:
        super().__init__(window, at)
        self._inflater = zlib.decompressobj(inflate.GZIP_BITS)

    def _inflate(self, size: int) -> bytes:
        inflater, data = self._inflater, b""
        while not data and not inflater.eof:
            block = self._window.peek(self.position, BLOCK)
            if not block:
                raise Truncated
            try:
                data = inflater.decompress(block, size)
            except zlib.error as error:
                data = _before_error(block, size) if self.position == self._start else b""
                if not data:
                    raise
                self.fault = error
                return data
            # At the end of the member, zlib has the rest of the input in both of its fields.
            self.position += len(block) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
            self._window.forget(self.position - _LOOKBACK)  # here too: a header without end gives no data
        return data


class Frame(Inflated):
    """The bytes of the Zstandard frame at `at`."""

    def __init__(self, window: Window, at: int) -> None:
        super().__init__(window, at)
        self._blocks = Blocks(window.peek, at)
        self._reader = decompressor(window.dictionary).stream_reader(self._blocks, read_size=BLOCK)
        self.has_checksum = self._blocks.has_checksum

    def _inflate(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        finally:
            self.position = self._blocks.position
        if not data and not self._blocks.ended:
            raise Truncated
        return data


def inflated_at(window: Window, at: int) -> Inflated:
    """The reader of the gzip member or the Zstandard frame that begins at `at`."""
    return Member(window, at) if window.peek(at, len(GZIP)) == GZIP else Frame(window, at)


def _bomb(inflated: int, compressed: int) -> Bomb | None:
    if inflated > _BOMB_BYTES and inflated > _BOMB_RATIO * compressed:
        return Bomb(f"{compressed:,} bytes have inflated to {inflated:,}")
    return None


def _before_error(block: bytes, size: int) -> bytes:
    """The bytes before the error in the first block: zlib drops the output of the call that fails, and the record's
    header is in it.
    """
    inflater = zlib.decompressobj(inflate.GZIP_BITS)
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
    """Lines and bytes of a member, a frame or a plain file.

    header_bytes  bytes of the lines read so far; `readline` raises HeaderTooLong where they are too many for a header
    """

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
    """The file ends inside of a gzip member or a Zstandard frame."""


class Bomb(Exception):
    """A member inflates to so many more bytes than it has that its rest is not worth the time."""


class HeaderTooLong(Exception):
    """The header lines of a record are too many bytes."""


def skip_newlines(source: Reader) -> None:
    """Move on to the next byte that ends no line."""
    while source.peek(1)[:1] in (b"\r", b"\n"):
        source.read(1)


def skip_dictionary(window: Window, at: int) -> int | None:
    """The end of the skippable frame at `at`, None if no such frame is there. `window` keeps a dictionary in it."""
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
    """Move on to the next line that begins a record; the bytes there, or b"" if no record follows in this member."""
    fresh = True  # at the beginning of a line
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
