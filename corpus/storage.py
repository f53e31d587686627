"""The one file-system layer: everything that a stage reads or publishes goes through a `Storage`.

In: a path or `s3://bucket/prefix`. Out: a root with keys below it, as an object store has. A storage promises three
things and nothing more: `publish` makes a finished local file visible whole or not at all, `create` writes a small
object only if none is there (first writer wins), and a reader never sees half of either. There is no rename and no
append, because object stores have neither. `LocalStorage` keeps the promises with hard links; where a file system
has none a lock decides who renames. Object stores are in `object_store.py`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import glob
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

_SAMPLE = 65536  # bytes read at each of three places for an etag
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


class LocalStorage:
    """A directory on a POSIX file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    def _path(self, key: str) -> Path:
        return Path(self.root, key)

    def list(self, prefix: str) -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def entries(self, prefix: str) -> Sequence[Entry]:
        found = []
        for item in self._scan(prefix):
            with contextlib.suppress(FileNotFoundError):  # removed since the folder was read
                if item.is_file():
                    status = item.stat()
                    stamp = f"{status.st_mtime_ns}-{status.st_size}"
                    found.append(Entry(_join(prefix, item.name), status.st_size, stamp, status.st_mtime))
        return sorted(found)

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(_join(prefix, item.name) for item in self._scan(prefix) if item.is_dir(follow_symlinks=False))

    def is_folder(self, prefix: str) -> bool:
        return self._path(prefix).is_dir()

    def _scan(self, prefix: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(self._path(prefix)) as items:
                return tuple(items)
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self.open(key) as stream:
            stream.seek(start)
            data = stream.read(length)
        if len(data) != length:
            raise ValueError(f"{self._path(key)}: ends before byte {start + length}; it was cut, or is another file")
        return data

    def open(self, key: str) -> BufferedReader:
        return self._path(key).open("rb")

    @contextlib.contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        path.stat()
        yield path

    def size(self, key: str) -> int | None:
        path = self._path(key)
        return path.stat().st_size if path.is_file() else None

    def fingerprint(self, key: str) -> tuple[int, str]:
        """The etag hashes the size and 64 KiB at the start, the middle and the end.

        Enough to notice a file that was replaced or cut, at a cost that does not grow with it, and the same after a
        copy, unlike a modification time.
        """
        with self.open(key) as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            for start in (0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)):
                stream.seek(start)
                digest.update(stream.read(_SAMPLE))
        return size, f"sampled-{digest.hexdigest()[:32]}"

    def publish(self, local: Path, key: str) -> None:
        self._check_root()
        with self._removed_is_said():
            target = self._path(key)
            target.parent.mkdir(exist_ok=True)
            sync(local)
            _link(local, target)
            sync(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        # It makes no folder: a record must not come to stand in a folder that was removed with the files it names.
        with self._removed_is_said(), self._written(data) as local:
            target = self._path(key)
            created = _link(local, target)
            sync(target.parent)
        return created

    def replace(self, key: str, data: bytes) -> None:
        with self._removed_is_said(), self._written(data) as local:
            target = self._path(key)
            os.replace(local, target)
            sync(target.parent)

    def make_folder(self, prefix: str) -> None:
        self._path(prefix).mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _removed_is_said(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.root}: was removed while it was being written; run it again") from None

    def _check_root(self) -> None:
        if not self.is_folder(""):
            raise FileNotFoundError(f"{self.root}: was removed while it was being written; run it again")

    @contextlib.contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        with self.scratch() as folder:
            local = folder / "object"
            local.write_bytes(data)
            sync(local)
            yield local

    def remove(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        self._check_root()
        return scratch_in(self._path("_tmp"))

    def sweep(self) -> None:
        sweep_in(self._path("_tmp"))

    def unfinished(self, min_age: float) -> Sequence[Upload]:
        return ()

    def abort(self, upload: Upload) -> None:
        raise NotImplementedError  # `unfinished` names none


def storage(uri: str | Path) -> Storage:
    """The storage at `uri`. Raises ValueError for a scheme that is not supported."""
    text = str(uri)
    if text.startswith("s3://"):
        from corpus.object_store import S3Storage

        return S3Storage(text)
    if "://" in text and not text.startswith("file://"):
        scheme = text.partition("://")[0]
        raise ValueError(f"{text}: no storage for {scheme}:// here; use a local path or s3://bucket/prefix")
    return LocalStorage(text.removeprefix("file://"))


def split(path: str | Path) -> tuple[Storage, str]:
    """The storage that holds the file at `path`, and the file's key there."""
    folder, slash, name = str(path).removeprefix("file://").rpartition("/")
    if not name or folder == "s3:/":
        raise ValueError(f"{path}: names a folder or a bucket, not a file in it")
    return storage(folder or slash or "."), name


def open_path(path: str | Path) -> BufferedReader:
    """The file or object at `path`, seekable. Raises FileNotFoundError."""
    place, key = split(path)
    return place.open(key)


def local_path(path: str | Path) -> contextlib.AbstractContextManager[Path]:
    """The file or folder at `path` as a local one, which may be gone afterwards. Raises FileNotFoundError."""
    place, key = split(str(path).rstrip("/"))
    return place.local_path(key)


def fingerprint(path: str | Path) -> tuple[int, str]:
    """(size in bytes, etag) of the file or object at `path`; see `Storage.fingerprint`."""
    place, key = split(path)
    return place.fingerprint(key)


def is_dir(path: str | Path) -> bool:
    """Whether `path` is a folder; in an object store: whether anything is below it."""
    return storage(path).is_folder("")


def exists(path: str | Path) -> bool:
    """Whether `path` is a file, an object or a folder."""
    if is_dir(path):
        return True
    place, key = split(path)
    return place.size(key) is not None


def children(path: str | Path) -> list[str]:
    """Paths of the files directly in the folder `path`, sorted."""
    return [_join(str(path).rstrip("/"), key) for key in storage(path).list("")]


def expand(patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Paths that the patterns name, each once, sorted within a pattern.

    Raises FileNotFoundError naming the pattern that matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in (pattern.removeprefix("file://") for pattern in patterns):
        if not glob.has_magic(pattern):
            matches = [pattern] if exists(pattern) else []
        elif "://" in pattern:
            scheme, _, rest = pattern.partition("://")
            bucket, *parts = rest.split("/")
            root = f"{scheme}://{bucket}"
            matches = sorted(f"{root}/{key}" for key in _matches(storage(root), "", parts))
        else:
            matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise FileNotFoundError(f"{pattern}: no such file or directory")
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(place: Storage, folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Keys below `folder` whose names match the parts of a pattern, as `glob` would: one listing a folder."""
    part, *rest = parts
    if rest and not glob.has_magic(part):
        yield from _matches(place, _join(folder, part), rest)
    elif rest:
        if part == "**":  # no folder, or any number of them
            yield from _matches(place, folder, rest)
        for key in place.folders(folder):
            if part == "**":
                yield from _matches(place, key, parts)
            elif fnmatch.fnmatchcase(key.rpartition("/")[2], part):
                yield from _matches(place, key, rest)
    else:
        for key in (*place.list(folder), *place.folders(folder)):
            if fnmatch.fnmatchcase(key.rpartition("/")[2], part):
                yield key


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


def user_cache(name: str) -> Path:
    """A folder of this user for what can be made or fetched again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corpus", name)
