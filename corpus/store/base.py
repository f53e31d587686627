"""What a storage promises: a root with keys below it, as an object store has.

Everything that a stage reads or publishes goes through a `Storage`. Its promises are those that a file system and an
object store can both keep:

- `publish` makes a finished local file visible, whole or not at all.
- `create` writes a small object only if there is none: the first writer wins.
- A reader never sees half of either.

There is no rename and no append, because object stores have neither.

A new storage is a class that keeps these promises, and a line in the table of `corpus.store.open`. The abstract methods
are what it must have. The others follow from them; a class overrides those that its store can do in a cheaper way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from corpus.store.ranges import READ_AHEAD
from corpus.store.scratch import scratch_in, sweep_in


class Entry(NamedTuple):
    """An object as a listing shows it; `stamp` changes when the object is written again."""

    key: str
    size: int  # bytes
    stamp: str
    modified: float  # seconds since the epoch, by the clock of the store


class Upload(NamedTuple):
    """An upload that was begun and never completed. Nobody sees it, but the store keeps it and charges for it."""

    key: str
    id: str
    started: float  # seconds since the epoch, by the clock of the store


class Storage(ABC):
    """A root and the keys below it. Keys are relative POSIX paths; a prefix is a folder, and "" is the root."""

    root: str

    @abstractmethod
    def entries(self, prefix: str) -> Sequence[Entry]:
        """The files directly in folder `prefix`, sorted by key; empty if there is no such folder."""

    @abstractmethod
    def folders(self, prefix: str) -> Sequence[str]:
        """The folders directly in folder `prefix`, sorted."""

    @abstractmethod
    def open(self, key: str) -> BufferedReader:
        """The object, seekable. Raises FileNotFoundError."""

    @abstractmethod
    def fingerprint(self, key: str) -> tuple[int, str]:
        """(size in bytes, etag): changes with the content. Raises FileNotFoundError."""

    @abstractmethod
    def publish(self, local: Path, key: str) -> None:
        """Make a finished local file visible under `key`; an object that is there already stays as it is.

        Keys name their content, so of two who publish one key at the same time, either may be the one whose file stays.
        """

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write a small object if there is none yet; False if somebody was first. Its folder must exist."""

    @abstractmethod
    def replace(self, key: str, data: bytes) -> None:
        """Write a small object over the one that is there, whole or not at all. For what can be made again."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object; no error if there is none."""

    def list(self, prefix: str) -> list[str]:
        """Keys of the files directly in folder `prefix`, sorted; empty if there is no such folder."""
        return [entry.key for entry in self.entries(prefix)]

    def is_folder(self, prefix: str) -> bool:
        """Whether there is such a folder; where a storage has no folders: whether any object is below it."""
        return bool(self.entries(prefix) or self.folders(prefix))

    def read(self, key: str) -> bytes | None:
        """The object's bytes, None if there is none."""
        try:
            with self.open(key) as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises FileNotFoundError; ValueError naming an object that ends before."""
        with self.open(key) as stream:
            stream.seek(start)
            return self.checked_range(key, start, length, stream.read(length))

    def checked_range(self, key: str, start: int, length: int, data: bytes) -> bytes:
        """`data`, which was read for a range. Raises ValueError naming the object if it is shorter than the range."""
        if len(data) != length:
            raise ValueError(f"{self.root}/{key}: ends before byte {start + length}; it was cut, or is another file")
        return data

    def size(self, key: str) -> int | None:
        """Bytes, None if there is no such object."""
        try:
            return self.fingerprint(key)[0]
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """An object, or a folder with the files directly in it, as a local path, for libraries that take only these.

        What is at the path may be gone afterwards. Raises FileNotFoundError.
        """
        with self.scratch() as scratch:
            folder = scratch / "folder"
            folder.mkdir()
            inside = self.list(key) if self.is_folder(key) else []
            for item in inside or [key]:
                with self.open(item) as source, (folder / PurePosixPath(item).name).open("wb") as target:
                    shutil.copyfileobj(source, target, READ_AHEAD)
            yield folder if inside else folder / PurePosixPath(key).name

    def make_folder(self, prefix: str) -> None:  # noqa: B027 - rightly empty where a storage has no folders
        """Make a folder and the folders above it, where the storage has folders."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """A local folder for unfinished files, removed with all that is in it."""
        return scratch_in(_machine_scratch())

    def sweep(self) -> None:
        """Remove the unfinished files that processes of this machine left behind when they were killed."""
        sweep_in(_machine_scratch())

    def unfinished(self, min_age: float) -> Sequence[Upload]:
        """Uploads below the root that were begun at least `min_age` seconds ago and are not complete."""
        return ()

    def abort(self, upload: Upload) -> None:
        """Give up an unfinished upload; no error if it is gone already."""
        raise NotImplementedError  # `unfinished` names none


class ReadOnlyStorage(Storage):
    """A storage in which nothing is written."""

    def publish(self, local: Path, key: str) -> None:
        self._refuse_writing()

    def create(self, key: str, data: bytes) -> bool:
        self._refuse_writing()

    def replace(self, key: str, data: bytes) -> None:
        self._refuse_writing()

    def remove(self, key: str) -> None:
        self._refuse_writing()

    def make_folder(self, prefix: str) -> None:
        self._refuse_writing()

    def _refuse_writing(self) -> NoReturn:
        scheme = self.root.partition("://")[0]
        raise ValueError(f"{self.root}: {scheme}:// can only be read; write to a local folder, or to an object store")


def join_key(folder: str, name: str) -> str:
    """The key of `name` in a folder; "" is the root."""
    return f"{folder}/{name}" if folder else name


def _machine_scratch() -> Path:
    return Path(tempfile.gettempdir(), f"corpus-{os.getuid()}")
