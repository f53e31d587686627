"""Where training text comes from: Parquet files, folders of them, datasets with commit records, text and JSON lines.

In goes a path, out come Arrow arrays or strings, read in pieces so that no file is held whole.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

TEXT_ENDINGS = (".txt", ".txt.gz")
JSON_ENDINGS = (".jsonl", ".jsonl.gz")
ROWS = 4096
LINE_BYTES = 1 << 20


def files_of(source: Path) -> list[Path]:
    """The files that a source stands for, in order.

    A folder with `_units/` is a dataset: of its files only those count that a commit record names as documents (a
    run may have left others behind). Raises FileNotFoundError or ValueError, naming the source and the fix.
    """
    if source.is_file():
        if not source.name.endswith((".parquet", *TEXT_ENDINGS, *JSON_ENDINGS)):
            known = ", ".join((".parquet", *TEXT_ENDINGS, *JSON_ENDINGS))
            raise ValueError(f"{source}: unknown kind of file; give one that ends in {known}")
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such file or folder")
    if (source / "_units").is_dir():
        files = [file for record in sorted((source / "_units").glob("*.json")) for file in _named_by(record)]
        if not files:
            raise ValueError(f"{source}: its commit records name no documents; did the run finish?")
        return files
    files = sorted(source.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{source}: no *.parquet in this folder")
    return files


def read_texts(files: Iterable[Path], column: str = "text") -> Iterator[pa.Array | str]:
    """The texts of the files: a column of Parquet or JSON lines; a text file is cut at the ends of lines.

    Raises ValueError naming file (and line) for a column that is missing or holds no text.
    """
    for file in files:
        if file.name.endswith(".parquet"):
            yield from _read_parquet(file, column)
        elif file.name.endswith(JSON_ENDINGS):
            yield from _read_json_lines(file, column)
        else:
            yield from _read_text(file)


def _named_by(record: Path) -> list[Path]:
    try:
        outputs = json.loads(record.read_bytes())["outputs"]
        paths = [output["path"] for output in outputs if output["kind"] == "documents"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record}: not a commit record ({error!r}); run the stage again") from error
    files = [record.parent.parent / path for path in paths]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: named by {record.name} but not there; copy the whole dataset")
    return files


def _read_parquet(file: Path, column: str) -> Iterator[pa.Array]:
    try:
        with pq.ParquetFile(file) as parquet:
            if column not in parquet.schema_arrow.names:
                raise ValueError(f"{file}: no column {column!r}, only {', '.join(parquet.schema_arrow.names)}")
            for batch in parquet.iter_batches(ROWS, columns=[column]):
                yield batch.column(0)
    except pa.ArrowException as error:
        raise ValueError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _read_json_lines(file: Path, column: str) -> Iterator[str]:
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    text = json.loads(line)[column]
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{file}, line {number}: no JSON object with {column!r}") from error
                if not isinstance(text, str):
                    raise ValueError(f"{file}, line {number}: {column!r} is not a string")
                yield text


def _read_text(file: Path) -> Iterator[str]:
    """Runs of whole lines, cut only where a line starts with something that is not white space: there every split
    rule ends a pretoken anyway (but for gpt2 and cl100k, whose last white space of a text stays in one piece)."""
    held = ""
    with _opened(file) as lines:
        for line in lines:
            if len(held) >= LINE_BYTES and held.endswith("\n") and not line[:1].isspace():
                yield held
                held = ""
            held += line.decode("utf-8", "replace")
    if held:
        yield held


def _opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.name.endswith(".gz") else file.open("rb")  # type: ignore[return-value]
