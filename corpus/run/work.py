"""What a unit of per-document stages does: rows in, through a chain of stages, shards and a commit record out.

`ChainWork` is picklable, and an engine runs it. Where its rows come from is a `Reader`'s affair: the pages of a WARC
file (`corpus.warc.source`) or a shard of documents (`Documents`, here). Barriers have works of their own, each in the
folder of its subject.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from corpus.engine.base import Attempt, Unit
from corpus.run.chain import BATCH, Chain, Rows, Step
from corpus.run.commit import DROPPED_SCHEMAS, check_accounts, committing, find_output
from corpus.run.remote import on_this_machine
from corpus.store.shards import Dataset, ShardWriter


class Reader(Protocol):
    """Where the rows of a unit come from; picklable."""

    def schema(self, unit: Unit) -> pa.Schema:
        """The columns of the documents that the rows are or become, before any stage adds to them."""

    def read(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        """The rows with their ordinals, in input order. Warms the chain up before the first row, and reports progress.

        What happens to rows before the chain sees them is an account in `chain.before` and rows in `chain.drop`.
        """


@dataclass(frozen=True)
class Documents:
    """A shard of a dataset of documents, with what the first stage of the chain wants attached to its rows.

    labels   the dataset whose rows are attached (`Stage.labels`); its shard is the unit's second input
    columns  the columns of the first shard, which every shard should have; none: they are not compared
    """

    dataset: str
    labels: str | None = None
    columns: tuple[str, ...] = ()

    @staticmethod
    def of(dataset: str, labels: str | None = None) -> Documents:
        """The documents of a dataset whose shards should have the columns of the first one."""
        source = Dataset(dataset)
        first = next((shard for record in source.scan() if (shard := record.output("documents"))), None)
        return Documents(dataset, labels, tuple(source.schema(first).names) if first else ())

    def schema(self, unit: Unit) -> pa.Schema:
        """Raises ValueError naming the shard and the columns that it has and the first shard lacks, or vice versa."""
        source = Dataset(self.dataset)
        shard = find_output(source, unit.key, "documents")
        schema = source.schema(shard)
        lacks = [name for name in self.columns if name not in schema.names]
        more = [name for name in schema.names if self.columns and name not in self.columns]
        if lacks or more:
            differs = [f"lacks {', '.join(lacks)}"] if lacks else []
            differs += [f"has {', '.join(more)}"] if more else []
            raise ValueError(
                f"{self.dataset}/{shard.path}: {' and '.join(differs)}, unlike the first shard; "
                "all shards should have the same columns: make this dataset again"
            )
        return schema

    def read(self, unit: Unit, chain: Chain) -> Iterator[Rows]:
        source = Dataset(self.dataset)
        shard = find_output(source, unit.key, "documents")
        labels = self._labels(unit, chain.steps[0])
        row_column = chain.steps[0].contract.row_column
        start = 0
        for batch in source.batches(shard, BATCH):
            if labels is not None:
                batch = _attached(batch, next(labels, None))
            if row_column:
                first = unit.first_row + start
                batch = batch.append_column(row_column, pa.array(range(first, first + batch.num_rows), pa.uint64()))
            if start == 0:
                chain.warm_up(batch.slice(0, 0))
            yield Rows(list(range(start, start + batch.num_rows)), batch)
            start += batch.num_rows
            chain.attempt.progress(start, chain.kept, start / max(shard.rows, 1))

    def _labels(self, unit: Unit, first: Step) -> Iterator[pa.RecordBatch] | None:
        """The columns of the labels that the first stage reads, under the names that they are attached by."""
        wanted = first.contract.labels
        if self.labels is None or wanted is None:
            return None
        names = ["id", *wanted.columns(first.config)]
        # The shard is named by the unit, because a record of the labels may list the shards of many units.
        batches = Dataset(self.labels).batches(unit.inputs[1].path.removeprefix(f"{self.labels}/"), BATCH, names)
        attached = ["id", *(f"{wanted.prefix}{name}" for name in names[1:])]
        return (batch.rename_columns(attached) for batch in batches)


@dataclass(frozen=True)
class ChainWork:
    """Per-document stages over the rows of one unit; `kind` is the kind of what comes out, as in a commit record."""

    name: str
    steps: tuple[Step, ...]
    output: str
    config_hash: str
    reader: Reader
    kind: str = "documents"
    keep_dropped_text: bool = False
    seconds: float = 30.0  # for one guarded piece of work
    memory: int = 2048  # MiB that a unit is expected to need: a cluster places units by it
    columns: pa.Schema | None = None  # of every shard, where passes with other readers write to the same dataset

    def run(self, unit: Unit, attempt: Attempt) -> None:
        steps = tuple(step._replace(config=on_this_machine(step.config)) for step in self.steps)
        dataclasses.replace(self, steps=steps)._run(unit, attempt)

    def _run(self, unit: Unit, attempt: Attempt) -> None:
        chain = Chain(self.steps, attempt, self.seconds, keep_dropped_text=self.keep_dropped_text)
        schema = self._schema(unit)
        with committing(self, unit, attempt) as ending:
            kept = ShardWriter(ending.folder / "kept.parquet", schema)
            sums = [Counter(step.counted(pa.RecordBatch.from_pylist([], schema=schema))) for step in self.steps]
            for batch in chain.run(self.reader.read(unit, chain)):
                kept.write(batch if self.columns is None else _with_columns(batch, self.columns))
                for step, total in zip(self.steps, sums, strict=True):
                    total.update(step.counted(batch))
            kept.close(self._footer(sums))
            outputs, files = [kept.output(unit.key, self.kind)], [kept.path]
            beside = [("dropped", DROPPED_SCHEMAS[self.keep_dropped_text], chain.dropped().to_batches())]
            beside = beside if self.kind == "documents" or chain.before else []
            beside += [
                ("audit", audit, chain.audits)
                for step in self.steps
                if (audit := step.contract.audit(step.config)) is not None
            ]
            for kind, columns, batches in beside:
                writer = ShardWriter(ending.folder / f"{kind}.parquet", columns)
                for batch in batches:
                    writer.write(batch)
                writer.close()
                outputs.append(writer.output(unit.key, kind))
                files.append(writer.path)
            for account, total in zip(chain.accounts, sums, strict=True):
                account.sums.update(total)
            accounts = [account.to_json() for account in (*chain.before, *chain.accounts)]
            check_accounts(unit.key, accounts, outputs)
            ending.publish(accounts, outputs, files)

    def _footer(self, sums: Sequence[Mapping[str, int]]) -> dict[str, str] | None:
        footer = self.steps[-1].contract.footer if self.steps else None
        return footer(self.steps[-1].config, sums[-1]) if footer else None

    def _schema(self, unit: Unit) -> pa.Schema:
        if self.columns is not None:
            return self.columns
        if self.steps and (schema_of := self.steps[-1].contract.schema):
            return schema_of(self.steps[-1].config)
        schema = self.reader.schema(unit)
        for step in self.steps:
            for added in step.contract.columns(step.config):
                if added.name not in schema.names:
                    schema = schema.append(added)
        return schema


def _with_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns of `schema`; those that it lacks are null."""
    names = batch.schema.names
    columns = [batch.column(f.name) if f.name in names else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.record_batch(columns, schema=schema)


def _attached(batch: pa.RecordBatch, labels: pa.RecordBatch | None) -> pa.RecordBatch:
    if labels is None or labels.num_rows != batch.num_rows or labels.column("id") != batch.column("id"):
        raise ValueError("labels do not belong to these documents; remove the folders of the passes before this one")
    for name in labels.schema.names[1:]:
        batch = batch.append_column(name, labels.column(name))
    return batch
