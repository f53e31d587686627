"""."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol

_NEW_FOR = 60.0  # seconds, much longer than it takes to lock a new folder


class Entry(NamedTuple):
    """An object as a listing shows it; `stamp` changes when the object is written again."""

    key: str
    size: int  # bytes
    stamp: str
    modified: float  # seconds since the epoch, by the clock of the store


class Upload(NamedTuple):
    """A multipart upload that was begun and never completed: it is invisible, and paid for."""

    key: str
    id: str
    started: float  # seconds since the epoch, by the clock of the store


class Storage(Protocol):
    """A root and the keys below it; keys are relative POSIX paths, a prefix is a folder ("" is the root)."""

    root: str

    def list(self, prefix: str) -> list[str]:
        """Keys of the files directly in folder `prefix`, sorted; empty if there is no such folder."""

    def entries(self, prefix: str) -> Sequence[Entry]:
        """The same with sizes and stamps, from the listing itself."""

    def folders(self, prefix: str) -> Sequence[str]:
        """The folders directly in folder `prefix`, sorted."""

    def is_folder(self, prefix: str) -> bool:
        """Whether there is such a folder; in an object store: whether anything is below it."""

    def read(self, key: str) -> bytes | None:
        """The object's bytes, None if there is none."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises FileNotFoundError; ValueError naming an object that ends before."""

    def open(self, key: str) -> BufferedReader:
        """The object, seekable. Raises FileNotFoundError."""

    def local_path(self, key: str) -> contextlib.AbstractContextManager[Path]:
        """An object, or a folder with the files directly in it, for libraries that take local paths alone.

        Raises FileNotFoundError.
        """

    def size(self, key: str) -> int | None:
        """Bytes, None if there is no such object."""

    def fingerprint(self, key: str) -> tuple[int, str]:
        """(size in bytes, etag): changes with the content. Raises FileNotFoundError."""

    def publish(self, local: Path, key: str) -> None:
        """Make a finished local file visible under `key`; a key that exists already is left as it is.

        For keys that name their content: of two who publish at the same time, either may be the one that stays.
        """

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object if there is none yet; False if somebody was first. The folder must be there."""

    def replace(self, key: str, data: bytes) -> None:
        """Write a small object over whatever is there, whole or not at all: for what can be made again."""

    def make_folder(self, prefix: str) -> None:
        """Make a folder and those above it, where the storage has folders."""

    def remove(self, key: str) -> None:
        """Remove an object; no error if there is none."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """A local directory for unfinished files, removed with all in it."""

    def sweep(self) -> None:
        """Remove the unfinished files that processes of this machine left behind when they were killed."""

    def unfinished(self, min_age: float) -> Sequence[Upload]:
        """Uploads below the root that were begun at least `min_age` seconds ago and are not complete."""

    def abort(self, upload: Upload) -> None:
        """Give up an unfinished upload; no error if it is no more."""


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def sha256(path: str | Path) -> str:
    """Hex digest of a whole local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def scratch_in(base: Path) -> Iterator[Path]:
    """A folder in `base` for unfinished files, removed at the end; locked as long as its process lives."""
    while True:
        try:
            base.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
            break
        except (FileNotFoundError, FileExistsError):  # another writer has just removed the empty base
            if base.exists() and not base.is_dir():
                raise
    # The lock tells the living from the dead (a process id does not: it may be a zombie's, or used again). The
    # folder gets the name that `sweep_in` looks for once it is locked.
    lock = os.open(fresh, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = fresh.rename(base / f"{socket.gethostname()}-{fresh.name.removeprefix('.new-')}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        with contextlib.suppress(OSError):  # another writer is still in there
            base.rmdir()


def sweep_in(base: Path) -> None:
    """Remove the scratch folders in `base` that processes of this machine left behind when they were killed."""
    if not base.is_dir():
        return
    for folder in base.glob(".new-*"):  # killed before it was locked
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _NEW_FOR:
                folder.rmdir()
    for folder in base.glob(f"{socket.gethostname()}-*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
    with contextlib.suppress(OSError):
        base.rmdir()


def user_cache(name: str) -> Path:
    """A folder of this user for what can be made or fetched again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corpus", name)
