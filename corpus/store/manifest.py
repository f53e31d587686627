"""The manifest: all commit records of a dataset in one Parquet file, to be read instead of 100,000 small files.

In: records, each with the key and the stamp of the file that it was read from. Out: the bytes of the Parquet file, one
row for each record, and the rows back from the bytes. Because a row carries the stamp of its record, an outdated
manifest does no harm: a reader uses only the rows whose stamp is still the one in the listing.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bpe.checksums import add_checksums, open_parquet
from bpe.parse import parse_json
from corpus.store.base import Entry
from corpus.store.records import CommitRecord, Input, Output, checked

NAME = "_manifest.parquet"
_ROWS = 1024  # records in a row group, and records held at a time
# `counts` are JSON, because each stage has counts of its own.
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("stamp", pa.string()),
        ("unit", pa.string()),
        ("stage", pa.string()),
        ("config", pa.string()),
        ("inputs", pa.list_(pa.struct([("path", pa.string()), ("size", pa.int64()), ("etag", pa.string())]))),
        (
            "outputs",
            pa.list_(
                pa.struct(
                    [
                        ("path", pa.string()),
                        ("kind", pa.string()),
                        ("rows", pa.int64()),
                        ("bytes", pa.int64()),
                        ("sha256", pa.string()),
                    ]
                )
            ),
        ),
        ("counts", pa.string()),
        ("attempt", pa.int32()),
        ("seconds", pa.float64()),
        ("format", pa.int32()),
    ]
)


def to_bytes(records: Iterable[tuple[Entry, CommitRecord]]) -> bytes:
    """The manifest of these records, which come in the order of their keys."""
    data = io.BytesIO()
    with pq.ParquetWriter(data, _SCHEMA, compression="zstd") as writer:
        remaining = iter(records)
        while rows := [_row(*item) for item in itertools.islice(remaining, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    add_checksums(data)
    return data.getvalue()


def rows_of(data: bytes, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a manifest, in the order of their keys.

    Raises what Arrow raises for damaged Parquet, and ValueError for a row without a key or a stamp.
    """
    for batch in open_parquet(io.BytesIO(data)).iter_batches(_ROWS, columns=columns, use_threads=False):
        for row in batch.to_pylist():
            if not isinstance(row.get("key"), str) or not isinstance(row.get("stamp"), str):
                raise ValueError("a row has no key or no stamp")
            yield row


def record_of(row: dict[str, Any]) -> CommitRecord:
    """The record in a row. Raises ValueError or TypeError if it cannot be one."""
    fields = {name: value for name, value in row.items() if name not in ("key", "stamp")}
    fields["inputs"] = tuple(Input(**item) for item in row["inputs"])
    fields["outputs"] = tuple(Output(**item) for item in row["outputs"])
    fields["counts"] = tuple(parse_json(row["counts"]))
    return checked(CommitRecord(**fields), row["key"])


def _row(entry: Entry, record: CommitRecord) -> dict[str, Any]:
    counts = json.dumps(record.counts, ensure_ascii=False)
    return dataclasses.asdict(record) | {"key": entry.key, "stamp": entry.stamp, "counts": counts}
