"""Files with random damage: every row has an outcome, or one line names the file."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpus.sources.columns import Columns
from tests.support.sources import read_files

MUTATIONS = 60  # files of each kind
COLUMNS = (Columns(), Columns(keep=True), Columns(by="line"), Columns(by="t"), Columns(rename=(("url", "meta.url"),)))


def parquet() -> bytes:
    rows = range(300)
    meta = [{"url": "u", "n": row} for row in rows]
    table = pa.table({"text": [f"täxt {row}" for row in rows], "id": rows, "meta": meta})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=100)
    return buffer.getvalue()


ROW = {"text": "täxt", "id": 5, "language_score": 0.25, "meta": {"url": "u", "x": [1, {"y": None}]}}
LINES = b"".join(json.dumps(ROW | {"id": row}).encode() + b"\n" for row in range(60))
FILES = {
    "jsonl": LINES,
    "jsonl.gz": gzip.compress(LINES, mtime=0),
    "jsonl.zst": zstandard.compress(LINES),
    "jsonl.bz2": bz2.compress(LINES),
    "jsonl.xz": lzma.compress(LINES),
    "csv": b"id,text,url\n" + b"".join(b'%d,"some ""t"" \n %d",u\r\n' % (row, row) for row in range(60)),
    "txt": b"some text\n" * 50,
    "parquet": parquet(),
}


def damaged(data: bytes, chance: random.Random) -> bytes:
    wrong = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(len(wrong) or 1)
        how = chance.choice(["byte", "byte", "cut", "more", "end", "twice"])
        if how == "byte" and wrong:
            wrong[at] = chance.choice([*b'\0\n\r",{}\\', 255, chance.randrange(256)])
        elif how == "cut":
            del wrong[at : at + chance.randrange(1, 40)]
        elif how == "more":
            wrong[at:at] = chance.randbytes(8)
        elif how == "end":
            del wrong[at:]
        else:
            wrong[at:at] = wrong[at : at + chance.randrange(100)]
    return bytes(wrong)


@pytest.mark.parametrize("kind", FILES)
def test_damage_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    path = tmp_path / f"a.{kind}"
    errors: list[str] = []
    for _ in range(MUTATIONS):
        path.write_bytes(damaged(FILES[kind], chance))
        try:
            read_files(path, chance.choice(COLUMNS))
        except ValueError as error:
            errors.append(str(error))
    assert [error for error in errors if "\n" in error or path.name not in error] == []
    assert errors or kind in ("txt", "jsonl", "csv")
