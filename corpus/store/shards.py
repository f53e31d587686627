"""Shards and their receipts: read a dataset, write a unit's shards, commit them with one record.

A dataset is a folder (or object prefix):

    data/<unit>-<sha12>.parquet       the rows that a unit kept
    dropped/<unit>-<sha12>.parquet    one row for every document that it did not
    audit/<unit>-<sha12>.parquet      what a stage shows for review, where it was asked to
    _units/<unit>.json                the commit record: written last, once; a file that no record names is not there
    _config/<hash12>.json             the configuration behind the hash that the records carry
    _manifest.parquet                 all records of a finished stage in one file, to be read instead of them
    _tracebacks/<unit>-<row>.txt      where a page was at work that hung or took its process along

Rules that make a run repeatable: file names carry the hash of the content, row groups are cut by row count alone,
nothing in a shard tells when, where or in how many attempts it was made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.store.base import Entry, Storage, sha256
from corpus.store.open import storage

FORMAT = 1
_READS = 8  # of records, under way at a time
ROW_GROUP = 1024  # documents; small enough to stream, as nanochat's shards have
FOLDERS = {"dropped": "dropped", "audit": "audit"}  # every other kind lives in data/
# What reading a damaged Parquet file raises; ValueError and KeyError where a column's name is what was hit.
DAMAGED = (pa.ArrowException, ValueError, KeyError, OSError)
_WAY_OUT = "use another output folder, or remove the whole output"
_DICTIONARY = {"dump", "file_path", "language", "stage", "rule", "threshold"}  # few distinct values
# Ids, whose upper bytes are nearly always zero: each byte of theirs apart is as small at zstd's level 1 as whole ids
# at level 3, in 40% of the time.
_IDS = {"tokens"}


class Conflict(ValueError):
    """The output holds a unit that was made from another input or by another configuration."""


@dataclass(frozen=True)
class Input:
    """A file that a unit reads; `etag` identifies its content."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class Output:
    """A file that a unit wrote; `path` is relative to the dataset."""

    path: str
    kind: str  # documents, dropped, audit, signatures, labels, tokens
    rows: int
    bytes: int
    sha256: str

    @property
    def unit(self) -> str:
        """The unit whose rows these are, which the name of a shard carries."""
        return unit_of(self.path)


