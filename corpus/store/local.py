"""."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from corpus.store.base import Entry, Upload, _join, scratch_in, sweep_in

_SAMPLE = 65536  # bytes read at each of three places for an etag


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
