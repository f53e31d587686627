"""Where lists lie: a file, a folder of categories, an archive of them. Out: named pieces of whole lines.

    adult/domains  adult/urls  adult/expressions  gambling/domains  ...     a folder as the University of Toulouse's
    adult.tar.gz  blacklists.tar.gz                                         and how it is distributed
    mine.txt  mine.txt.gz                                                   one entry a line

A category is named after its folder, a file by itself after the file. In a folder of categories, one whose file
`usage` says `white` and not `black` is no reason to block, and one that is a link to another is not read again.
Expressions are read where they are called `expressions`; the `very_restrictive_expression` of some categories only
if it is named itself, because it is what its name says.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

_BLOCK = 1 << 22  # bytes read at a time, then to the end of the line
_LINE = 1 << 16  # bytes of a line at most; what is longer is no list
_GZIP = b"\x1f\x8b"
_NAMES = ("domains", "urls", "expressions")


class Piece(NamedTuple):
    """Whole lines of one category, each ending in a newline; `patterns`: they are regular expressions."""

    category: str
    source: str
    data: bytes
    patterns: bool


def read_lists(path: str, *, allowing: bool = False) -> Iterator[Piece]:
    """The pieces of the lists at `path`, a folder's in the order of names, an archive's in its own.

    Raises OSError if something cannot be read, ValueError if it is damaged or no list; both name it and the fix.
    """
    try:
        if Path(path).is_dir():
            yield from _folder(Path(path), allowing)
        elif tarfile.is_tarfile(path):
            yield from _archive(path, allowing)
        else:
            yield from _pieces(path, Path(path).name, path)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"list {path}: is damaged ({error}); fetch it again") from None
    except OSError as error:
        raise OSError(f"list {path}: {error.strerror}; give a text file with one entry a line") from error


def identity(path: str) -> list[tuple[str, int, int, int, int]]:
    """What tells, without reading it, that a list is the one it was: name, file, bytes, times of its files."""
    files = [path] if not Path(path).is_dir() else list(map(str, _files(Path(path))))
    try:
        found = [(file, os.stat(file)) for file in files]
    except OSError as error:
        raise OSError(f"list {path}: {error.strerror}; give a text file with one entry a line") from error
    return [(os.path.abspath(f), s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f, s in found]


def _folder(folder: Path, allowing: bool) -> Iterator[Piece]:
    files = _files(folder)
    white = {file.parent for file in files if _stem(file.name) == "usage" and _is_white(file.read_bytes())}
    lists = [file for file in files if _stem(file.name) in _NAMES]
    if not lists:
        raise ValueError(f"list {folder}: a folder without lists; they are called domains or urls, in it or below it")
    for file in lists:
        if allowing or file.parent == folder or file.parent not in white:
            yield from _pieces(str(file), file.parent.resolve().name, str(file))


def _files(folder: Path) -> list[Path]:
    """The files in a folder and below it, sorted; not those below links, which are categories by another name."""
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(place, name) for name in sorted(names) if _stem(name) in (*_NAMES, "usage")]
    return found


def _archive(path: str, allowing: bool) -> Iterator[Piece]:
    """The same from a tar file, in its order; categories that say `white` are found first."""
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        usages = {member.name.rpartition("/")[0]: member for member in members if _stem(member.name) == "usage"}
        white = {place for place, member in usages.items() if _is_white(_content(archive, member).read())}
        lists = [member for member in members if _stem(Path(member.name).name) in _NAMES]
        if not lists:
            raise ValueError(f"list {path}: an archive without lists; they are called domains or urls, in folders")
        alone = len({member.name.rpartition("/")[0] for member in lists}) == 1
        for member in lists:  # in the archive's order: to go back in it would be to begin anew
            place = member.name.rpartition("/")[0]
            if allowing or alone or place not in white:
                category = Path(place).name or Path(path).name
                source = f"{path}, {member.name}"
                yield from _blocks(_content(archive, member), category, source, _stem(member.name) == "expressions")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    file = archive.extractfile(member)
    assert file is not None  # it is a file
    return cast(BinaryIO, file)


def _is_white(usage: bytes) -> bool:
    words = usage.split()
    return b"white" in words and b"black" not in words


def _stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".gz")


def _pieces(path: str, category: str, source: str) -> Iterator[Piece]:
    with open(path, "rb") as file:
        yield from _blocks(file, category, source, _stem(path).endswith(("expression", "expressions")))


def _blocks(file: BinaryIO, category: str, source: str, patterns: bool) -> Iterator[Piece]:
    if file.peek(2)[:2] == _GZIP:  # type: ignore[attr-defined]
        with gzip.open(file) as inner:
            yield from _lines(cast(BinaryIO, inner), category, source, patterns)
    else:
        yield from _lines(file, category, source, patterns)


def _lines(file: BinaryIO, category: str, source: str, patterns: bool) -> Iterator[Piece]:
    while block := file.read(_BLOCK):
        rest = file.readline(_LINE)
        if len(rest) == _LINE:
            raise ValueError(
                f"list {source}: has a line of over {_LINE:,} bytes; give a text file with one entry a line"
            )
        block += rest
        yield Piece(category, source, block if block.endswith(b"\n") else block + b"\n", patterns)
