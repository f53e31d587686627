"""Folders for unfinished files, which are removed when their process ends, or by a later process if it was killed.

In: a base folder. Out: a folder in it that only this process writes to. The folder is locked as long as its process
lives, so that `sweep_in` can tell the folders of the living from those of the dead. A process id could not: it may
belong to a zombie, or to a new process. A base that is a link is not used, and not swept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_NEW_FOR = 60.0  # seconds, much longer than it takes to lock a new folder


@contextlib.contextmanager
def scratch_in(base: Path) -> Iterator[Path]:
    """A folder in `base` for unfinished files, removed at the end; locked as long as its process lives.

    Raises OSError if `base` is a link.
    """
    while True:
        try:
            base.mkdir(parents=True, exist_ok=True)
            if base.is_symlink():
                raise OSError(f"{base}: is a link, where a folder for unfinished files should be; remove it")
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
            break
        except (FileNotFoundError, FileExistsError):  # another writer has just removed the empty base
            if base.exists() and not base.is_dir():
                raise
    lock = os.open(fresh, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # The folder gets the name that `sweep_in` looks for only now that it is locked.
    folder = fresh.rename(base / f"{socket.gethostname()}-{fresh.name.removeprefix('.new-')}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        with contextlib.suppress(OSError):  # another writer still has a folder in it
            base.rmdir()


def sweep_in(base: Path) -> None:
    """Remove the folders in `base` that processes of this machine left behind when they were killed."""
    if base.is_symlink() or not base.is_dir():
        return
    for folder in base.glob(".new-*"):  # its process was killed before it locked the folder
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _NEW_FOR:
                folder.rmdir()
    for folder in base.glob(f"{socket.gethostname()}-*"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, BlockingIOError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
    with contextlib.suppress(OSError):
        base.rmdir()
