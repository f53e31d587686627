"""Dolma's documents: JSON lines, gzip, in `documents/`; the fields of docs/data-format.md of github.com/allenai/dolma.

    {"id": "...", "text": "...", "source": "NAME", "created": "2026-10-01T12:00:00Z", "metadata": {...}}

`created` is the date of the document's page. `added` would be the time of the export, which differs in every call; the
specification lets it be left out. All other columns are in `metadata`.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.export.base import Format, Options
from corpus.export.jsonl import line

_FIELDS = {"id", "text", "date"}
_LEVEL = 6  # gzip's own default


def _stem(name: str, number: int, count: int) -> str:
    return f"documents/{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-') or 'corpus'}-{number:04d}"


def _document(row: dict[str, Any], source: str) -> dict[str, Any]:
    """A row as Dolma's object. Fields without a value are left out of it and of its metadata."""
    created = {"created": str(row["date"])} if row.get("date") is not None else {}
    metadata = {name: value for name, value in row.items() if name not in _FIELDS and value is not None}
    return {"id": str(row["id"]), "text": row["text"], "source": source, **created, "metadata": metadata}


def _write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: Options) -> None:
    with (
        path.with_name(path.name + ".json.gz").open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as stream,
    ):
        for batch in batches:
            rows = batch.select(schema.names).to_pylist()
            stream.write(b"".join(line(_document(row, options.name)) for row in rows))


_LOAD = """The files are as `dolma` wants them: `dolma tag --documents 'FOLDER/documents/*.json.gz' ...`

```python
import datasets

rows = datasets.load_dataset("FOLDER", split="train")
```

```sql
SELECT count(*) FROM read_json('FOLDER/documents/*.json.gz');  -- DuckDB
```

Polars reads one file at a time: `polars.read_ndjson("FILE")`."""

FORMAT = Format(("documents",), _stem, (".json.gz",), _write, "documents/*.json.gz", _LOAD, needs=("id", "text"))
