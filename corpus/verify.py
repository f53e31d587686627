"""Is what the commit records say still so? And what lies beside it that no record names?

In: datasets. Out: problems, a line each, and orphans. Every committed file is read whole: its size, its sha256, its
rows; a DROPPED shard's rules must be the ones that the record counts; the accounts of the stages must add up. One
flipped byte anywhere in a committed file is found.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.shards import Dataset, Output, Record, audit
from corpus.storage import sha256


class Verified(NamedTuple):
    """What was looked at, and what is wrong with it."""

    units: int
    files: int
    bytes: int
    problems: tuple[str, ...]


class Orphan(NamedTuple):
    """A file that no record names: what an attempt left that lost its race, or was killed before its record."""

    path: Path
    bytes: int


def datasets_below(folder: str) -> list[Dataset]:
    """Every dataset in a folder, sorted. Raises ValueError naming a folder that has none."""
    found = [Dataset(records.parent) for records in sorted(Path(folder).rglob("_units")) if records.is_dir()]
    if not found:
        raise ValueError(f"{folder}: holds no committed units; it should be an output folder of corpus")
    return found


def verify(dataset: Dataset) -> Verified:
    """Check every committed unit of a dataset. A damaged record is a problem like any other."""
    problems: list[str] = []
    files = size = units = 0
    for key in dataset.storage.list("_units"):
        if not key.endswith(".json"):
            continue
        units += 1
        try:
            record = Record.from_json(dataset.storage.read(key) or b"", f"{dataset.path}/{key}")
        except ValueError as error:
            problems.append(str(error))
            continue
        problems += [f"{dataset.path}/{key}: {problem}" for problem in audit(record.counts)]
        for output in record.outputs:
            files, size = files + 1, size + output.bytes
            problems += [f"{dataset.path}/{output.path}: {problem}" for problem in _file(dataset, record, output)]
    return Verified(units, files, size, tuple(problems))


def orphans(dataset: Dataset, min_age: float) -> list[Orphan]:
    """Files in data/ and dropped/ that no record names and that are older than `min_age` seconds.

    Younger ones may belong to a unit that is being committed right now: its files come first, its record last.
    """
    named = {output.path for record in dataset.records() for output in record.outputs}
    found = []
    for folder in ("data", "dropped"):
        for key in dataset.storage.list(folder):
            path = Path(dataset.path, key)
            status = path.stat()
            if key not in named and time.time() - status.st_mtime >= min_age:
                found.append(Orphan(path, status.st_size))
    return found


def _file(dataset: Dataset, record: Record, output: Output) -> Iterator[str]:
    path = Path(dataset.path, output.path)
    if not path.is_file():
        yield "is missing"
        return
    if path.stat().st_size != output.bytes:
        yield f"has {path.stat().st_size} bytes, its record says {output.bytes}"
    elif sha256(path) != output.sha256:
        yield "its sha256 is not the one in its record"
    if not output.path.endswith(".parquet"):
        return
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            rules = file.read(["rule"]).column("rule") if output.kind == "dropped" else None
    except (pa.ArrowInvalid, OSError) as error:
        yield f"is damaged ({str(error).splitlines()[0]})"
        return
    if rows != output.rows:
        yield f"has {rows} rows, its record says {output.rows}"
    if rules is not None:
        held = {str(item["values"]): item["counts"] for item in pc.value_counts(rules).to_pylist()}
        counted = sum((Counter(account["dropped"]) for account in record.counts), Counter[str]())
        if held != dict(counted):
            yield "holds other drops than its record counts"
