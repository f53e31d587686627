"""The table of formats: which ending is which format, and what a module of a format has.

A new format is a module with the two functions of `FormatModule`, and a line in `FORMATS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple, Protocol, cast

import pyarrow as pa

from corpus.schema import Drop
from corpus.sources.columns import Columns

PACKED = (".gz", ".zst", ".bz2", ".xz")
LARGEST = 64 << 20  # bytes of a text; a longer one is no document
PIECE = 64 << 20  # bytes of text of a unit, where a file can be cut


class Part(NamedTuple):
    """Which part of which files a unit reads.

    names      `source_file` of each of its files
    start      where its part of the file begins: a row group, or a byte
    end        where its part ends; -1: where the file ends
    first_row  the number of its first row in the file
    """

    names: tuple[str, ...]
    start: int = 0
    end: int = -1
    first_row: int = 0


class Look(NamedTuple):
    """What planning learns of a file: its columns, and (start, end, first row) of each unit."""

    schema: pa.Schema
    pieces: tuple[tuple[int, int, int], ...] = ((0, -1, 0),)


class Table(NamedTuple):
    """Some consecutive rows of a file.

    columns  column of DOCUMENTS -> its values; `text` is always there, as strings or binary
    kept     columns that are kept beside those of DOCUMENTS
    offsets  int64[rows]: `source_offset` of each row
    drops    by row: why it is no document, as far as the format can tell
    share    how much of the unit's part of the file is read, from 0 to 1
    is_utf8  whether all columns of text are strings that were made of Python's, so that they are UTF-8
    """

    columns: dict[str, pa.Array]
    kept: dict[str, pa.Array]
    offsets: pa.Array
    drops: dict[int, Drop]
    share: float
    is_utf8: bool = False


class File(NamedTuple):
    """An open file: its bytes, the path that messages show, its size in bytes, and its part.

    size  bytes as stored; `part` counts unpacked bytes, and parts are given of unpacked files alone
    """

    stream: BufferedReader
    path: str
    size: int
    part: Part


class FormatModule(Protocol):
    """What a module of a format has."""

    def look(self, file: File, columns: Columns) -> Look:
        """The columns of a file. Raises Unreadable, or what reading raises, if it holds something else."""

    def read(self, file: File, columns: Columns, kept: pa.Schema) -> Iterator[Table]:
        """The rows of the file's part, in order; `kept` are the columns to keep, with the types that they get."""


class Format(NamedTuple):
    """A format.

    module   the module that reads it
    endings  of its files, in small letters
    packed   whether its files may be compressed as a whole
    looks    the number of files that planning looks at; None: all of them
    mark     what stands between file and number in an id that is made: # for a row, @ for a byte
    """

    module: str
    endings: tuple[str, ...]
    packed: bool = True
    looks: int | None = None
    mark: str = "#"

    def load(self) -> FormatModule:
        return cast(FormatModule, importlib.import_module(self.module))


FORMATS = {
    "parquet": Format("corpus.sources.parquet", (".parquet",), packed=False),
    "jsonl": Format("corpus.sources.jsonl", (".jsonl", ".ndjson", ".json"), looks=16, mark="@"),
    "csv": Format("corpus.sources.delimited", (".csv", ".tsv")),
    "text": Format("corpus.sources.text", (".txt", ".text"), looks=0, mark="@"),
}


def _endings() -> dict[str, str]:
    return {
        ending + packed: name
        for name, one in FORMATS.items()
        for ending in one.endings
        for packed in ("", *(PACKED if one.packed else ()))
    }


ENDINGS = _endings()  # ending -> name of the format


def ending_of(path: str) -> str:
    """The ending of a path that names a format, "" if it has none."""
    name = path.rpartition("/")[2].lower()
    return max((ending for ending in ENDINGS if name.endswith(ending)), key=len, default="")


def format_of(path: str) -> str:
    """The name of the format of a file. Raises ValueError naming the file and the endings that there are."""
    ending = ending_of(path)
    if not ending:
        known = ", ".join(ending for one in FORMATS.values() for ending in one.endings)
        raise ValueError(f"{path}: unknown kind of file; it should end in {known} (also {', '.join(PACKED)})")
    return ENDINGS[ending]


def is_packed(path: str) -> bool:
    """Whether a file is compressed as a whole, by its ending."""
    return path.lower().endswith(PACKED)
