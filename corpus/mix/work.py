"""What a unit of a mixture does: how much of each group a shard has, and its documents, as often as they are taken."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.engine.base import Attempt, Unit
from corpus.mix.draw import COPY, GROUP, Grouping, copies, draw, judge, size_up
from corpus.run.commit import DROPPED_SCHEMAS, commit, commit_file, find_output
from corpus.schema import dropped_rows, replace_column
from corpus.store.shards import ROW_GROUP, Dataset, ShardWriter


@dataclass(frozen=True)
class Shard:
    """A unit of a source."""

    source: str  # a dataset
    unit: str
    group: str  # the source's name


@dataclass(frozen=True)
class GroupsWork:
    """A shard of documents in, how much of each group it has out."""

    name: str
    output: str
    config_hash: str
    shards: dict[str, Shard]  # by key
    grouping: Grouping
    memory: int = 512

    def run(self, unit: Unit, attempt: Attempt) -> None:
        began = time.monotonic()
        rows = 0
        have: dict[str, float] = {}
        for batch in _batches(self.shards[unit.key], self.grouping.columns() or ["id"]):
            rows += batch.num_rows
            for group, size, weight in zip(*size_up(batch, self.shards[unit.key].group, self.grouping), strict=True):
                if group is not None:
                    have[group] = have.get(group, 0) + size * weight
        with Dataset(self.output).storage.scratch() as folder:
            (folder / "groups.json").write_text(json.dumps(dict(sorted(have.items()))) + "\n")
            commit_file(self, unit, attempt, began, folder / "groups.json", "groups", len(have), rows)


def sizes_of(dataset: Dataset) -> dict[str, float]:
    """How much of each group there is in all shards. Raises ValueError where a file is damaged."""
    have: dict[str, float] = {}
    for output in dataset.files("groups"):
        try:
            for name, size in json.loads(dataset.storage.read(output.path) or b"").items():
                have[name] = have.get(name, 0) + size
        except ValueError as error:
            raise ValueError(f"{dataset.path}/{output.path}: no sizes ({error}); remove {dataset.path}") from None
    return have


@dataclass(frozen=True)
class MixWork:
    """A shard of documents in, as often as they are taken out: all that are once, then all that are twice, and so on.

    `kept` of its account are documents, each counted once; `copies` the rows that they have beyond that.
    """

    name: str
    output: str
    config_hash: str
    shards: dict[str, Shard]
    grouping: Grouping
    factors: dict[str, float]
    seed: int
    schema: pa.Schema
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        began = time.monotonic()
        shard = self.shards[unit.key]
        rows = 0
        dropped, taken = Counter[str](), Counter[str]()
        with Dataset(self.output).storage.scratch() as folder:
            kept = ShardWriter(folder / "kept.parquet", self.schema)
            others = ShardWriter(folder / "dropped.parquet", DROPPED_SCHEMAS[False])
            often: list[np.ndarray[Any, Any]] = []
            for batch in _batches(shard, None):
                counts, groups, drops = self._judge(batch, shard.group)
                rows += batch.num_rows
                often.append(counts)
                dropped.update(drop.rule for drop in drops.values())
                self._write(kept, batch, groups, counts, 1, shard.group, taken)
                others.write(dropped_rows(batch, self.name, drops))
            once = kept.rows
            for copy in range(2, max((int(counts.max(initial=0)) for counts in often), default=0) + 1):
                for batch, counts in zip(_batches(shard, None), often, strict=True):
                    if (counts >= copy).any():
                        groups = size_up(batch, shard.group, self.grouping).groups
                        self._write(kept, batch, groups, counts, copy, shard.group, taken)
            account = {"stage": self.name, "read": rows, "kept": once, "dropped": dict(sorted(dropped.items()))}
            account |= {"copies": kept.rows - once, "groups": dict(sorted(taken.items()))}
            kept.close()
            others.close()
            outputs = [kept.output(unit.key, "documents"), others.output(unit.key, "dropped")]
            if rows != once + outputs[1].rows:
                raise RuntimeError(f"unit {unit.key}: {rows} read, {once} kept, {outputs[1].rows} dropped")
            commit(self, unit, attempt, began, [account], outputs, [kept.path, others.path])

    def _judge(self, batch: pa.RecordBatch, group: str) -> tuple[Any, list[str | None], dict[int, Any]]:
        """(how often each row is taken, its group, why it is not)."""
        sized = size_up(batch, group, self.grouping)
        values = batch.column(self.grouping.by).to_pylist() if self.grouping.by else [""] * batch.num_rows
        counts, drops = np.zeros(batch.num_rows, np.int32), {}
        for row, (id, name, weight) in enumerate(
            zip(batch.column("id").to_pylist(), sized.groups, sized.weights, strict=True)
        ):
            factor, drawn = self.factors.get(name or "", 0.0) * weight, draw(id or "", self.seed)
            counts[row] = copies(factor, drawn) if name is not None else 0
            if drop := judge(name, str(values[row]), factor, drawn):
                drops[row] = drop
        return counts, sized.groups, drops

    def _write(
        self,
        writer: ShardWriter,
        batch: pa.RecordBatch,
        groups: list[str | None],
        counts: Any,
        copy: int,
        group: str,
        taken: Counter[str],
    ) -> None:
        """Write the rows that are taken so often, and count how much of each group that is."""
        mask = counts >= copy
        for name, size, is_taken in zip(groups, size_up(batch, group, self.grouping).sizes, mask.tolist(), strict=True):
            if is_taken and name is not None:
                taken[name] += size
        batch = replace_column(batch, GROUP, pa.array(groups, pa.string()))
        batch = replace_column(batch, COPY, pa.array(np.full(batch.num_rows, copy, np.int32)))
        for field in self.schema:
            if field.name not in batch.schema.names:
                batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
        writer.write(batch.filter(pa.array(mask)))


def _batches(shard: Shard, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    dataset = Dataset(shard.source)
    return dataset.batches(find_output(dataset, shard.unit, "documents"), ROW_GROUP, columns)