@dataclass(frozen=True)
class Record:
    """The receipt of one unit. `counts` has a dict a stage: stage, read, kept, dropped {rule: n}, and sums."""

    unit: str
    stage: str
    config: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    counts: tuple[dict[str, Any], ...]
    attempt: int = 1
    seconds: float = 0.0
    format: int = FORMAT

    def output(self, kind: str) -> Output | None:
        """The file of this kind, None if there is none."""
        return next((output for output in self.outputs if output.kind == kind), None)

    def to_json(self) -> bytes:
        return (json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    @staticmethod
    def from_json(data: bytes, name: str) -> Record:
        """Raises ValueError naming the file if it is not a commit record."""
        try:
            fields = json.loads(data)
            fields["inputs"] = tuple(Input(**item) for item in fields["inputs"])
            fields["outputs"] = tuple(Output(**item) for item in fields["outputs"])
            fields["counts"] = tuple(fields["counts"])
            return Record(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{name}: not a commit record ({error}); remove it to redo this unit") from None


class Dataset:
    """A dataset at a path: its records, and the shards that they name."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.storage: Storage = storage(path)

    def records(self) -> list[Record]:
        """Every committed unit, sorted by its key."""
        return list(self.scan())

    def scan(self) -> Iterator[Record]:
        """`records`, one at a time."""
        return (record for _, record in self._scan())

    def _scan(self) -> Iterator[tuple[Entry, Record]]:
        """From the manifest where it knows a record as it is now, else from the record; several reads at a time."""
        manifest, entries = self._manifest(), self._entries()
        row, size = next(manifest, None), 1  # whoever wants one record need not wait for more
        with ThreadPoolExecutor(_READS) as pool:
            while part := list(itertools.islice(entries, size)):
                known: dict[str, Record] = {}
                for entry in part:
                    while row is not None and row["key"] < entry.key:
                        row = next(manifest, None)
                    if row is not None and (row["key"], row["stamp"]) == (entry.key, entry.stamp):
                        known[entry.key] = _from_row(row)
                read = pool.map(self._read, [entry.key for entry in part if entry.key not in known])
                for entry in part:
                    yield entry, known.get(entry.key) or next(read)
                size = min(4 * size, ROW_GROUP)

    def _read(self, key: str) -> Record:
        return Record.from_json(self.storage.read(key) or b"", f"{self.path}/{key}")

    def units(self) -> list[str]:
        """The keys of the committed units, sorted; a listing, no record is read."""
        return sorted(entry.key.removeprefix("_units/").removesuffix(".json") for entry in self._entries())

    def missing(self, units: Iterable[str]) -> list[str]:
        """Which of these units are not committed."""
        there = set(self.units())
        return [unit for unit in units if unit not in there]

    def compact(self) -> None:
        """Gather all records in `_manifest.parquet`, so that the next reader reads one file instead of 100,000.

        The records stay: they decide who was first. A manifest that has become old is no danger, because every row
        carries the stamp of the record that it was read from.
        """
        known = [(row["key"], row["stamp"]) for row in self._manifest(["key", "stamp"])]
        if known == [(entry.key, entry.stamp) for entry in self._entries()]:
            return
        data = io.BytesIO()
        with pq.ParquetWriter(data, _MANIFEST, compression="zstd") as writer:
            records = self._scan()
            while rows := [_to_row(*item) for item in itertools.islice(records, ROW_GROUP)]:
                writer.write_table(pa.Table.from_pylist(rows, schema=_MANIFEST))
        try:
            self.storage.replace("_manifest.parquet", data.getvalue())
        except OSError as error:
            raise OSError(f"{self.path}/_manifest.parquet: {error.strerror or error}") from None

    def outdated(self) -> Iterator[str]:
        """Rows of the manifest that claim to be a record as it is, and differ from it."""
        stamps = {entry.key: entry.stamp for entry in self._entries()}
        for row in self._manifest():
            if stamps.get(row["key"]) == row["stamp"]:
                data = self.storage.read(row["key"]) or b""
                if _from_row(row).to_json() != data:
                    yield f"_manifest.parquet differs from {row['key']}; remove it"

    def _entries(self) -> Iterator[Entry]:
        return (entry for entry in self.storage.entries("_units") if entry.key.endswith(".json"))

    def _manifest(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """The manifest's rows in the order of their keys; nothing if there is none."""
        data = self.storage.read("_manifest.parquet")  # at once: another task may replace it meanwhile
        if data is None:
            return
        try:
            for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches(ROW_GROUP, columns=columns, use_threads=False):
                yield from batch.to_pylist()
        except DAMAGED as error:
            raise ValueError(f"{self.path}/_manifest.parquet: damaged ({error}); remove it") from None

    def record(self, unit: str) -> Record | None:
        data = self.storage.read(f"_units/{unit}.json")
        return None if data is None else Record.from_json(data, f"{self.path}/_units/{unit}.json")

    def files(self, kind: str) -> list[Output]:
        """The committed files of one kind, in unit order."""
        return [output for record in self.records() for output in record.outputs if output.kind == kind]

    def batches(self, shard: Output | str, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream a shard, given by its record or by its path alone, in batches of at most `rows`.

        Raises ValueError naming the shard where it is damaged or has other rows than its record says.
        """
        path, expected = (shard, None) if isinstance(shard, str) else (shard.path, shard.rows)
        seen = 0
        with self.storage.open(path) as stream:
            try:
                for batch in pq.ParquetFile(stream).iter_batches(rows, columns=columns, use_threads=False):
                    seen += batch.num_rows
                    yield batch
            except DAMAGED as error:
                raise ValueError(f"{self.path}/{path}: damaged shard ({error})") from None
        if expected is not None and seen != expected:
            raise ValueError(f"{self.path}/{path}: {seen} rows, but its record says {expected}")

    def schema(self, output: Output) -> pa.Schema:
        """A shard's columns, without the key-value pairs of its footer."""
        return self.footer(output).remove_metadata()

    def footer(self, output: Output) -> pa.Schema:
        """A shard's columns with these pairs."""
        with self.storage.open(output.path) as stream:
            return pq.read_schema(stream)

    def table(self, output: Output) -> pa.Table:
        """A whole shard."""
        with self.storage.open(output.path) as stream:
            # A thread of Arrow's that still reads a Python stream when the process ends takes it down (arrow#34314).
            return pq.read_table(stream, use_threads=False, pre_buffer=False)

    def configuration(self, config_hash: str) -> dict[str, Any] | None:
        """The configuration that a record's hash stands for, None if it was not kept."""
        data = self.storage.read(f"_config/{config_hash[:12]}.json")
        return None if data is None else json.loads(data)

    def begin(self, config: dict[str, Any]) -> str:
        """Note the configuration that is about to write here; returns its hash."""
        text = json.dumps(config, sort_keys=True, indent=1, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        for folder in ("_config", "_units"):
            self.storage.make_folder(folder)
        self.storage.sweep()
        self.storage.create(f"_config/{digest[:12]}.json", (text + "\n").encode())
        return digest

    def is_done(self, unit: str, config_hash: str, inputs: Sequence[Input]) -> bool:
        """Whether the unit is committed with this configuration and these inputs.

        Raises Conflict naming both if it is committed with others.
        """
        record = self.record(unit)
        if record is None:
            return False
        self.check(record, config_hash, inputs)
        return True

    def check(self, record: Record, config_hash: str, inputs: Sequence[Input]) -> None:
        """Raises Conflict naming both if a unit was committed with another configuration or from other inputs."""
        unit = record.unit
        if record.config != config_hash:
            differing = _difference(self.configuration(record.config), self.configuration(config_hash))
            raise Conflict(
                f"{self.path}: unit {unit} was made with config {record.config[:12]}, this call has "
                f"{config_hash[:12]}{differing}; {_WAY_OUT}"
            )
        for before, now in zip(record.inputs, inputs, strict=False):
            if (before.size, before.etag) != (now.size, now.etag):
                raise Conflict(
                    f"{self.path}: unit {unit} was made from {before.path} ({before.size} bytes, {before.etag}), "
                    f"now it is {now.path} ({now.size} bytes, {now.etag}); {_WAY_OUT}"
                )
        if len(record.inputs) != len(inputs):
            raise Conflict(
                f"{self.path}: unit {unit} was made from {len(record.inputs)} files, now there are {len(inputs)}; "
                f"{_WAY_OUT}"
            )

    def whole(self, kind: str) -> Input:
        """All committed files of one kind as the input of a unit that reads them all.

        Raises ValueError if there are none.
        """
        files = size = 0
        digest = hashlib.sha256()
        for record in self.scan():
            for output in record.outputs:
                if output.kind == kind:
                    files, size = files + 1, size + output.bytes
                    digest.update(f"{record.unit} {output.sha256}\n".encode())
        if not files:
            raise ValueError(f"{self.path}: no committed {kind}; it should be the output folder of an earlier command")
        return Input(self.path, size, f"all-{digest.hexdigest()[:32]}")

    def commit(self, record: Record, local: Sequence[Path]) -> Record:
        """Publish finished local files (one for each of the record's outputs), then the record.

        Returns the record that stands: another one if somebody else committed this unit first.
        """
        for path, output in zip(local, record.outputs, strict=True):
            self.storage.publish(path, output.path)
        if self.storage.create(f"_units/{record.unit}.json", record.to_json()):
            return record
        winner = self.record(record.unit)
        if winner is None:
            raise OSError(f"{self.path}/_units/{record.unit}.json: vanished while it was being written")
        named = {output.path for output in winner.outputs}
        for output in record.outputs:
            if output.path not in named:
                self.storage.remove(output.path)
        return winner


def unit_of(path: str) -> str:
    """The unit in a shard's name, `data/<unit>-<sha12>.parquet`."""
    return path.rpartition("/")[2].rpartition("-")[0]


def audit(counts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Where a unit's accounts do not add up: read = kept + dropped, and every stage reads what the last one kept."""
    for account in counts:
        dropped = sum(account["dropped"].values())
        if account["read"] != account["kept"] + dropped:
            yield f"{account['stage']}: {account['read']} read is not {account['kept']} kept + {dropped} dropped"
    for before, after in itertools.pairwise(counts):
        if before["kept"] != after["read"]:
            yield f"{before['stage']} kept {before['kept']}, but {after['stage']} read {after['read']}"


class ShardWriter:
    """Rows into one local Parquet file whose bytes depend on nothing but the rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1 if _IDS.intersection(schema.names) else 3,
            use_dictionary=[name for name in schema.names if name in _DICTIONARY],
            use_byte_stream_split=[f"{name}.list.element" for name in schema.names if name in _IDS],
            write_statistics=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._pending.append(batch.select(self._schema.names).cast(self._schema))
        self._pending_rows += batch.num_rows
        self.rows += batch.num_rows
        if self._pending_rows >= ROW_GROUP:
            self._flush(whole=False)

    def _flush(self, *, whole: bool) -> None:
        table = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        end = table.num_rows if whole else table.num_rows - table.num_rows % ROW_GROUP
        for start in range(0, end, ROW_GROUP):
            # A copy, so that what is written does not depend on how the rows came in.
            group = table.slice(start, min(ROW_GROUP, end - start))
            self._writer.write_table(pa.concat_tables([group]).combine_chunks(), row_group_size=ROW_GROUP)
        self._pending = table.slice(end).to_batches()
        self._pending_rows = table.num_rows - end

    def close(self, metadata: dict[str, str] | None = None) -> None:
        """Write the last row group and the footer, with `metadata` as its key-value pairs."""
        self._flush(whole=True)
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def output(self, unit: str, kind: str) -> Output:
        """What the record says of this (closed) file."""
        return output_of(self.path, unit, kind, self.rows, "parquet")


def output_of(path: Path, unit: str, kind: str, rows: int, suffix: str) -> Output:
    """What a record says of a finished local file; the name carries its content's hash."""
    digest = sha256(path)
    name = f"{FOLDERS.get(kind, 'data')}/{unit}-{digest[:12]}.{suffix}"
    return Output(name, kind, rows, path.stat().st_size, digest)


# A row a record; `counts` are JSON, because every stage counts what it likes.
_MANIFEST = pa.schema(
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


def _to_row(entry: Entry, record: Record) -> dict[str, Any]:
    counts = json.dumps(record.counts, ensure_ascii=False)
    return dataclasses.asdict(record) | {"key": entry.key, "stamp": entry.stamp, "counts": counts}


def _from_row(row: dict[str, Any]) -> Record:
    fields = {name: value for name, value in row.items() if name not in ("key", "stamp")}
    fields["inputs"] = tuple(Input(**item) for item in row["inputs"])
    fields["outputs"] = tuple(Output(**item) for item in row["outputs"])
    fields["counts"] = tuple(json.loads(row["counts"]))
    return Record(**fields)


def _difference(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """The settings in which two configurations differ, as `: extract.favor is "balanced" there, "precision" here`."""
    if before is None or now is None:
        return ""
    old, new = _flatten(before), _flatten(now)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    old, new = ({name: json.dumps(value, ensure_ascii=False) for name, value in flat.items()} for flat in (old, new))
    shown = [f"{name} is {old.get(name, 'not set')} there, {new.get(name, 'not set')} here" for name in names[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ": " + "; ".join(shown) + more if shown else ""


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
