"""What a unit of line deduplication does: hashes of lines, which of them are repeated, one table of those."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corpus.engine.base import Attempt, Unit
from corpus.run.commit import check_whole, commit_file, find_output
from corpus.store.records import Output
from corpus.store.shards import ROW_GROUP, Dataset

_READS = 8  # ranges under way at a time
_HELD = 4  # times a range of hashes that is in memory


@dataclass(frozen=True)
class LineHashesWork:
    """A shard of documents in, the hashes of its lines out."""

    name: str
    config: Any  # corpus.dedup.lines.hashes.Config
    output: str
    config_hash: str
    documents: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.lines.hashes import write_line_hashes

        began = time.monotonic()
        source = Dataset(self.documents)
        shard = find_output(source, unit.key, "documents")
        with Dataset(self.output).storage.scratch() as folder:
            batches = source.batches(shard, ROW_GROUP, ["text"])
            documents, records = write_line_hashes(batches, folder / "hashes", self.config)
            commit_file(self, unit, attempt, began, folder / "hashes", "hashes", records, documents, lines=records)


@dataclass(frozen=True)
class RepeatedWork:
    """One range of every unit's hashes in, those of repeated lines out."""

    name: str
    config: Any
    output: str
    config_hash: str
    hashes: str
    bytes: int  # of hashes in a range

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.dedup.exchange import Source
        from corpus.dedup.lines.hashes import repeated_lines

        began = time.monotonic()
        dataset = Dataset(self.hashes)
        check_whole(dataset, "hashes", unit.inputs[0])
        part, parts = map(int, unit.key.split("-of-"))
        sources, rows = [], 0
        for record in dataset.scan():
            (output,) = record.outputs
            read = functools.partial(dataset.storage.read_range, output.path)
            sources.append(Source(rows, read, f"{dataset.path}/{output.path}"))
            rows += record.counts[-1]["kept"]
        found = repeated_lines(sources, part, parts, self.config, threads=_READS)
        with Dataset(self.output).storage.scratch() as folder:
            # The hashes, then as many rows of first documents.
            (folder / "repeated").write_bytes(np.concatenate(found).astype("<u8").data)
            lines = len(found[0])
            commit_file(self, unit, attempt, began, folder / "repeated", "repeated", lines, rows, repeated=lines)


@dataclass(frozen=True)
class TableWork:
    """What is repeated in all ranges in, one table out."""

    name: str
    output: str
    config_hash: str
    repeated: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.lines.hashes import write_repeated

        began = time.monotonic()
        dataset = Dataset(self.repeated)
        check_whole(dataset, "repeated", unit.inputs[0])
        rows = max(record.counts[-1]["kept"] for record in dataset.scan())
        with Dataset(self.output).storage.scratch() as folder:
            lines = write_repeated(_repeated(dataset), folder / "table")
            commit_file(self, unit, attempt, began, folder / "table", "table", lines, rows, repeated=lines)


def _repeated(dataset: Dataset) -> Iterator[tuple[Any, Any]]:
    import numpy as np

    for output in dataset.files("repeated"):
        data = dataset.storage.read(output.path) or b""
        if len(data) != 16 * output.rows:
            raise ValueError(f"{dataset.path}/{output.path}: {len(data)} bytes of {16 * output.rows}; make it again")
        words = np.frombuffer(data, "<u8").astype(np.uint64, copy=False)
        yield words[: output.rows], words[output.rows :]


def table_of(dataset: Dataset) -> Output:
    """The table that was committed."""
    return find_output(dataset, "all", "table")
