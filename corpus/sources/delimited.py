"""CSV and TSV -> rows: fields in quotes may hold separators, newlines and doubled quotes (RFC 4180).

The first row names the columns; all values are strings. Python's parser is used: pyarrow's holds a whole block of rows
and refuses all of it for one bad row. A row with more or fewer fields than the header is dropped by name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from corpus.schema import DOCUMENTS, Drop
from corpus.sources.columns import Choice, Columns, Unreadable, choose
from corpus.sources.documents import not_utf8
from corpus.sources.formats import LARGEST, File, Look, Table, ending_of
from corpus.sources.packed import Unclosed, check_content, unpacked

BATCH_BYTES, BATCH_ROWS = 256 << 10, 1024  # of a table: characters, rows
_FIELD = 2 * LARGEST  # characters of a field, from which on a quote seems not to be closed
_HEAD = 16  # bytes that tell what a file holds
_BUFFER = 1 << 16


def look(file: File, columns: Columns) -> Look:
    """The columns that the header names. Raises Unreadable for a file without a header, or of another kind."""
    with unpacked(file.stream, file.path) as stream:
        head = io.BufferedReader(Unclosed(stream), _BUFFER)
        check_content(head.peek(_HEAD)[:_HEAD], file.path)
        return Look(_schema(_header(_rows(head, file.path), file.path), file.path))


def read(file: File, columns: Columns, kept: pa.Schema) -> Iterator[Table]:
    """The rows behind the header. Raises Unreadable, naming file and row, where a quote is never closed."""
    schema = look(file, columns).schema
    file.stream.seek(0)
    choice = choose(schema, columns, file.path)
    with unpacked(file.stream, file.path) as stream:
        rows = _rows(stream, file.path)
        names = _header(rows, file.path)
        values: list[list[str]] = []
        bad: dict[int, Drop] = {}
        size = first = 0
        for row in rows:
            if len(row) != len(names):
                bad[len(values)] = Drop("import.not_csv", len(row), len(names))
                row = [""] * len(names)
            values.append(row)
            size += sum(map(len, row))
            if size >= BATCH_BYTES or len(values) >= BATCH_ROWS:
                yield _table(values, bad, first, names, choice, kept, file)
                first, values, bad, size = first + len(values), [], {}, 0
        if values:
            yield _table(values, bad, first, names, choice, kept, file)


def _rows(stream: Any, path: str) -> Iterator[list[str]]:
    """The rows that are not empty; bytes that are not UTF-8 are lone surrogates."""
    csv.field_size_limit(_FIELD)
    text = io.TextIOWrapper(io.BufferedReader(Unclosed(stream), _BUFFER), "utf-8-sig", "surrogateescape", newline="")
    rows = csv.reader(text, delimiter="\t" if ending_of(path).startswith(".tsv") else ",", strict=True)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            why = f"line {rows.line_num}: {error}; is a quote before it not closed, or not doubled?"
            raise Unreadable(f"{path}: {why}") from None
        if row is None:
            return
        if row:
            yield row


def _header(rows: Iterator[list[str]], path: str) -> list[str]:
    names = next(rows, None)
    if names is None:
        raise Unreadable(f"{path}: is empty; a CSV file should begin with a row that names its columns")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{path}: two columns are called {twice!r}; rename one of them")
    return names


def _schema(names: list[str], path: str) -> pa.Schema:
    try:
        return pa.schema([(name, pa.string()) for name in names])
    except UnicodeEncodeError:
        raise Unreadable(f"{path}: its first row is not UTF-8; convert the file to UTF-8") from None


def _table(
    values: list[list[str]],
    bad: dict[int, Drop],
    first: int,
    names: list[str],
    choice: Choice,
    kept: pa.Schema,
    file: File,
) -> Table:
    drops = dict(bad)
    at = {name: number for number, name in enumerate(names)}
    columns = {}
    for ours, path in choice.paths.items():
        strings = _strings([row[at[path[0]]] for row in values], ours, drops)
        if ours != "text" and DOCUMENTS.field(ours).type == pa.string():  # CSV has no nulls but empty fields
            strings = pa.array([value or None for value in strings.to_pylist()], pa.string())
        columns[ours] = strings
    others = {
        field.name: _strings([row[at[field.name]] for row in values], field.name, drops)
        for field in kept
        if field.name in at
    }
    offsets = pa.array(range(first, first + len(values)), pa.int64())
    share = min(file.stream.tell() / max(file.size, 1), 1.0)
    return Table(columns, others, offsets, drops, share, is_utf8=True)


def _strings(values: list[str], name: str, drops: dict[int, Drop]) -> pa.Array:
    """The values of a column; those that are not UTF-8 are null, and their rows dropped."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        valid: list[str | None] = []
        for row, value in enumerate(values):
            try:
                value.encode()
                valid.append(value)
            except UnicodeEncodeError as error:
                drops.setdefault(row, not_utf8(name, len(value[: error.start].encode())))
                valid.append(None)
        return pa.array(valid, pa.string())
