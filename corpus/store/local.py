"""A folder on a POSIX file system as a `Storage`.

In: a path, or `file://` before it. Out: the promises of `Storage`. `publish` and `create` are kept by hard links, which
fail if the name is taken; where a file system has no hard links, the process that holds a lock renames. Unfinished
files lie in `_tmp`, in the same file system as the files that they become.
"""

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

from bpe.whole import put_in_place, sync, whole
from corpus.store.base import Entry, Storage, join_key
from corpus.store.scratch import scratch_in, sweep_in

_SAMPLE = 65536  # bytes that an etag takes from each of three places of a file


class LocalStorage(Storage):
    """A folder on a POSIX file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).removeprefix("file://")

    def _path(self, key: str) -> Path:
        return Path(self.root, key)

    def entries(self, prefix: str) -> Sequence[Entry]:
        entries = []
        for item in self._scan(prefix):
            with contextlib.suppress(FileNotFoundError):  # removed since the folder was read
                if item.is_file():
                    status = item.stat()
                    stamp = f"{status.st_mtime_ns}-{status.st_size}"
                    entries.append(Entry(join_key(prefix, item.name), status.st_size, stamp, status.st_mtime))
        return sorted(entries)

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(join_key(prefix, item.name) for item in self._scan(prefix) if item.is_dir(follow_symlinks=False))

    def is_folder(self, prefix: str) -> bool:
        return self._path(prefix).is_dir()

    def _scan(self, prefix: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(self._path(prefix)) as items:
                return tuple(items)
        except (FileNotFoundError, NotADirectoryError):
            return ()

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

        That is enough to notice a file that was replaced or cut, and costs as much for a large file as for a small one.
        Unlike a modification time, it does not change when the file is copied.
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
        with self._removal_explained():
            target = self._path(key)
            target.parent.mkdir(exist_ok=True)
            sync(local)
            _link(local, target)
            sync(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        # This makes no folder: a record must not appear in a folder that was removed with the files that it names.
        with self._removal_explained(), self.scratch() as folder:
            target = self._path(key)
            local = folder / "object"
            local.write_bytes(data)
            sync(local)
            created = _link(local, target)
            sync(target.parent)
        return created

    def replace(self, key: str, data: bytes) -> None:
        # Not `write_whole`: an unfinished file beside the target would be in the listings of its folder.
        with self._removal_explained(), self.scratch() as folder:
            local = folder / "object"
            local.write_bytes(data)
            put_in_place(local, self._path(key))

    def remove(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def make_folder(self, prefix: str) -> None:
        self._path(prefix).mkdir(parents=True, exist_ok=True)

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        self._check_root()
        return scratch_in(self._path("_tmp"))

    def sweep(self) -> None:
        sweep_in(self._path("_tmp"))

    def _check_root(self) -> None:
        if not self.is_folder(""):
            raise self._removed()

    @contextlib.contextmanager
    def _removal_explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise self._removed() from None

    def _removed(self) -> FileNotFoundError:
        return FileNotFoundError(f"{self.root}: was removed while it was being written; run it again")


def _link(local: Path, target: Path) -> bool:
    """Give a finished file its final name unless that name is taken; True if it was free.

    A hard link and not a rename, because a rename would replace the file of a writer who was first.
    """
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
    """`_link` for file systems without hard links (FAT, some network mounts): the process that holds the lock renames.

    The lock of a process that is killed is free again.
    """
    lock = target.with_name(target.name + ".lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if target.exists():
            return False
        with whole(target) as beside:
            shutil.copyfile(local, beside)
        return True
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
