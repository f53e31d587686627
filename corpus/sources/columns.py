"""Which column of a file becomes which column of DOCUMENTS, by names alone.

In: what the user has said (`Columns`) and the columns of a file as an Arrow schema. Out: a `Choice`. Every format
describes its file as a schema, a JSON-lines file by its first lines, so that there is one rule for all formats.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.schema import DOCUMENTS

TEXTS = ("text", "content", "raw_content", "body", "document")  # names of a text column, in this order
SOURCE = pa.schema([("source_file", pa.string()), ("source_offset", pa.int64())])  # behind the columns of DOCUMENTS
METADATA = "metadata"  # the column for the other fields of JSON lines
_SHOWN, _LONGEST = 30, 60  # columns that an error lists, characters of a name


class Unreadable(ValueError):
    """A file holds something else than its ending says. The message names the file."""


@dataclass(frozen=True)
class Columns:
    """What is taken of a file. A dotted name, such as `meta.url`, reaches into a struct or a JSON object.

    text    the text column; "": `text`, or the next of `TEXTS` that there is, or the only string column
    id      the column of ids; "": `id`, if there is one
    rename  pairs (column of DOCUMENTS, column of the file); an empty second name: the column stays null
    keep    whether the other columns are kept, behind those of DOCUMENTS
    by      how plain text is cut into documents: "file", "line", or a separator

    Raises ValueError for names that are no column of DOCUMENTS, and for a column that is named twice.

    >>> from corpus import Columns
    >>> Columns(text="content", rename=(("url", "meta.url"),)).named()
    {'url': 'meta.url', 'text': 'content'}
    """

    text: str = ""
    id: str = ""
    rename: tuple[tuple[str, str], ...] = ()
    keep: bool = False
    by: str = "file"

    def __post_init__(self) -> None:
        seen = {name for name in ("text", "id") if getattr(self, name)}
        for ours, theirs in self.rename:
            if ours not in DOCUMENTS.names:
                raise ValueError(
                    f"--map {ours}={theirs}: documents have no column {ours!r}, only {names_of(DOCUMENTS)}"
                )
            if ours in seen:
                raise ValueError(f"--map {ours}={theirs}: the column {ours!r} is named twice; name it once")
            seen.add(ours)
        if not self.by:
            raise ValueError("plain text is cut by `file`, by `line` or by a separator; the separator is empty")

    def named(self) -> dict[str, str]:
        """The columns that the user has named: column of DOCUMENTS -> column of the file."""
        named = dict(self.rename)
        named.update({name: path for name in ("text", "id") if (path := getattr(self, name))})
        return named

    def to_json(self) -> dict[str, Any]:
        """All fields, for a configuration."""
        return dataclasses.asdict(self) | {"rename": [list(pair) for pair in self.rename]}


class Choice(NamedTuple):
    """What is taken of one file.

    paths  column of DOCUMENTS -> the path to it: the name of a column, and of fields in it
    types  column of DOCUMENTS -> the type that it has in the file
    rest   the names of the columns of which nothing is taken
    """

    paths: dict[str, tuple[str, ...]]
    types: dict[str, pa.DataType]
    rest: list[str]

    @property
    def whole(self) -> set[str]:
        """The columns that are taken as they are, and not only a field of them."""
        return {path[0] for path in self.paths.values() if len(path) == 1}


def choose(schema: pa.Schema, columns: Columns, where: str) -> Choice:
    """What is taken of a file with these columns; a column that the user has named may be missing, except the text.

    Raises ValueError naming the file (`where`) and its columns if there is no text column.
    """
    named = columns.named()
    wanted = {name: named.get(name, name) for name in DOCUMENTS.names if name != "text"}
    wanted = {"text": _text_column(schema, named.get("text", ""), where)} | wanted
    paths, types = {}, {}
    for ours, theirs in wanted.items():
        path = resolve(schema, theirs)
        if path is not None:
            paths[ours], types[ours] = path
    used = {path[0] for path in paths.values()}
    return Choice(paths, types, [name for name in schema.names if name not in used])


def resolve(schema: pa.Schema, name: str) -> tuple[tuple[str, ...], pa.DataType] | None:
    """(path, type) of a column, or of a field of it by a dotted name; None if there is none."""
    if not name:
        return None
    if name in schema.names:
        return (name,), schema.field(schema.names.index(name)).type
    first, *rest = name.split(".")
    if not rest or first not in schema.names:
        return None
    kind = schema.field(schema.names.index(first)).type
    for part in rest:
        if not pa.types.is_struct(kind) or (index := kind.get_field_index(part)) < 0:
            return None
        kind = kind.field(index).type
    return (first, *rest), kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold text: strings, or binary that may be UTF-8, dictionary-encoded or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()


def is_string(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's strings, dictionary-encoded or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _text_column(schema: pa.Schema, named: str, where: str) -> str:
    if named:
        if resolve(schema, named) is None:
            raise ValueError(f"{where}: no column {named!r}, only {names_of(schema)}; name another with --text-column")
        return named
    if known := next((name for name in TEXTS if name in schema.names), None):
        return known
    strings: list[str] = [field.name for field in schema if is_string(field.type)]
    if len(strings) == 1:
        return strings[0]
    raise ValueError(
        f"{where}: no column `text`, only {names_of(schema)}; name the column that holds the text with --text-column"
    )


def names_of(schema: pa.Schema) -> str:
    """The names of columns in one line, for a message; a damaged CSV file may have names of many lines."""
    listed = [" ".join(name.split())[:_LONGEST] for name in schema.names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more if listed else "none at all"
