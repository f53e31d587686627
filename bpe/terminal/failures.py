"""Exceptions as lines for a person: which file, what is wrong with it, and what to do.

`said` is for an exception that somebody raised on purpose, with a message for the user, and for every error of the
operating system that a user can cause. `unexpected` is for all others: it keeps the traceback in a file, and the line
says where.
"""

from __future__ import annotations

import dis
import errno
import os
import sysconfig
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

OURS = ("bpe", "corpus", "model")  # packages
_SHOWN = 300  # characters of the message of an exception that nobody wrote for a user
_ON_PURPOSE = (ValueError, OSError, FloatingPointError)
# What to do, by errno. What is wrong says the system itself.
_FIXES = {
    errno.ENOENT: "check the name, and that all folders before it are there",
    errno.ENOTDIR: "a file is where a folder should be; check the path",
    errno.EISDIR: "name a file",
    errno.EEXIST: "remove it, or choose another name",
    errno.ENOTEMPTY: "empty the folder, or choose another name",
    errno.EACCES: "change the permissions, which ls -ld shows, or choose another path",
    errno.EPERM: "change the owner or the permissions, which ls -ld shows, or choose another path",
    errno.EROFS: "choose a path on another disk",
    errno.ENAMETOOLONG: "choose names of at most 255 bytes",
    errno.ELOOP: "symbolic links lead in a circle; remove the link, or name what it should lead to",
    errno.EMFILE: "raise the limit (ulimit -n), or use fewer --workers",
    errno.ENFILE: "end other programs, or use fewer --workers",
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or write to another disk",
    errno.ENOMEM: "use fewer --workers, or end other programs",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or use fewer --workers",
    errno.EIO: "the disk or the network failed; check it, or copy the file to another disk",
    errno.EINVAL: "check the name, or use another disk",
    errno.ENXIO: "name a file, not a device",
    errno.ENODEV: "use another disk",
    errno.ENOTSUP: "use another disk",
    errno.EXDEV: "choose a path on the same disk",
    errno.ESPIPE: "a pipe cannot be read from any place; write it to a file first",
    errno.ETXTBSY: "end the program that uses it, or choose another name",
    errno.EBUSY: "end the program that uses it, or choose another name",
    errno.ESTALE: "mount the network disk again, and run the command again",
    errno.EADDRINUSE: "end the program that has this address, or choose another address",
    **dict.fromkeys(
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
        "check the address and the network, and run the command again",
    ),
}
_OTHER_FIX = "check the file and the disk, and run the command again"


def said(error: Exception) -> str | None:
    """The line of an exception with a message for the user; None for every other exception."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return _of_system(error)
    return str(error) if isinstance(error, _ON_PURPOSE) and _on_purpose(error) and str(error) else None


def unexpected(error: Exception, program: str) -> str:
    """The line of an exception that nobody wrote for a user: its kind, the file at work, where the traceback is."""
    file = file_at_work(error)
    where = f"{file}: " if file else ""
    kept = _kept(error, program)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is PyTorch's
        return f"{where}not enough memory; use fewer --workers or a smaller input; {kept}"
    if isinstance(error, RecursionError):
        return f"{file or 'the input'} is nested too deeply to be read; give another file; {kept}"
    message = " ".join(str(error).split())[:_SHOWN]
    fix = "check that the file is whole and of the right kind" if file else "check the input"
    return f"{where}unexpected {type(error).__name__}{': ' if message else ''}{message}; {fix}; {kept}"


def file_at_work(error: BaseException) -> str | None:
    """The file, else the folder, that the innermost of our functions in the traceback has among its variables."""
    paths = [path for frame in reversed(_frames(error)) for path in _paths(frame)]
    return next((path for path in paths if os.path.isfile(path)), paths[0] if paths else None)


def _of_system(error: OSError) -> str:
    """`FILE: what is wrong; what to do`."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where, what = " -> ".join(names) or file_at_work(error) or "", f"{error.strerror}".partition(". Detail:")[0]
    if what != os.strerror(error.errno or 0) and not names:  # a library's words, which name the file
        where, what = what, os.strerror(error.errno or 0)
    return f"{': '.join(filter(None, (where, what)))}; {_FIXES.get(error.errno or 0, _OTHER_FIX)}"


def _on_purpose(error: BaseException) -> bool:
    """Whether a `raise` outside of libraries raised it: then its message is meant for the user."""
    trace = _last(error.__traceback__)
    if trace is None:
        return True
    code, name = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__"))
    return _is_raise(code, trace.tb_lasti) and (name.partition(".")[0] in OURS or not _of_library(code.co_filename))


def _is_raise(code: CodeType, at: int) -> bool:
    return 0 <= at < len(code.co_code) and code.co_code[at] == dis.opmap["RAISE_VARARGS"]


def _of_library(file: str) -> bool:
    return file.startswith(("<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))))


def _last(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _frames(error: BaseException) -> list[dict[str, Any]]:
    """The variables of each of our functions in the traceback, the outermost first."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [frame.f_locals for frame in frames if str(frame.f_globals.get("__name__")).partition(".")[0] in OURS]


def _paths(variables: dict[str, Any]) -> Iterator[str]:
    """Files and folders that are there, among the variables of a function."""
    for value in variables.values():
        name = getattr(value, "name", None) if hasattr(value, "read") else value
        if isinstance(name, str | Path) and 0 < len(str(name)) < 4096 and "\0" not in str(name):
            try:
                there = os.path.exists(name)
            except (OSError, ValueError):
                there = False
            if there and str(name) not in (".", "/"):
                yield str(name)


def _kept(error: BaseException, program: str) -> str:
    """Write the traceback to a file; where it is, for the line."""
    text = "".join(traceback.format_exception(error))
    try:
        descriptor, path = tempfile.mkstemp(".txt", f"{program}-traceback-")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return f"no file could be written for its traceback, which is: {text}"
    return f"its traceback is in {path}"
