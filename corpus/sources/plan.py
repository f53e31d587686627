"""Paths -> units: finds the files, looks at them, and cuts them so that a large file uses all workers.

    open_sources(["fineweb/"]) -> SourceFiles: keys, units, the reader, and the columns of the documents

A unit is a run of row groups of a Parquet file, a range of bytes of plain JSON lines or of plain text that is cut by
lines, a whole file of any other kind, or many small text files. The files and their sizes alone decide about the cuts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.engine.base import Unit
from corpus.schema import DOCUMENTS
from corpus.sources.columns import METADATA, SOURCE, Choice, Columns, Unreadable, choose, names_of
from corpus.sources.documents import plain_type
from corpus.sources.formats import FORMATS, LARGEST, PIECE, File, Look, Part, ending_of, format_of, is_packed
from corpus.sources.found import Found, find_files
from corpus.sources.keys import unit_keys
from corpus.sources.reader import FileRows
from corpus.store.inputs import input_at
from corpus.store.open import open_path

FORMAT = 1  # of what is made of files; it is part of the configuration
GATHERED = 1000  # small text files in a unit, at most
_AT_ONCE = 16  # files that are opened or looked up at a time


class _Piece(NamedTuple):
    """A unit before its files are looked up."""

    paths: tuple[str, ...]
    part: Part


@dataclass(frozen=True)
class SourceFiles:
    """Files that are read as documents, cut into units.

    schema    the columns of the documents, equal for all units
    left_out  the columns of the files of which nothing is taken
    """

    columns: Columns
    schema: pa.Schema
    left_out: list[str]
    pieces: Mapping[str, _Piece]

    def keys(self) -> list[str]:
        """The keys of all units, sorted."""
        return sorted(self.pieces)

    def units(self, keys: Sequence[str]) -> list[Unit]:
        """The units with these keys. A file that cannot be read makes its unit fail when it runs.

        Raises ConnectionError, which is about all files.
        """
        paths = list(dict.fromkeys(path for key in keys for path in self.pieces[key].paths))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            inputs = dict(zip(paths, pool.map(input_at, paths), strict=True))
        return [
            Unit(key, tuple(inputs[path] for path in self.pieces[key].paths), part=self.pieces[key].part)
            for key in keys
        ]

    def reader(self) -> FileRows:
        """The reader of every unit."""
        return FileRows(self.columns, self.schema)

    def config(self) -> dict[str, Any]:
        """Everything that decides the bytes of the output beside the files."""
        kept = [[field.name, str(field.type)] for field in self.schema][len(DOCUMENTS) + len(SOURCE) :]
        return {
            "format": FORMAT,
            "columns": self.columns.to_json(),
            "kept": kept,
            "piece": PIECE,
            "gathered": GATHERED,
            "largest": LARGEST,
        }


def is_source(path: str) -> bool:
    """Whether the ending of a path is that of a file that can be read."""
    return bool(ending_of(path))


def open_sources(paths: Sequence[str], columns: Columns = Columns()) -> SourceFiles:  # noqa: B008 - frozen
    """The files that `paths` name: files, folders with folders in them, patterns; local or in any storage.

    Raises FileNotFoundError or ValueError naming the path and the fix; among others, for a file that has no text
    column, and for columns that cannot be cast, or kept beside those of another file.
    """
    files = [file for file in find_files(paths) if not _is_card(file, paths, columns)]
    if not files:
        raise ValueError(
            f"{', '.join(paths)}: the .json files here hold no lines with a text; name the file to read it"
        )
    looks = dict(_looks(files, columns))
    schemas = {file.path: look.schema for file in files if (look := looks.get(file.path))}
    choices = {path: choose(schema, columns, path) for path, schema in schemas.items() if schema.names}
    _check_named(choices, schemas, columns)
    kept = _kept(files, schemas, choices) if columns.keep else {}
    schema = pa.schema([*DOCUMENTS, *SOURCE, *(pa.field(name, one.type) for name, one in kept.items())])
    # The fields of JSON lines that are kept are in `metadata`, all of them.
    lose = [choice for path, choice in choices.items() if not (columns.keep and format_of(path) == "jsonl")]
    left_out = dict.fromkeys(name for choice in lose for name in choice.rest if name not in kept)
    return SourceFiles(columns, schema, list(left_out), _pieces(files, looks, columns))


def _looks(files: Sequence[Found], columns: Columns) -> Iterator[tuple[str, Look]]:
    """(path, look) of the files that are looked at and can be read; the units of the others say why not."""
    wanted: list[Found] = []
    for name, one in FORMATS.items():
        wanted += itertools.islice((file for file in files if format_of(file.path) == name), one.looks)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looks = pool.map(lambda file: _look(file, columns), wanted)
        shared: dict[pa.Schema, pa.Schema] = {}  # the files of a data set have few schemas
        for file, look in zip(wanted, looks, strict=True):
            if look:
                yield file.path, look._replace(schema=shared.setdefault(look.schema, look.schema))


def _look(file: Found, columns: Columns) -> Look | None:
    try:
        with open_path(file.path) as stream:
            opened = File(stream, file.path, file.size, Part((file.name,)))
            return FORMATS[format_of(file.path)].load().look(opened, columns)
    except ConnectionError:
        raise
    except (Unreadable, OSError):
        return None


def _is_card(file: Found, paths: Sequence[str], columns: Columns) -> bool:
    """Whether a plain .json file, found in a folder, holds something else than lines with a text."""
    if not file.path.lower().endswith(".json") or file.path in paths:
        return False
    look = _look(file, columns)
    try:
        if look and look.schema.names:
            choose(look.schema, columns, file.path)
            return False
    except ValueError:
        pass
    return True


def _check_named(choices: Mapping[str, Choice], schemas: Mapping[str, pa.Schema], columns: Columns) -> None:
    """Raises ValueError if a column that the user has named is in none of the files."""
    for ours, theirs in columns.named().items():
        if theirs and choices and not any(ours in choice.paths for choice in choices.values()):
            path = next(iter(choices))
            flag = f"--{ours}-column {theirs}" if ours in ("text", "id") else f"--map {ours}={theirs}"
            raise ValueError(f"{flag}: no file has this column; {path} has {names_of(schemas[path])}")


class _Kept(NamedTuple):
    """A column that is kept, and the first file that has it."""

    type: pa.DataType
    path: str


def _kept(files: Sequence[Found], schemas: Mapping[str, pa.Schema], choices: Mapping[str, Choice]) -> dict[str, _Kept]:
    """The columns that are kept, with types that hold the values of all files; `metadata` if there are JSON lines.

    Raises ValueError naming column and both files where there is no such type.
    """
    kept: dict[str, _Kept] = {}
    seen: set[tuple[pa.Schema, str]] = set()
    for file in files:
        if file.path not in choices or format_of(file.path) == "jsonl":
            continue
        schema, choice = schemas[file.path], choices[file.path]
        for field in schema:
            if field.name in choice.whole or field.name in DOCUMENTS.names + SOURCE.names:
                continue
            if (schema, field.name) not in seen:
                seen.add((schema, field.name))
                kept[field.name] = _unified(kept.get(field.name), _Kept(plain_type(field.type), file.path), field.name)
    if any(format_of(file.path) == "jsonl" for file in files):
        if METADATA in kept:
            raise ValueError(
                f"{kept[METADATA].path}: has a column {METADATA!r}, where the other fields of JSON lines go; "
                "read these files and the JSON lines each alone"
            )
        kept[METADATA] = _Kept(pa.string(), "")
    return kept


def _unified(one: _Kept | None, other: _Kept, name: str) -> _Kept:
    if one is None or one.type == other.type:
        return one or other
    try:
        schemas = [pa.schema([(name, kept.type)]) for kept in (one, other)]
        kind = pa.unify_schemas(schemas, promote_options="permissive").field(name).type
        for kept in (one, other):
            pa.nulls(0, kept.type).cast(kind)
    except pa.ArrowException:
        raise ValueError(
            f"{other.path}: column {name!r} holds {other.type}, but {one.type} in {one.path}; "
            "read these files each alone, or without --keep-columns"
        ) from None
    return _Kept(kind, one.path)


def _pieces(files: Sequence[Found], looks: Mapping[str, Look], columns: Columns) -> dict[str, _Piece]:
    small: list[Found] = []
    large: list[Found] = []
    for file in files:
        (small if format_of(file.path) == "text" and columns.by == "file" else large).append(file)
    cuts = {file: _cuts(file, looks.get(file.path), columns) for file in large}
    groups = {group[0]: group for group in _gathered(small)}
    keys = unit_keys({file.name: len(of) for file, of in cuts.items()} | {file.name: 1 for file in groups})
    pieces = {
        key: _Piece((file.path,), Part((file.name,), *cut))
        for file, of in cuts.items()
        for key, cut in zip(keys[file.name], of, strict=True)
    }
    for first, group in groups.items():
        pieces[keys[first.name][0]] = _Piece(
            tuple(file.path for file in group), Part(tuple(file.name for file in group))
        )
    return pieces


def _cuts(file: Found, look: Look | None, columns: Columns) -> Sequence[tuple[int, int, int]]:
    kind = format_of(file.path)
    if kind == "parquet":
        return look.pieces if look else [(0, -1, 0)]
    if is_packed(file.path) or not (kind == "jsonl" or (kind == "text" and columns.by == "line")) or file.size <= PIECE:
        return [(0, -1, 0)]
    return [(start, min(start + PIECE, file.size), 0) for start in range(0, file.size, PIECE)]


def _gathered(files: Iterable[Found]) -> Iterator[list[Found]]:
    """Consecutive files of `PIECE` bytes, or `GATHERED` files, together; at least one."""
    group: list[Found] = []
    size = 0
    for file in files:
        if group and (size + file.size > PIECE or len(group) == GATHERED):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group
