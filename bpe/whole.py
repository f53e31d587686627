"""One way to write a file whole or not at all, and to read one whole, for `bpe`, `corpus` and `model` alike.

In: the path that a file shall have. Out: a temporary path in the same folder, to be filled, and at the end the finished
file under its own name. The file's bytes are on the disk before it gets that name, so a reader never sees half a file,
whenever the process or the machine stops.

The temporary name is `.<name>.<random>.partial`. It lies in the folder of the target, because only within one file
system a rename is one step, and it is random, because two processes may write the same target at a time. An exception
leaves nothing behind, and `kill -9` leaves this one file.

What is read whole is a regular file of a size that makes sense. A pipe or a device may never end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def read_whole(path: Path, most: int) -> bytes:
    """The bytes of a regular file that has at most `most`. Raises ValueError naming the file and the fix, OSError."""
    if fault := unreadable(path, most):
        raise ValueError(f"{path}: {fault}")
    return path.read_bytes()


def unreadable(path: Path, most: int) -> str:
    """Why the file at `path` should not be read, with the fix; "" for a regular file of at most `most` bytes, a folder.

    Raises OSError if nothing is there.
    """
    status = path.stat()
    if kind := _KINDS.get(stat.S_IFMT(status.st_mode)):
        return f"is a {kind} and no file; save what it gives to a file and name that"
    if stat.S_ISREG(status.st_mode) and status.st_size > most:
        return f"has {status.st_size:,} bytes, more than the {most:,} that are read; name the right file"
    return ""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that holds `data`, or leave the file that is there as it is."""
    with whole(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path for the body to make a file at, or a folder; it becomes `path` if the body raises nothing.

    A file that is at `path` already is replaced. A folder replaces only an empty folder.
    """
    partial = partial_path(path)
    try:
        yield partial
        put_in_place(partial, path)
    except BaseException as error:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # of a name that is too long, for one
                partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == str(partial):
            raise type(error)(error.errno, error.strerror, str(path)) from None  # the name that the caller knows
        raise


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it. Raises OSError that names what is in the way, and the fix.

    Raises ValueError for an address, such as s3://bucket.
    """
    _check_local(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        for place in (path, *path.parents):
            if place.is_symlink() and not place.exists():
                raise _link_to_nothing(place) from None
            if place.exists() and not place.is_dir():
                raise FileExistsError(f"{place}: is a file, where a folder is needed; name another folder") from None
        raise
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise OSError(f"{path}: a name in this path is too long for its file system; use a shorter name") from None


def _link_to_nothing(place: Path) -> FileExistsError:
    target = os.readlink(place)
    return FileExistsError(f"{place}: is a link to {target}, which is not there; remove the link, or make {target}")


def address_fault(path: str | Path) -> str:
    """Why `path` is no path of a file system, with the fix: it is an address such as s3://bucket; "" if it is one.

    `Path` makes s3:/bucket of s3://bucket, so one slash is enough.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", str(path))
    if not found:
        return ""
    address = f"{found[1]}://{str(path)[found.end() :]}"
    return f"{address}: only a path on this machine is written here, no {found[1]}:// address; write there and copy it"


def _check_local(path: Path) -> None:
    if fault := address_fault(path):
        raise ValueError(fault)


def no_link(path: str, flags: int) -> int:
    """The `opener` for `open` where an unfinished file is written in place: it raises OSError for a link."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(f"{path}: is a link, and nothing is written through a link; remove it") from None


def check_folder(path: Path) -> None:
    """Check that a folder is at `path` or can be made there, and can be written to: before long work, not after it.

    Raises FileExistsError for a link to nothing, NotADirectoryError or PermissionError, with the path that is in the
    way as its file name.
    """
    present = next((place for place in (path, *path.absolute().parents) if os.path.lexists(place)), Path("/"))
    if present.is_symlink() and not present.exists():
        raise _link_to_nothing(present)
    if not present.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(present))
    if not os.access(present, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(present).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(present))


def partial_path(path: Path) -> Path:
    """A new temporary path for the unfinished file of `path`. Nothing is made there yet.

    Raises ValueError for an address, such as s3://bucket.
    """
    _check_local(path)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.partial")


def put_in_place(finished: Path, path: Path) -> None:
    """Give a finished file or folder the name `path`, in one step that outlives a power cut.

    Both names must be in one file system.
    """
    sync(finished)
    os.replace(finished, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
