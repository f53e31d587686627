"""Files on this machine that belong to no storage: hashes, caches of this user, and files that unpack to too much."""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

_BOMB_BYTES, _BOMB_RATIO = 16 << 20, 100  # text that repeats itself inflates to 50 times its size
_PIECE = 1 << 20


def sha256(path: str | Path) -> str:
    """Hex digest of a whole local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_name(path: str | Path) -> None:
    """Raises ValueError if a file is called `<unit>-<sha12>.<suffix>`, as committed files are, and its hash differs."""
    named = re.search(r"-([0-9a-f]{12})\.[a-z]+$", str(path))
    if named and not sha256(path).startswith(named[1]):
        raise ValueError(f"{path}: differs from the hash in its name; remove its folder to make it again")


def user_cache(name: str) -> Path:
    """A folder of this user for what can be made or fetched again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corpus", name)


class Bounded(io.RawIOBase):
    """The bytes of `stream`, which a reader unpacks from a file of `packed` bytes, up to a limit.

    Raises ValueError, which begins with `name`, where more than `most` bytes come or are sought, or where the file
    inflates out of all proportion (`packed` 0: it is not packed).
    """

    def __init__(self, stream: Any, name: str, packed: int, most: int) -> None:
        self._stream, self._name, self._packed, self._most = stream, name, packed, most
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), _PIECE))
        buffer[: len(data)] = data
        self._reach(self._position + len(data))
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer at the end only: readers of tar files take fewer for damage."""
        if size < 0:
            return self.readall()
        if size > self._most:  # before memory is taken for them
            self._reach(self._position + size)
        pieces = []
        while size > 0 and (piece := self._stream.read(min(size, _PIECE))):
            self._reach(self._position + len(piece))
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:  # no stream of a packed file knows its end
            self._reach(offset)
        self._reach(self._stream.seek(offset, whence))
        return self._position

    def _reach(self, position: int) -> None:
        if position > self._most:
            raise ValueError(f"{self._name}: holds over {self._most >> 20:,} MiB; give a smaller file, or a part of it")
        if self._packed and position > max(_BOMB_BYTES, _BOMB_RATIO * self._packed):
            raise ValueError(
                f"{self._name}: {self._packed:,} bytes inflate to over {position:,}, which no list does; check the file"
            )
        self._position = position
