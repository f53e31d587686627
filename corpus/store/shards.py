"""Datasets of shards: read a dataset, write a unit's shards, commit them with one record.

A dataset is a folder (or object prefix):

    data/<unit>-<sha12>.parquet       the rows that a unit kept
    dropped/<unit>-<sha12>.parquet    one row for every document that it did not
    audit/<unit>-<sha12>.parquet      examples that a stage shows for review, if its settings ask for them
    _units/<unit>.json                the commit record (see `records`), written last and once
    _config/<hash12>.json             the configuration whose hash the records carry
    _manifest.parquet                 all records of a finished stage in one file (see `manifest`)
    README.md                         the card, by which `datasets` finds the shards (see `card`)
    _tracebacks/<unit>-<row>.txt      the Python traceback of a page that hung or killed its process

Three rules make a run repeatable: file names carry the hash of the content; row groups are cut by row count alone;
nothing in a shard depends on when, where or in how many attempts it was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bpe import arguments
from bpe.checksums import add_checksums, open_parquet
from bpe.parse import brief, parse_json
from corpus.store import manifest
from corpus.store.base import Entry, Storage
from corpus.store.open import is_remote, storage
from corpus.store.records import UNREADABLE, CommitRecord, Conflict, Input, Output, difference, output_of

_READS = 8  # records that are read at a time
ROW_GROUP = 1024  # documents; small enough to stream, as nanochat's shards have
# What reading a damaged Parquet file raises. ValueError and KeyError come when the damage is in a column's name.
DAMAGED = (pa.ArrowException, ValueError, KeyError, OSError)
_WAY_OUT = "use another output folder, or remove the whole output"
_DICTIONARY = {"dump", "file_path", "source_file", "language", "stage", "rule", "threshold"}  # few distinct values
# Token ids. Their upper bytes are nearly always zero, so the bytes are stored in separate streams: at zstd's level 1
# these are as small as whole ids at level 3, and take 40% of the time.
_IDS = {"tokens"}


class Dataset:
    """A folder that a command has written, local or in an object store: its commit records, and the shards they name.

    `rows` and `stream` read what was committed: documents, and other kinds of files such as dropped or tokens. `files`
    lists the shards of a kind, and `footer`, `table` and `batches` read one of them. A folder without records is an
    empty dataset.

    >>> from tempfile import TemporaryDirectory
    >>> from corpus import Dataset
    >>> with TemporaryDirectory() as folder:
    ...     Dataset(folder).units()
    []
    """

    def __init__(self, path: str | Path) -> None:
        self.path = arguments.path("path", path)
        self.storage: Storage = storage(self.path)

    def records(self) -> list[CommitRecord]:
        """Every committed unit, sorted by its key."""
        return list(self.scan())

    def scan(self) -> Iterator[CommitRecord]:
        """Every committed unit, sorted by its key, one at a time."""
        return (record for _, record in self._scan())

    def _scan(self) -> Iterator[tuple[Entry, CommitRecord]]:
        """Records from the manifest where its row is up to date, else from their own files, several at a time."""
        entries, rows = self._entries(), self._manifest()
        row, size = next(rows, None), 1  # a caller who wants one record need not wait for more
        with ThreadPoolExecutor(_READS) as pool:
            while part := list(itertools.islice(entries, size)):
                known: dict[str, CommitRecord] = {}
                for entry in part:
                    while row is not None and row["key"] < entry.key:
                        row = next(rows, None)
                    if row is not None and (row["key"], row["stamp"]) == (entry.key, entry.stamp):
                        known[entry.key] = self._record_of(row)
                read = pool.map(self._read, [entry.key for entry in part if entry.key not in known])
                for entry in part:
                    yield entry, known.get(entry.key) or next(read)
                size = min(4 * size, ROW_GROUP)

    def _read(self, key: str) -> CommitRecord:
        return CommitRecord.from_json(self.storage.read(key) or b"", f"{self.path}/{key}")

    def units(self) -> list[str]:
        """The keys of the committed units, sorted. This takes one listing and reads no record."""
        return sorted(entry.key.removeprefix("_units/").removesuffix(".json") for entry in self._entries())

    def missing(self, units: Iterable[str]) -> list[str]:
        """Which of these units are not committed."""
        committed = set(self.units())
        return [unit for unit in units if unit not in committed]

    def compact(self) -> None:
        """Gather all records in `_manifest.parquet`, so that the next reader reads one file instead of 100,000.

        The records stay, because they decide which writer was first.
        """
        known = [(row["key"], row["stamp"]) for row in self._manifest(["key", "stamp"])]
        if known == [(entry.key, entry.stamp) for entry in self._entries()]:
            return
        data = manifest.to_bytes(self._scan())
        try:
            self.storage.replace(manifest.NAME, data)
        except OSError as error:
            raise OSError(f"{self.path}/{manifest.NAME}: {error.strerror or error}") from None

    def outdated(self) -> Iterator[str]:
        """Rows of the manifest that carry the stamp of a record and differ from that record, a line each."""
        stamps = {entry.key: entry.stamp for entry in self._entries()}
        for row in self._manifest():
            if stamps.get(row["key"]) == row["stamp"] and self._record_of(row) != self._read(row["key"]):
                yield f"{manifest.NAME} differs from {row['key']}; remove it"

    def _record_of(self, row: dict[str, Any]) -> CommitRecord:
        """The record in a row of the manifest."""
        try:
            return manifest.record_of(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            key, reason = brief(row["key"]), brief(error, 500)
            raise ValueError(f"{self.path}/{manifest.NAME}: {key}: {reason}; remove it") from None

    def _entries(self) -> Iterator[Entry]:
        if not is_remote(self.path) and Path(self.path.removeprefix("file://")).is_file():
            raise NotADirectoryError(f"{self.path}: is a file; name the folder that a command has written")
        return (entry for entry in self.storage.entries("_units") if entry.key.endswith(".json"))

    def _manifest(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """The manifest's rows in the order of their keys; nothing if there is none."""
        data = self.storage.read(manifest.NAME)  # all of it at once, because another task may replace it meanwhile
        if data is None:
            return
        try:
            yield from manifest.rows_of(data, columns)
        except DAMAGED as error:
            raise ValueError(f"{self.path}/{manifest.NAME}: damaged ({_one_line(error)}); remove it") from None

    def record(self, unit: str) -> CommitRecord | None:
        """The commit record of a unit, None if the unit is not committed."""
        data = self.storage.read(f"_units/{unit}.json")
        return None if data is None else CommitRecord.from_json(data, f"{self.path}/_units/{unit}.json")

    def files(self, kind: str) -> list[Output]:
        """The committed files of one kind, in unit order."""
        return [output for record in self.records() for output in record.outputs if output.kind == kind]

    def stream(
        self, kind: str = "documents", columns: Sequence[str] | None = None, rows: int = ROW_GROUP
    ) -> Iterator[pa.RecordBatch]:
        """All committed rows of one kind, in the order of the units and of the rows, in batches of at most `rows`.

        kind     documents, dropped, tokens, or another kind of file that the command has written
        columns  the columns to read, all by default

        Raises ValueError naming the kinds that there are, if there is none of this kind, the columns that there are,
        if one of `columns` is none of them, and a shard that is damaged; NotADirectoryError for the path of a file.
        """
        arguments.whole_number("rows", rows, 1)
        names = None if columns is None else list(arguments.strings("columns", columns))
        shards = self.files(arguments.string("kind", kind))
        if not shards:
            kinds = sorted({output.kind for record in self.scan() for output in record.outputs})
            raise ValueError(
                f"{self.path}: holds no committed {kind}; "
                + (
                    f"it holds {', '.join(kinds)}"
                    if kinds
                    else "name a folder that has _units, such as out/clean of a run"
                )
            )
        known = [] if names is None else self.schema(shards[0]).names
        if unknown := [name for name in names or () if name not in known]:
            raise ValueError(f"columns: {self.path} has no column {unknown[0]}; it has {', '.join(known)}")
        return (batch for shard in shards for batch in self.batches(shard, rows, names))

    def rows(self, kind: str = "documents", columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of `stream`, a dict each: `for document in Dataset("out/clean").rows(): document["text"]`."""
        return (row for batch in self.stream(kind, columns) for row in batch.to_pylist())

    def batches(self, shard: Output | str, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream a shard, given by its record or by its path alone, in batches of at most `rows`.

        Raises ValueError naming the shard if it is damaged, or has not as many rows as its record says.
        """
        path, expected = (shard, None) if isinstance(shard, str) else (shard.path, shard.rows)
        seen = 0
        with self._parquet(path) as file:
            for batch in file.iter_batches(rows, columns=columns, use_threads=False):
                seen += batch.num_rows
                yield batch
        if expected is not None and seen != expected:
            raise ValueError(f"{self.path}/{path}: {seen} rows, but its record says {expected}")

    def schema(self, output: Output) -> pa.Schema:
        """A shard's columns, without the key-value pairs of its footer."""
        return self.footer(output).remove_metadata()

    def footer(self, output: Output) -> pa.Schema:
        """A shard's columns with the key-value pairs of its footer. Raises ValueError naming a damaged shard."""
        with self._parquet(output.path) as file:
            return file.schema_arrow

    def pairs(self, output: Output) -> dict[str, str]:
        """The key-value pairs that `ShardWriter.close` wrote. Raises ValueError naming a damaged shard."""
        with self._parquet(output.path) as file:
            pairs = file.metadata.metadata or {}
            return {key.decode(): value.decode() for key, value in pairs.items() if key != b"ARROW:schema"}

    def table(self, output: Output) -> pa.Table:
        """A whole shard. Raises ValueError naming a damaged shard."""
        with self._parquet(output.path) as file:
            return file.read(use_threads=False)

    @contextlib.contextmanager
    def _parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """A shard, open for reading. What Arrow raises for damage becomes a ValueError that names the shard."""
        with self.storage.open(path) as stream:
            try:
                yield open_parquet(stream)
            except ConnectionError:
                raise
            except DAMAGED as error:
                raise ValueError(f"{self.path}/{path}: damaged shard ({_one_line(error)})") from None

    def configuration(self, config_hash: str) -> dict[str, Any] | None:
        """The configuration that a record's hash stands for, None if it was not kept.

        Raises ValueError naming the file if the hash of its content is another.
        """
        key = f"_config/{config_hash[:12]}.json"
        data = self.storage.read(key)
        if data is None:
            return None
        if hashlib.sha256(data.removesuffix(b"\n")).hexdigest() != config_hash:
            raise ValueError(f"{self.path}/{key}: not the configuration that its name stands for; remove it")
        try:
            configuration = parse_json(data)
        except ValueError as error:
            raise ValueError(f"{self.path}/{key}: not a configuration ({error}); remove it") from None
        if not isinstance(configuration, dict):
            raise ValueError(f"{self.path}/{key}: not a configuration, but {type(configuration).__name__}; remove it")
        return configuration

    def content(self, output: Output) -> bytes:
        """All bytes of a small file. Raises ValueError naming a file that is gone or differs from its sha256."""
        data = self.storage.read(output.path)
        if data is None or hashlib.sha256(data).hexdigest() != output.sha256:
            state = "is missing" if data is None else "its sha256 is not the one in its record"
            raise ValueError(f"{self.path}/{output.path}: {state}; remove {self.path} to make it again")
        return data

    def begin(self, config: dict[str, Any]) -> str:
        """Write down the configuration whose units will be committed here; returns its hash."""
        text = json.dumps(config, sort_keys=True, indent=1, ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        for folder in ("_config", "_units"):
            self.storage.make_folder(folder)
        self.storage.sweep()
        self.storage.create(f"_config/{digest[:12]}.json", (text + "\n").encode())
        return digest

    def is_done(self, unit: str, config_hash: str, inputs: Sequence[Input]) -> bool:
        """Whether the unit is committed with this configuration and these inputs.

        Raises Conflict if it is committed with another configuration or other inputs; the message names both.
        """
        record = self.record(unit)
        if record is None:
            return False
        self.check(record, config_hash, inputs)
        return True

    def check(self, record: CommitRecord, config_hash: str, inputs: Sequence[Input]) -> None:
        """Raise Conflict if a unit was committed with another configuration or from other inputs, naming both."""
        unit = record.unit
        if record.config != config_hash:
            differing = difference(self.configuration(record.config), self.configuration(config_hash))
            raise Conflict(
                f"{self.path}: unit {unit} was made with config {record.config[:12]}, this call has "
                f"{config_hash[:12]}{differing}; {_WAY_OUT}"
            )
        for before, now in zip(record.inputs, inputs, strict=False):
            if now.etag != UNREADABLE and (before.size, before.etag) != (now.size, now.etag):
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

    def commit(self, record: CommitRecord, local: Sequence[Path]) -> CommitRecord:
        """Publish finished local files, one for each of the record's outputs, and then the record.

        Returns the record that counts. That is another record than `record` if somebody else committed the unit first.
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


def _one_line(error: Exception) -> str:
    """The message of an error; some of Arrow's have several lines."""
    return " ".join(str(error).split())


class ShardWriter:
    """Writes rows into one local Parquet file, whose bytes depend on the rows alone.

    Columns that `batch` has beyond the schema are left out. `row_group`: rows of a row group.
    """

    def __init__(self, path: Path, schema: pa.Schema, row_group: int = ROW_GROUP) -> None:
        self.path = path
        self.rows = 0
        self._row_group = row_group
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
            write_page_checksum=True,  # for other programs: `add_checksums` covers more than pages
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows. A row group is written as soon as it is full."""
        self._pending.append(batch.select(self._schema.names).cast(self._schema))
        self._pending_rows += batch.num_rows
        self.rows += batch.num_rows
        if self._pending_rows >= self._row_group:
            self._flush(whole=False)

    def _flush(self, *, whole: bool) -> None:
        table = pa.Table.from_batches(self._pending, self._schema).combine_chunks()
        end = table.num_rows if whole else table.num_rows - table.num_rows % self._row_group
        for start in range(0, end, self._row_group):
            # A copy, so that the bytes do not depend on the batches in which the rows came.
            group = table.slice(start, min(self._row_group, end - start))
            self._writer.write_table(pa.concat_tables([group]).combine_chunks(), row_group_size=self._row_group)
        self._pending = table.slice(end).to_batches()
        self._pending_rows = table.num_rows - end

    def close(self, metadata: dict[str, str] | None = None) -> None:
        """Write the last row group and the footer, with `metadata` as its key-value pairs."""
        self._flush(whole=True)
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        with self.path.open("r+b") as file:
            add_checksums(file)

    def output(self, unit: str, kind: str) -> Output:
        """What the record says of this file, which must be closed."""
        return output_of(self.path, unit, kind, self.rows, "parquet")
