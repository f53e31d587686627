"""Parquet -> rows: runs of row groups of a file, one column page at a time, and no columns but those that are taken.

The footer is read when a run is planned. A row group of a million rows is read page by page, so that its size does not
matter; that is why there is no `pre_buffer`, which reads whole row groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bpe.checksums import open_parquet
from corpus.sources.columns import Choice, Columns, Unreadable, choose
from corpus.sources.documents import check_types
from corpus.sources.formats import PIECE, File, Look, Table

READ_ROWS, READ_BYTES = 16384, 4 << 20  # of a batch as it is read: at most, about
_BUFFER = 1 << 20  # bytes of a column chunk that are read at a time
_TEXT_BYTES = 1 << 30  # of a table: the offsets of a string column are 32 bits wide


def look(file: File, columns: Columns) -> Look:
    """The columns of the file, and its row groups cut into runs of about `PIECE` bytes of text."""
    parquet = _opened(file)
    schema = _checked_schema(parquet, file.path)
    choice = choose(schema, columns, file.path)
    check_types(choice, file.path)
    sizes = _text_bytes(parquet.metadata, range(parquet.metadata.num_row_groups), choice)
    pieces, start, size, row, first_row = [], 0, 0, 0, 0
    for group, more in enumerate(sizes):
        if group > start and size + more > PIECE:
            pieces.append((start, group, first_row))
            start, size, first_row = group, 0, row
        size += more
        row += parquet.metadata.row_group(group).num_rows
    return Look(schema, (*pieces, (start, len(sizes), first_row)))


def read(file: File, columns: Columns, kept: pa.Schema) -> Iterator[Table]:
    """The rows of the part's row groups. Raises Unreadable, naming the file, for damage."""
    parquet = _opened(file)
    schema = _checked_schema(parquet, file.path)
    choice = choose(schema, columns, file.path)
    check_types(choice, file.path)
    rest = [field.name for field in kept if field.name in choice.rest or field.name in schema.names]
    names = dict.fromkeys([*rest, *(".".join(path) for path in choice.paths.values())])
    groups = range(file.part.start, parquet.metadata.num_row_groups if file.part.end < 0 else file.part.end)
    rows = sum(parquet.metadata.row_group(group).num_rows for group in groups)
    row = file.part.first_row
    for batch in _batches(parquet, list(groups), list(names), _batch_rows(parquet.metadata, groups, choice), file.path):
        for part in _cut(batch, choice):
            taken = {ours: _column(part, path) for ours, path in choice.paths.items()}
            offsets = pa.array(np.arange(row, row + part.num_rows, dtype=np.int64))
            row += part.num_rows
            share = (row - file.part.first_row) / max(rows, 1)
            yield Table(taken, {name: part.column(name) for name in rest}, offsets, {}, share)


def _opened(file: File) -> pq.ParquetFile:
    head = file.stream.read(4)
    if head != b"PAR1":
        shown = f"it begins with {head[:4]!r}" if head else "it is empty"
        raise Unreadable(f"{file.path}: is not a Parquet file ({shown}); copy or make it again")
    try:
        return open_parquet(file.stream, _BUFFER)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(file.path, error) from None


def _checked_schema(parquet: pq.ParquetFile, path: str) -> pa.Schema:
    try:
        schema = parquet.schema_arrow.remove_metadata()
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise _damaged(path, error) from None
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: has two columns {twice!r}; rename one of them")
    return schema


def _damaged(path: str, error: Exception) -> Exception:
    if isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno is not None):
        return error
    return Unreadable(f"{path}: damaged Parquet file ({' '.join(str(error).split())[:200]}); copy or make it again")


def _batches(parquet: Any, groups: list[int], names: list[str], rows: int, path: str) -> Iterator[pa.RecordBatch]:
    batches = parquet.iter_batches(rows, row_groups=groups, columns=names, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(path, error) from None
        if batch is None:
            return
        yield batch


def _text_bytes(metadata: pq.FileMetaData, groups: range, choice: Choice) -> list[int]:
    """Bytes of the text column in each of these row groups, before compression."""
    leaf = ".".join(choice.paths["text"])
    column = next(at for at in range(metadata.num_columns) if metadata.schema.column(at).path == leaf)
    return [metadata.row_group(group).column(column).total_uncompressed_size for group in groups]


def _batch_rows(metadata: pq.FileMetaData, groups: range, choice: Choice) -> int:
    sizes = zip(groups, _text_bytes(metadata, groups, choice), strict=True)
    widest = max((size / max(metadata.row_group(group).num_rows, 1) for group, size in sizes), default=1.0)
    return max(1, min(READ_ROWS, int(READ_BYTES / max(widest, 1))))


def _cut(batch: pa.RecordBatch, choice: Choice) -> Iterator[pa.RecordBatch]:
    """The batch in halves, until the text of each is short enough for a string column."""
    if batch.num_rows < 2 or _column(batch, choice.paths["text"]).nbytes < _TEXT_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _cut(batch.slice(0, half), choice)
    yield from _cut(batch.slice(half), choice)


def _column(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    values = batch.column(path[0])
    return values if len(path) == 1 else pc.struct_field(values, list(path[1:]))
