"""JSON lines with all columns, one object a row, compressed with Zstandard.

JSON has no NaN and no infinity: they are written as null. Bytes have no form in JSON either, and are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.export.base import Format, Options, train_stem

_LEVEL = 3  # zstd's own default


def line(row: dict[str, Any]) -> bytes:
    """A row as a line of JSON. Raises ValueError for a value that JSON cannot hold, such as bytes."""
    try:
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        text = json.dumps(_finite(row), ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode() + b"\n"


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise ValueError(f"a value of type {type(value).__name__} has no form in JSON; choose other --columns")


def _finite(value: Any) -> Any:
    """The value with null in the place of every number that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: Options) -> None:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        path.with_name(path.name + ".jsonl.zst").open("wb") as file,
        compressor.stream_writer(file, closefd=False) as stream,
    ):
        for batch in batches:
            stream.write(b"".join(map(line, batch.select(schema.names).to_pylist())))


_LOAD = """```python
import datasets

rows = datasets.load_dataset("FOLDER", split="train")
```

```sql
SELECT count(*) FROM read_json('FOLDER/data/*.jsonl.zst');  -- DuckDB
```

Polars reads one file at a time: `polars.read_ndjson(zstandard.open("FILE", "rb"))`."""

FORMAT = Format(("documents", "tokens"), train_stem, (".jsonl.zst",), _write, "data/*.jsonl.zst", _LOAD)
