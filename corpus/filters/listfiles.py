"""Lists on disk (a file, a folder of categories, or an archive of one) -> pieces of whole lines with their category.

    adult/domains  adult/urls  adult/expressions  gambling/domains  ...   a folder, as the University of Toulouse has it
    adult.tar.gz  blacklists.tar.gz                                       archives of it, as the university publishes it
    mine.txt  mine.txt.gz                                                 a file with one entry per line

A category has the name of its folder; a file that is given by itself has its own name as its category. In a folder of
categories, a category whose file `usage` says `white` and not `black` is no reason to block, and a folder that is a
link to another one is not read again. Regular expressions are read from files named `expressions`. A file
`very_restrictive_expression`, which some categories have, is read only if it is given by itself, because it is what its
name says.

A list is a regular file, or a folder of such files, of at most 1 GiB of text. Archives are unpacked no further, so that
no file keeps a run waiting or fills its memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from bpe.whole import read_whole, unreadable
from corpus.store.files import Bounded

_BLOCK = 1 << 22  # bytes that are read at a time, and then to the end of the line
_LINE = 1 << 16  # most bytes of a line; a file with a longer one is no list
_MOST_BYTES = 1 << 30  # of all text of a list; the largest that are published have 100 MB
_MOST_MEMBERS = 1 << 16  # of an archive
_MOST_USAGE = 1 << 16  # bytes of a file `usage`
_GZIP = b"\x1f\x8b"
_OPEN: dict[bytes, Any] = {
    _GZIP: gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}  # by the first two bytes of an archive
_NAMES = ("domains", "urls", "expressions")


class Piece(NamedTuple):
    """Whole lines of one category, each of which ends with a newline.

    source    the file, for error messages
    patterns  whether the lines are regular expressions
    """

    category: str
    source: str
    data: bytes
    patterns: bool


def read_lists(path: str, *, allowing: bool = False) -> Iterator[Piece]:
    """The pieces of the lists at `path`: of a folder in the order of names, of an archive in its own order.

    `allowing`: they are lists of what is kept, so that a category whose `usage` says `white` is read too. Raises
    OSError if a file cannot be read, ValueError if it is damaged or no list; the error names the file and the fix.
    """
    try:
        identity(path)  # refuses what is no list before anything is opened
        size = 0
        for piece in _read(path, allowing):
            size += len(piece.data)
            if size > _MOST_BYTES:
                raise ValueError(
                    f"list {path}: holds over {_MOST_BYTES >> 20:,} MiB; name only the categories you want"
                )
            yield piece
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(f"list {path}: is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise OSError(f"list {path}: {error.strerror}; give a text file with one entry per line") from error


def identity(path: str) -> list[tuple[str, int, int, int, int]]:
    """Name, inode, size and times of each file of a list, which tell without reading it whether it has changed.

    Raises OSError if a file is not there, ValueError if it is no regular file or too large; the error names the file.
    """
    files = [path] if not Path(path).is_dir() else list(map(str, _files(Path(path))))
    try:
        for file in files:
            if fault := unreadable(Path(file), _MOST_BYTES):
                raise ValueError(f"list {file}: {fault}")
        states = [(file, os.stat(file)) for file in files]
    except OSError as error:
        raise OSError(f"list {path}: {error.strerror}; give a text file with one entry per line") from error
    return [(os.path.abspath(f), s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f, s in states]


def _read(path: str, allowing: bool) -> Iterator[Piece]:
    if Path(path).is_dir():
        yield from _folder(Path(path), allowing)
        return
    with open(path, "rb") as file:
        kind = file.read(2)
    packed = os.path.getsize(path) if kind in _OPEN else 0
    with _OPEN.get(kind, open)(path, "rb") as file:
        archive = _tar(Bounded(file, f"list {path}", packed, _MOST_BYTES))
        if archive is not None:
            yield from _archive(path, archive, allowing)
            return
    yield from _pieces(path, Path(path).name, path)


def _tar(stream: Bounded) -> tarfile.TarFile | None:
    """The tar file in a stream; None if the stream is none."""
    try:
        return tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:")
    except tarfile.ReadError:
        return None


def _folder(folder: Path, allowing: bool) -> Iterator[Piece]:
    files = _files(folder)
    white = {file.parent for file in files if _stem(file.name) == "usage" and _is_white(read_whole(file, _MOST_USAGE))}
    lists = [file for file in files if _stem(file.name) in _NAMES]
    if not lists:
        raise ValueError(f"list {folder}: a folder without lists; they are called domains or urls, in it or below it")
    for file in lists:
        if allowing or file.parent == folder or file.parent not in white:
            yield from _pieces(str(file), file.parent.resolve().name, str(file))


def _files(folder: Path) -> list[Path]:
    """The lists in a folder and below it, sorted; links to folders are categories by another name, and not followed."""
    files = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        files += [Path(place, name) for name in sorted(names) if _stem(name) in (*_NAMES, "usage")]
    return files


def _archive(path: str, archive: tarfile.TarFile, allowing: bool) -> Iterator[Piece]:
    """The pieces of a tar file, in its order; the `usage` files are read first."""
    with archive:
        members = _members(path, archive)
        usages = {member.name.rpartition("/")[0]: member for member in members if _stem(member.name) == "usage"}
        white = {place for place, member in usages.items() if _is_white(_content(archive, member).read(_MOST_USAGE))}
        lists = [member for member in members if _stem(Path(member.name).name) in _NAMES]
        if not lists:
            raise ValueError(f"list {path}: an archive without lists; they are called domains or urls, in folders")
        alone = len({member.name.rpartition("/")[0] for member in lists}) == 1
        for member in lists:  # in the archive's order: going back would read it again from its beginning
            place = member.name.rpartition("/")[0]
            if allowing or alone or place not in white:
                category = Path(place).name or Path(path).name
                source = f"{path}, {member.name}"
                yield from _blocks(
                    _content(archive, member), category, source, member.size, _stem(member.name) == "expressions"
                )


def _members(path: str, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The files of an archive. Raises ValueError if they are too many."""
    members = []
    for number, member in enumerate(archive):
        if number == _MOST_MEMBERS:
            raise ValueError(f"list {path}: an archive of over {_MOST_MEMBERS:,} files; name only the lists you want")
        if member.isfile():
            members.append(member)
    return members


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    file = archive.extractfile(member)
    assert file is not None  # the member is a file
    return cast(BinaryIO, file)


