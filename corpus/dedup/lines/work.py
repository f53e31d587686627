"""What a unit of line deduplication does: hash the lines of a shard, find the repeated ones, make one table of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corpus.dedup.lines.config import Config
from corpus.engine.base import Attempt, Unit
from corpus.run.barrier import READS, partition_of
from corpus.run.commit import committing, find_output, whole_input
from corpus.store.shards import ROW_GROUP, Dataset

_HELD = 4  # times a range of hashes that is in memory


@dataclass(frozen=True)
class LineHashesWork:
    """Reads a shard of documents, and writes the hashes of its lines."""

    name: str
    config: Config
    output: str
    config_hash: str
    documents: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.lines.hashes import write_line_hashes

        with committing(self, unit, attempt) as ending:
            source = Dataset(self.documents)
            shard = find_output(source, unit.key, "documents")
            batches = source.batches(shard, ROW_GROUP, ["text"])
            documents, lines = write_line_hashes(batches, ending.folder / "hashes", self.config)
            ending.publish_file("hashes", "hashes", lines, documents, lines=lines)


@dataclass(frozen=True)
class RepeatedWork:
    """Reads one range of every shard's hashes, and writes the hashes of repeated lines in that range."""

    name: str
    config: Config
    output: str
    config_hash: str
    hashes: str
    bytes: int  # of hashes in a range

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.dedup.lines.hashes import repeated_lines
        from corpus.dedup.slots import PairFile

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.hashes, "hashes")
            files, rows = [], 0
            for record in dataset.scan():
                (output,) = record.outputs
                read = functools.partial(dataset.storage.read_range, output.path)
                files.append(PairFile(rows, read, f"{dataset.path}/{output.path}"))
                rows += record.counts[-1]["kept"]
            repeated = repeated_lines(files, *partition_of(unit), self.config, threads=READS)
            # All hashes, then for each the row of the first document that has the line.
            (ending.folder / "repeated").write_bytes(np.concatenate(repeated).astype("<u8").data)
            lines = len(repeated[0])
            ending.publish_file("repeated", "repeated", lines, rows, repeated=lines)


@dataclass(frozen=True)
class TableWork:
    """Reads the repeated lines of all ranges, and writes them as one table."""

    name: str
    output: str
    config_hash: str
    repeated: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.lines.hashes import write_repeated

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.repeated, "repeated")
            rows = max(record.counts[-1]["kept"] for record in dataset.scan())
            lines = write_repeated(_repeated(dataset), ending.folder / "table")
            ending.publish_file("table", "table", lines, rows, repeated=lines)


def _repeated(dataset: Dataset) -> Iterator[tuple[Any, Any]]:
    """(hashes, rows of first documents) of each range, in order."""
    import numpy as np

    for output in dataset.files("repeated"):
        data = dataset.content(output)
        if len(data) != 16 * output.rows:
            raise ValueError(f"{dataset.path}/{output.path}: {len(data)} bytes of {16 * output.rows}; make it again")
        words = np.frombuffer(data, "<u8").astype(np.uint64, copy=False)
        yield words[: output.rows], words[output.rows :]
