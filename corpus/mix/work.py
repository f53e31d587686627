"""What a unit of a mixture does: size up a shard's groups, or write its documents as often as they are taken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.parse import parse_json
from corpus.engine.base import Attempt, Unit
from corpus.mix.draw import COPY, GROUP, Grouping, Sized, copies, draw, judge, size_up
from corpus.run.commit import DROPPED_SCHEMAS, account, committing, find_output
from corpus.schema import Drop, dropped_rows, replace_column
from corpus.store.shards import ROW_GROUP, Dataset, ShardWriter


@dataclass(frozen=True)
class SourceShard:
    """A shard of documents of one of a mixture's sources."""

    dataset: str  # the source's folder
    unit: str
    source: str  # the source's name


@dataclass(frozen=True)
class GroupsWork:
    """Reads a shard of documents, and writes the size of each group in it."""

    name: str
    output: str
    config_hash: str
    shards: dict[str, SourceShard]  # by the key of the unit that reads it
    grouping: Grouping
    memory: int = 512

    def run(self, unit: Unit, attempt: Attempt) -> None:
        with committing(self, unit, attempt) as ending:
            shard, rows = self.shards[unit.key], 0
            group_sizes: dict[str, float] = {}
            for batch in _batches(shard, self.grouping.columns() or ["id"]):
                rows += batch.num_rows
                for group, size, weight in zip(*size_up(batch, shard.source, self.grouping), strict=True):
                    if group is not None:
                        group_sizes[group] = group_sizes.get(group, 0) + size * weight
            text = json.dumps(dict(sorted(group_sizes.items()))) + "\n"
            (ending.folder / "groups.json").write_text(text)
            ending.publish_file("groups.json", "groups", len(group_sizes), rows)


def sizes_of(dataset: Dataset) -> dict[str, float]:
    """The size of each group in all shards. Raises ValueError where a file is damaged."""
    sizes: dict[str, float] = {}
    for output in dataset.files("groups"):
        try:
            for name, size in parse_json(dataset.content(output)).items():
                sizes[name] = sizes.get(name, 0) + size
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{dataset.path}/{output.path}: no sizes ({error}); remove {dataset.path}") from None
    return sizes


@dataclass(frozen=True)
class MixWork:
    """Reads a shard of documents, and writes them: first all that are taken, then all that are taken twice, and so on.

    `kept` of the account counts each document once; `copies` counts the rows beyond these.
    """

    name: str
    output: str
    config_hash: str
    shards: dict[str, SourceShard]  # by the key of the unit that reads it
    grouping: Grouping
    factors: dict[str, float]  # by group, how often its documents are taken
    seed: int
    schema: pa.Schema
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        shard = self.shards[unit.key]
        with committing(self, unit, attempt) as ending:
            kept = _Copies(ShardWriter(ending.folder / "kept.parquet", self.schema), self.schema)
            dropped = ShardWriter(ending.folder / "dropped.parquet", DROPPED_SCHEMAS[False])
            rules = Counter[str]()
            times: list[NDArray[np.int32]] = []  # by batch and row, how often the document is taken
            for batch in _batches(shard):
                sized = size_up(batch, shard.source, self.grouping)
                batch_times, drops = self._judge(batch, sized)
                times.append(batch_times)
                rules.update(drop.rule for drop in drops.values())
                kept.write(batch, sized, batch_times >= 1, 1)
                dropped.write(dropped_rows(batch, self.name, drops))
            once = kept.writer.rows
            for copy in range(2, max((int(batch_times.max(initial=0)) for batch_times in times), default=0) + 1):
                for batch, batch_times in zip(_batches(shard), times, strict=True):
                    if (batch_times >= copy).any():
                        kept.write(batch, size_up(batch, shard.source, self.grouping), batch_times >= copy, copy)
            kept.writer.close()
            dropped.close()
            rows = sum(map(len, times))
            if rows != once + dropped.rows:
                raise RuntimeError(f"unit {unit.key}: {rows} read, {once} kept, {dropped.rows} dropped")
            counts = account(self.name, rows) | {"kept": once, "dropped": dict(sorted(rules.items()))}
            counts |= {"copies": kept.writer.rows - once, "groups": dict(sorted(kept.sizes.items()))}
            outputs = [kept.writer.output(unit.key, "documents"), dropped.output(unit.key, "dropped")]
            ending.publish([counts], outputs, [kept.writer.path, dropped.path])

    def _judge(self, batch: pa.RecordBatch, sized: Sized) -> tuple[NDArray[np.int32], dict[int, Drop]]:
        """(how often each row's document is taken, why the documents that are not taken are not)."""
        values = batch.column(self.grouping.by).to_pylist() if self.grouping.by else [""] * batch.num_rows
        times, drops = np.zeros(batch.num_rows, np.int32), {}
        ids = batch.column("id").to_pylist()
        for row, (id, group, weight) in enumerate(zip(ids, sized.groups, sized.weights, strict=True)):
            factor, drawn = self.factors.get(group or "", 0.0) * weight, draw(id or "", self.seed)
            times[row] = copies(factor, drawn) if group is not None else 0
            if drop := judge(group, str(values[row]), factor, drawn):
                drops[row] = drop
        return times, drops


class _Copies:
    """Writes the taken documents of a shard, and sums up how much of each group is taken."""

    def __init__(self, writer: ShardWriter, schema: pa.Schema) -> None:
        self.writer = writer
        self.sizes = Counter[str]()  # by group
        self._schema = schema

    def write(self, batch: pa.RecordBatch, sized: Sized, is_taken: NDArray[np.bool_], copy: int) -> None:
        """Write the rows that are taken; `copy` is the number of this copy of their documents, from 1."""
        for group, size, taken in zip(sized.groups, sized.sizes, is_taken.tolist(), strict=True):
            if taken and group is not None:
                self.sizes[group] += size
        batch = replace_column(batch, GROUP, pa.array(sized.groups, pa.string()))
        batch = replace_column(batch, COPY, pa.array(np.full(batch.num_rows, copy, np.int32)))
        for field in self._schema:
            if field.name not in batch.schema.names:
                batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
        self.writer.write(batch.filter(pa.array(is_taken)))


def _batches(shard: SourceShard, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    dataset = Dataset(shard.dataset)
    return dataset.batches(find_output(dataset, shard.unit, "documents"), ROW_GROUP, columns)
