"""Folders of documents that no command of ours has written, as people have them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

_WORDS = re.split(" ", "the river and a town that have bridges of stone with boats to the old harbour be in winter")


def text(number: int) -> str:
    """A text of 90 words that passes the rules of Gopher; every number has another one."""
    words = [_WORDS[(number * 7 + place * (3 + number % 5)) % len(_WORDS)] for place in range(80)]
    return " ".join([*words, f"number{number}", "and", "the", "house", "of", f"page{number}", "with", "a", "garden."])


def _fineweb(number: int) -> dict[str, Any]:
    return {
        "text": text(number),
        "id": f"<urn:uuid:{number}>",
        "dump": "CC-MAIN-2024-10",
        "url": f"https://example.org/{number}",
        "date": "2024-02-20T00:00:00Z",
        "file_path": "s3://commoncrawl/x.warc.gz",
        "language": "en",
        "language_score": 0.9,
        "token_count": 100,
    }


def _write(path: Path, rows: list[dict[str, Any]], *schema: tuple[str, pa.DataType]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, kind in schema:
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(kind))
    pq.write_table(table, path, row_group_size=16)


def fineweb(folder: Path, count: int) -> None:
    """Parquet as FineWeb has it, a folder a dump."""
    half = count // 2
    _write(folder / "data/CC-MAIN-2024-10/000_00000.parquet", [_fineweb(number) for number in range(half)])
    _write(folder / "data/CC-MAIN-2024-18/000_00000.parquet", [_fineweb(number) for number in range(half, count)])


def large_strings(folder: Path, count: int) -> None:
    _write(folder / "a.parquet", [_fineweb(number) for number in range(count)], ("text", pa.large_string()))


def text_only(folder: Path, count: int) -> None:
    _write(folder / "a.parquet", [{"text": text(number)} for number in range(count)])


def nulls(folder: Path, count: int) -> None:
    """Every tenth text is null."""
    _write(folder / "a.parquet", [_fineweb(n) | {"text": None if n % 10 == 0 else text(n)} for n in range(count)])


def json_lines(folder: Path, count: int) -> None:
    """JSON lines with ids that are numbers, and fields that are no columns of ours."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"id": n, "text": text(n), "meta": {"source": "x"}}) for n in range(count)]
    (folder / "a.jsonl").write_text("\n".join(lines))


def packed_lines(folder: Path, count: int) -> None:
    """JSON lines in .zst, without ids, the text under another name."""
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"content": text(n), "link": f"https://e.org/{n}"}) + "\n" for n in range(count))
    (folder / "a.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))


def equal_ids(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    lines = [json.dumps({"id": "same", "text": text(n)}) for n in range(count)]
    (folder / "a.jsonl").write_text("\n".join(lines))


def books(folder: Path, count: int) -> None:
    """A text file a document."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:04d}.txt").write_text(text(number))


def table(folder: Path, count: int) -> None:
    """A CSV file with a line break in every text."""
    folder.mkdir(parents=True)
    rows = [f'{n},"{text(n)}\nThe end of it."' for n in range(count)]
    (folder / "papers.csv").write_text("number,text\n" + "\n".join(rows) + "\n")


SHAPES: dict[str, Callable[[Path, int], None]] = {
    made.__name__: made
    for made in (fineweb, large_strings, text_only, nulls, json_lines, packed_lines, equal_ids, books, table)
}
