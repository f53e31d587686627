"""A file's bytes, unpacked if its ending says so, and whether its content is what the ending says.

Compressed: .gz (several members too), .zst (several frames too), .bz2, .xz. Data that are cut short or damaged raise an
error that names the file; what was read before is not to be kept.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any

import pyarrow as pa

from corpus.sources.columns import Unreadable
from corpus.sources.formats import PACKED


def _gzip() -> tuple[Any, tuple[Any, ...]]:
    """The class that reads gzip, and the errors that it raises beside those of `gzip`."""
    try:
        from isal import igzip, isal_zlib
    except ImportError:  # no wheel for this machine
        return gzip.GzipFile, ()
    return igzip.IGzipFile, (isal_zlib.error,)


_GzipFile, _errors = _gzip()
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, *_errors)
_MAGIC = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "a zip archive",
    b"%PDF": "PDF",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"WARC/": "WARC records",
}


@contextlib.contextmanager
def unpacked(stream: BufferedReader, path: str) -> Iterator[Any]:
    """The bytes of the file `path`, open as `stream`, after its compression. Errors of damage name the file."""
    packing = next((ending for ending in PACKED if path.lower().endswith(ending)), "")
    try:
        yield _OPENERS[packing](stream)
    except _DAMAGED as error:
        raise Unreadable(f"{path}: damaged compressed data ({error}); copy or make it again") from None
    except OSError as error:
        if error.errno is not None or not packing or isinstance(error, ConnectionError):
            raise
        raise Unreadable(f"{path}: damaged compressed data ({error}); copy or make it again") from None


def check_content(head: bytes, path: str) -> None:
    """Raises Unreadable if the first bytes of a text file are those of another kind of file."""
    if kind := next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), ""):
        fix = "convert it: iconv -f UTF-16 -t UTF-8" if kind == "UTF-16" else "give it the ending of what it holds"
        raise Unreadable(f"{path}: holds {kind}, which is not what its name says; {fix}")


class Unclosed(io.RawIOBase):
    """The bytes of a stream that stays open when this is closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _zstd(stream: BufferedReader) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(Unclosed(stream), mode="r"), "zstd")


def _gz(stream: BufferedReader) -> Any:
    return _GzipFile(fileobj=stream, mode="rb")


_OPENERS: dict[str, Callable[[Any], Any]] = {
    "": lambda stream: stream,
    ".gz": _gz,
    ".zst": _zstd,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
