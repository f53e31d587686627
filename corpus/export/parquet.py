"""Parquet: zstd, row groups of a chosen number of rows, checksums of pages; named as on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from corpus.export.base import Format, Options, train_stem
from corpus.store.shards import ShardWriter


def _write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: Options) -> None:
    writer = ShardWriter(path.with_name(path.name + ".parquet"), schema, options.row_group)
    total = 0
    for batch in batches:
        writer.write(batch)
        if options.footer and "tokens" in schema.names:
            total += pc.sum(pc.list_value_length(batch.column("tokens"))).as_py() or 0
    writer.close({**options.footer, "token_total": str(total)} if options.footer else None)


_LOAD = """```python
import datasets

rows = datasets.load_dataset("FOLDER", split="train")
rows = datasets.load_dataset("FOLDER", split="train", streaming=True)  # row by row, without a copy on the disk
```

```sql
SELECT count(*) FROM read_parquet('FOLDER/data/*.parquet');  -- DuckDB
```

```python
import polars

rows = polars.scan_parquet("FOLDER/data/*.parquet").head(10).collect()
```"""

FORMAT = Format(("documents", "tokens"), train_stem, (".parquet",), _write, "data/*.parquet", _LOAD)
