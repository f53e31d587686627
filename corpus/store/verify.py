"""Checks datasets against their commit records, and finds files that no record names.

In: datasets in any storage. Out: problems, a line each, and orphans. Every committed file is read whole and must have
the size, the sha256 and the rows that its record says. A DROPPED shard must hold the drops that the record counts, rule
by rule. The accounts of the stages must add up, the manifest must equal the records, and a configuration must have the
hash that it is named after. One flipped byte anywhere in a committed file is found.

Other readers find damage by checksums (`bpe.checksums`). Records of format 1 and their files have none; `verify` counts
these units.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.compute as pc

from bpe.checksums import open_parquet
from corpus.store.base import Storage
from corpus.store.open import storage
from corpus.store.records import CommitRecord, Output, account_errors, unit_of
from corpus.store.shards import DAMAGED, Dataset


class Verified(NamedTuple):
    """How much was checked, the problems that were found, and how many units have no checksums."""

    units: int
    files: int
    bytes: int
    problems: tuple[str, ...]
    without_checksums: int


class Orphan(NamedTuple):
    """A file that no record names. Its attempt was killed before the record, or another attempt committed first."""

    key: str
    bytes: int


def datasets_below(folder: str) -> list[Dataset]:
    """Every dataset in a folder, sorted. Raises ValueError naming a folder that has none."""
    root = storage(folder).root.rstrip("/")
    datasets = [Dataset(f"{root}/{key}".rstrip("/")) for key in _datasets(storage(folder), "")]
    if not datasets:
        raise ValueError(f"{folder}: holds no committed units; it should be an output folder of corpus")
    return datasets


def _datasets(place: Storage, folder: str) -> Iterator[str]:
    """Datasets at or below `folder`, also those that are only begun. The folders that make up a dataset are skipped."""
    names = {key.rpartition("/")[2]: key for key in place.folders(folder)}
    parts = {"_tmp"}
    if names.keys() & {"_units", "_config"}:
        parts |= {"data", "dropped", "audit", "_units", "_config", "_tracebacks"}
        yield folder
    for name, key in names.items():
        if name not in parts:
            yield from _datasets(place, key)


def verify(dataset: Dataset) -> Verified:
    """Check every committed unit of a dataset. A damaged record is reported as a problem, too."""
    problems: list[str] = []
    files = size = units = without = 0
    configurations: set[str] = set()
    for key in dataset.storage.list("_units"):
        if not key.endswith(".json"):
            continue
        units += 1
        try:
            record = CommitRecord.from_json(dataset.storage.read(key) or b"", f"{dataset.path}/{key}")
        except ValueError as error:
            problems.append(str(error))
            continue
        problems += [f"{dataset.path}/{key}: {problem}" for problem in account_errors(record.counts)]
        configurations.add(record.config)
        without += record.format == 1
        for output in record.outputs:
            files, size = files + 1, size + output.bytes
            problems += [f"{dataset.path}/{output.path}: {problem}" for problem in _file(dataset, record, output)]
    try:
        problems += [f"{dataset.path}/{problem}" for problem in dataset.outdated()]
        for config in sorted(configurations):
            dataset.configuration(config)
    except ValueError as error:
        problems.append(str(error))
    return Verified(units, files, size, tuple(dict.fromkeys(problems)), without)


def orphans(dataset: Dataset, min_age: float) -> list[Orphan]:
    """Files in data/, dropped/ and audit/ that no record names and that are older than `min_age` seconds.

    Younger files may belong to a unit that is being committed right now: its files come first, its record last.
    """
    latest = time.time() - min_age
    old = [entry for folder in ("data", "dropped", "audit") for entry in dataset.storage.entries(folder)]
    old = [entry for entry in old if entry.modified <= latest]
    # The records are read after the listing, so that a unit that was committed in between names its files.
    named = {output.path for record in dataset.scan() for output in record.outputs} if old else set()
    return [Orphan(entry.key, entry.size) for entry in old if entry.key not in named]


def remove(dataset: Dataset, orphan: Orphan) -> bool:
    """Remove an orphan; False if the unit whose name it carries has been committed with it since."""
    unit = unit_of(orphan.key)
    record = dataset.record(unit) if unit else None
    if record and any(output.path == orphan.key for output in record.outputs):
        return False
    dataset.storage.remove(orphan.key)
    return True


def _file(dataset: Dataset, record: CommitRecord, output: Output) -> Iterator[str]:
    try:
        stream = dataset.storage.open(output.path)
    except FileNotFoundError:
        yield "is missing"
        return
    with stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if size != output.bytes:
            yield f"has {size} bytes, its record says {output.bytes}"
        elif hashlib.file_digest(stream, "sha256").hexdigest() != output.sha256:
            yield "its sha256 is not the one in its record"
        if not output.path.endswith(".parquet"):
            return
        try:
            file = open_parquet(stream)
            rows = file.metadata.num_rows
            rules = file.read(["rule"], use_threads=False).column("rule") if output.kind == "dropped" else None
        except ConnectionError:
            raise
        except DAMAGED as error:
            yield f"is damaged ({str(error).splitlines()[0]})"
            return
    if rows != output.rows:
        yield f"has {rows} rows, its record says {output.rows}"
    if rules is not None:
        held = {str(item["values"]): item["counts"] for item in pc.value_counts(rules).to_pylist()}
        counted = sum((Counter(account["dropped"]) for account in record.counts), Counter[str]())
        if held != dict(counted):
            yield "holds other drops than its record counts"
