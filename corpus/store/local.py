"""A folder on a POSIX file system as a `Storage`.

In: a path, or `file://` before it. Out: the promises of `Storage`. `publish` and `create` are kept by hard links, which
fail if the name is taken; where a file system has no hard links, the process that holds a lock renames. Unfinished
files lie in `_tmp`, in the same file system as the files that they become.

The root may be a link, because a user has named it. Below the root, no folder is listed and nothing is written or
removed through a link: it could lead to files that are none of ours. Files are read through links.
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
from pathlib import Path, PurePosixPath

from bpe.whole import make_folder, put_in_place, sync, whole
from corpus.store.base import Entry, Storage, join_key
from corpus.store.scratch import scratch_in, sweep_in

_SAMPLE = 65536  # bytes that an etag takes from each of three places of a file


class LinkError(OSError):
    """A link stands where a folder or a file of ours should be."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: is a link; nothing is listed, written or removed through a link; remove it, or put the folder or "
            "file that it names in its place"
        )


def check_below(top: str | Path, path: str | Path) -> None:
    """Raises LinkError if a folder on the way from `top`, which may be a link, down to `path` is a link.

    A `path` that is not below `top` is left alone.
    """
    place = LocalStorage(top)
    below = Path(str(path).removeprefix("file://"))
    if below.is_relative_to(place.root):
        place.inside(below.relative_to(place.root).as_posix(), folder=True)


class LocalStorage(Storage):
    """A folder on a POSIX file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).removeprefix("file://")

    def _path(self, key: str) -> Path:
        return Path(self.root, key)

    def inside(self, key: str, *, folder: bool = False) -> Path:
        """The path of a key that is to be listed (`folder`), written or removed.

        Raises ValueError for a key that leads out of the root, LinkError if a folder on the way there is a link.
        """
        if key.startswith("/") or ".." in (parts := PurePosixPath(key).parts):
            raise ValueError(f"{self.root}/{key}: leads out of {self.root}")
        path = Path(self.root)
        for number, part in enumerate(parts, 1):
            path /= part
            if (folder or number < len(parts)) and path.is_symlink():
                raise LinkError(path)
        return path

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
            with os.scandir(self.inside(prefix, folder=True)) as items:
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
            target = self.inside(key)
            target.parent.mkdir(exist_ok=True)
            sync(local)
            if not _link(local, target) and target.is_symlink():
                raise LinkError(target)
            sync(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        # This makes no folder: a record must not appear in a folder that was removed with the files that it names.
        with self._removal_explained(), self.scratch() as folder:
            target = self.inside(key)
            local = folder / "object"
            local.write_bytes(data)
            sync(local)
            created = _link(local, target)
            if target.is_symlink() and not target.exists():  # it has the name, and no reader finds an object
                raise LinkError(target)
            sync(target.parent)
        return created

    def replace(self, key: str, data: bytes) -> None:
        # Not `write_whole`: an unfinished file beside the target would be in the listings of its folder.
        with self._removal_explained(), self.scratch() as folder:
            local = folder / "object"
            local.write_bytes(data)
            put_in_place(local, self.inside(key))

    def remove(self, key: str) -> None:
        self.inside(key).unlink(missing_ok=True)

    def make_folder(self, prefix: str) -> None:
        make_folder(self.inside(prefix, folder=True))

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        self._check_root()
        return scratch_in(self.inside("_tmp", folder=True))

    def sweep(self) -> None:
        sweep_in(self.inside("_tmp", folder=True))

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
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW)
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
