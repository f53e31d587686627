"""The one file-system layer: everything that a stage reads or publishes goes through a `Storage`.

A storage is a root with keys below it, as an object store has. It promises three things and nothing more:
`publish` makes a finished local file visible whole or not at all, `create` writes a small object only if none is
there (first writer wins), and a reader never sees half of either. There is no rename and no append, because
object stores have neither. `LocalStorage` keeps the promises with hard links; where a file system has none a lock
decides who renames.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

_SAMPLE = 65536  # bytes read at each of three places for an etag


class Storage(Protocol):
    """A root and the keys below it; keys are relative POSIX paths."""

    root: str

    def list(self, prefix: str) -> list[str]:
        """Keys of the files directly in folder `prefix`, sorted; empty if there is no such folder."""

    def read(self, key: str) -> bytes | None:
        """The object's bytes, None if there is none."""

    def open(self, key: str) -> BinaryIO:
        """The object, seekable. Raises FileNotFoundError."""

    def publish(self, local: Path, key: str) -> None:
        """Make a finished local file visible under `key`; a key that exists already is left as it is."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object if there is none yet; False if somebody was first."""

    def remove(self, key: str) -> None:
        """Remove an object; no error if there is none."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """A local directory for unfinished files, removed with all in it."""


class LocalStorage:
    """A directory on a POSIX file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    def _path(self, key: str) -> Path:
        return Path(self.root, key)

    def list(self, prefix: str) -> list[str]:
        folder = self._path(prefix)
        if not folder.is_dir():
            return []
        return sorted(f"{prefix}/{entry.name}" for entry in os.scandir(folder) if entry.is_file())

    def read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def open(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def publish(self, local: Path, key: str) -> None:
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        sync(local)
        _link(local, target)
        sync(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        with self.scratch() as folder:
            local = folder / "record"
            local.write_bytes(data)
            sync(local)
            target = self._path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            created = _link(local, target)
            sync(target.parent)
        return created

    def remove(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        base = self._path("_tmp")
        while True:
            base.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # another writer has just removed the empty _tmp
                fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
                break
        # The lock tells the living from the dead (a process id does not: it may be a zombie's, or used again). The
        # folder gets the name that `sweep` looks for once it is locked.
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

    def sweep(self) -> None:
        """Remove the unfinished files that processes of this machine left behind when they were killed."""
        base = self._path("_tmp")
        if not base.is_dir():
            return
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


def storage(uri: str | Path) -> LocalStorage:
    """The storage at `uri`. Raises ValueError for a scheme that is not supported."""
    text = str(uri)
    if "://" in text and not text.startswith("file://"):
        scheme = text.partition("://")[0]
        raise ValueError(f"{text}: no storage for {scheme}:// here; use a local path")
    return LocalStorage(text.removeprefix("file://"))


def expand(patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Paths that the patterns name, each once, sorted within a pattern.

    Raises FileNotFoundError naming the pattern that matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
        matches = [match for match in matches if os.path.exists(match)]
        if not matches:
            raise FileNotFoundError(f"{pattern}: no such file or directory")
        found.update(dict.fromkeys(matches))
    return list(found)


def fingerprint(path: str | Path) -> tuple[int, str]:
    """(size in bytes, etag) of a local file.

    The etag hashes the size and 64 KiB at the start, the middle and the end: enough to notice a file that was
    replaced or cut, at a cost that does not grow with it, and the same after a copy, unlike a modification time.
    """
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as stream:
        for start in (0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)):
            stream.seek(start)
            digest.update(stream.read(_SAMPLE))
    return size, f"sampled-{digest.hexdigest()[:32]}"


def sha256(path: str | Path) -> str:
    """Hex digest of a whole local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _link(local: Path, target: Path) -> bool:
    """Give a finished file its final name unless that name is taken; True if it was free."""
    try:
        os.link(local, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV):
            raise
        return _rename_exclusively(local, target)
    return True


def _rename_exclusively(local: Path, target: Path) -> bool:
    # Without hard links (FAT, some network mounts): who holds the lock renames. A killed process holds none.
    lock = target.with_name(target.name + ".lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if target.exists():
            return False
        beside = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copyfile(local, beside)
        sync(beside)
        os.replace(beside, target)
        return True
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