def _is_white(usage: bytes) -> bool:
    words = usage.split()
    return b"white" in words and b"black" not in words


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".gz")


def _pieces(path: str, category: str, source: str) -> Iterator[Piece]:
    with open(path, "rb") as file:
        yield from _blocks(
            file, category, source, os.path.getsize(path), _stem(path).endswith(("expression", "expressions"))
        )


def _blocks(file: BinaryIO, category: str, source: str, size: int, patterns: bool) -> Iterator[Piece]:
    """The pieces of a file of `size` bytes, which may be packed."""
    if file.peek(2)[:2] == _GZIP:  # type: ignore[attr-defined]
        with gzip.open(file) as inner:
            text = io.BufferedReader(Bounded(inner, f"list {source}", size, _MOST_BYTES), _BLOCK)
            yield from _lines(cast(BinaryIO, text), category, source, patterns)
    else:
        yield from _lines(file, category, source, patterns)


def _lines(file: BinaryIO, category: str, source: str, patterns: bool) -> Iterator[Piece]:
    while block := file.read(_BLOCK):
        rest = file.readline(_LINE)
        if len(rest) == _LINE:
            raise ValueError(
                f"list {source}: has a line of over {_LINE:,} bytes; give a text file with one entry per line"
            )
        block += rest
        yield Piece(category, source, block if block.endswith(b"\n") else block + b"\n", patterns)
