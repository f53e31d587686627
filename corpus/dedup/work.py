"""What a unit does, for each pass of deduplication that brings documents of several shards together.

`corpus.dedup.passes` says in which order the passes run and what each is for. Each unit reads files that the passes
before have committed. Only `BlocksWork` is one unit for the whole corpus; it holds a few bytes a document in memory.
`memory` of a work is the MiB that one of its units is expected to need.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.dedup.config import Config
from corpus.dedup.shards import Group, SignedShard, SignedShards, find_group
from corpus.engine.base import Attempt, Unit
from corpus.run.barrier import READS, partition_of
from corpus.run.chain import BATCH
from corpus.run.commit import account, committing, find_output, whole_input
from corpus.store.records import Output, unit_of
from corpus.store.shards import ROW_GROUP, Dataset, ShardWriter

_KEYS_HELD = 3  # times the keys of a group that are in memory
_PAIRS_HELD = 4  # times a range of pairs that is in memory
_BLOCKS_BYTES = 12  # of memory for each document
_CANDIDATES_HELD = 3  # times a partition of candidates that is in memory


@dataclass(frozen=True)
class KeysWork:
    """Writes the keys of a group's documents, by ranges of keys, from their signatures."""

    name: str
    config: Config
    output: str
    config_hash: str
    shards: SignedShards

    @property
    def memory(self) -> int:
        return 512 + (12 * (self.config.bands + 1) * self.shards.documents * _KEYS_HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.exchange import write_keys

        with committing(self, unit, attempt) as ending:
            groups = self.shards.groups()
            group = groups[find_group(groups, unit.key)]
            records = write_keys(self._keys(group), ending.folder / "pairs")
            ending.publish_file("pairs", "pairs", records, group.end - group.first_row)

    def _keys(self, group: Group) -> Iterator[tuple[Any, Any]]:
        """(keys, the row within the group of each), batch by batch."""
        import numpy as np

        from corpus.dedup.keys import key_columns, keys
        from corpus.dedup.signatures import check

        for shard in group.shards:
            check(f"{shard.dataset.path}/{shard.signatures.path}", shard.dataset.footer(shard.signatures), self.config)
            row = shard.first_row - group.first_row
            for batch in shard.dataset.batches(shard.signatures, ROW_GROUP, key_columns(self.config)):
                batch_keys, rows = keys(batch, self.config)
                yield batch_keys, rows + np.uint32(row)
                row += batch.num_rows


@dataclass(frozen=True)
class BandsWork:
    """Reads one range of the keys of all groups, and writes edges between the documents that share a key."""

    name: str
    output: str
    config_hash: str
    shards: SignedShards
    pairs: str
    bytes: int  # of pairs in a range

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _PAIRS_HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.exchange import partition_edges, write_edges
        from corpus.dedup.slots import PairFile

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.pairs, "pairs")
            paths = {output.unit: output.path for output in dataset.files("pairs")}
            groups = self.shards.groups()
            files = [
                PairFile(
                    group.first_row,
                    functools.partial(dataset.storage.read_range, paths[group.key]),
                    paths[group.key],
                )
                for group in groups
            ]
            edges = partition_edges(files, *partition_of(unit), threads=READS)
            write_edges(edges, ending.folder / "edges")
            ending.publish_file("edges", "edges", len(edges), groups[-1].end, edges=len(edges))


@dataclass(frozen=True)
class BlocksWork:
    """Reads all edges, and writes which documents are connected to others, by groups of shards."""

    name: str
    output: str
    config_hash: str
    shards: SignedShards  # in the groups of the pass `candidates`
    edges: str
    rows: int  # documents of all shards

    @property
    def memory(self) -> int:
        return 512 + (self.rows * _BLOCKS_BYTES >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.dedup.candidates import write_blocks
        from corpus.dedup.components import components

        with committing(self, unit, attempt) as ending:
            root = components(self.rows, _edges(whole_input(unit, self.edges, "edges")))
            sizes = np.bincount(root, minlength=self.rows).astype(np.int32)
            starts = [*(group.first_row for group in self.shards.groups()), self.rows]
            connected = write_blocks(root, sizes, starts, ending.folder / "blocks.sections")
            sums = {"candidates": connected, "blocks": int((sizes > 1).sum())}
            ending.publish_file("blocks.sections", "blocks", connected, self.rows, **sums)


@dataclass(frozen=True)
class CandidatesWork:
    """Reads a group's documents that are connected to others, and writes what decides between them, by partition."""

    name: str
    config: Config
    output: str
    config_hash: str
    documents: str
    shards: SignedShards
    blocks: str
    parts: int
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.candidates import write_candidates

        with committing(self, unit, attempt) as ending:
            path = ending.folder / "candidates.sections"
            candidates = write_candidates(self._candidates(unit.key), path, self.parts)
            ending.publish_file(path.name, "candidates", candidates, candidates)

    def _candidates(self, key: str) -> Iterator[pa.RecordBatch]:
        import numpy as np

        from corpus.dedup.candidates import BLOCKS, candidates

        groups = self.shards.groups()
        number = find_group(groups, key)
        blocks = _section(Dataset(self.blocks), "blocks", number, BLOCKS)
        rows = blocks.column("row").to_numpy()
        columns = ["text_hash", *(["signature"] if self.config.minhash else [])]
        for shard in groups[number].shards:
            first, end = np.searchsorted(rows, np.array([shard.first_row, shard.end], np.uint64)).tolist()
            if end > first:
                yield from candidates(
                    self._documents(shard),
                    shard.dataset.batches(shard.signatures, ROW_GROUP, columns),
                    blocks.slice(first, end - first),
                    shard.first_row,
                    self.config,
                    published=shard.published,
                )

    def _documents(self, shard: SignedShard) -> Iterator[pa.RecordBatch]:
        """The documents of a shard; of a published one, the rows that the index has instead of them."""
        from corpus.dedup.candidates import document_columns

        if shard.published:
            return shard.dataset.batches(shard.signatures, ROW_GROUP)
        documents = Dataset(self.documents)
        output = find_output(documents, shard.key, "documents")
        return documents.batches(output, ROW_GROUP, document_columns(self.config))


@dataclass(frozen=True)
class DecisionsWork:
    """Reads one partition of the candidates of all groups, and writes which documents stay, by groups of shards."""

    name: str
    config: Config
    output: str
    config_hash: str
    shards: SignedShards
    candidates: str
    bytes: int  # of candidates in a partition

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _CANDIDATES_HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.candidates import candidates_schema
        from corpus.dedup.labels import decide, write_decisions

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.candidates, "candidates")
            part, _ = partition_of(unit)
            candidates = _section(dataset, "candidates", part, candidates_schema(self.config))
            decided = decide(candidates.to_batches(), self.config)
            groups = self.shards.own_groups()
            starts = [*(group.first_row for group in groups), groups[-1].end]
            rows = write_decisions(decided.decisions, ending.folder / "decisions.sections", starts)
            ending.publish_file("decisions.sections", "decisions", rows, rows, capped=decided.capped)


@dataclass(frozen=True)
class LabelsWork:
    """Reads what is decided about a group, and writes LABELS of all its documents: a shard for each of its shards."""

    name: str
    output: str
    config_hash: str
    shards: SignedShards
    decisions: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.labels import DECISIONS, LABELS, labels

        with committing(self, unit, attempt) as ending:
            dataset = whole_input(unit, self.decisions, "decisions")
            groups = self.shards.own_groups()
            number = find_group(groups, unit.key)
            decisions = _section(dataset, "decisions", number, DECISIONS)
            outputs, files, rows = [], [], 0
            for shard in groups[number].shards:
                batches = shard.dataset.batches(shard.signatures, ROW_GROUP, ["id"])
                ids = pa.concat_arrays([pa.array([], pa.string()), *(batch.column("id") for batch in batches)])
                writer = ShardWriter(ending.folder / f"{shard.key}.parquet", LABELS)
                writer.write(labels(decisions, shard.first_row, ids))
                writer.close()
                outputs.append(writer.output(shard.key, "labels"))
                files.append(writer.path)
                rows += len(ids)
            ending.publish([account("labels", rows)], outputs, files)


@dataclass(frozen=True)
class PublishWork:
    """Reads a shard of documents and its labels, and writes the documents that stay into the index."""

    name: str
    config: Config
    output: str
    config_hash: str
    documents: str
    labels: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.candidates import document_columns
        from corpus.dedup.index import index_rows, index_schema

        with committing(self, unit, attempt) as ending:
            source, labels = Dataset(self.documents), Dataset(self.labels)
            shard = find_output(source, unit_of(unit.inputs[0].path), "documents")
            batches = source.batches(shard, BATCH, document_columns(self.config))
            keeps = labels.batches(unit.inputs[1].path.removeprefix(f"{self.labels}/"), BATCH, ["keep"])
            writer = ShardWriter(ending.folder / "index.parquet", index_schema(self.config))
            for batch, keep in zip(batches, keeps, strict=True):
                writer.write(index_rows(batch.filter(keep.column("keep")), self.config))
            writer.close()
            ending.publish_file(writer.path.name, "signatures", writer.rows, writer.rows)


def _section(dataset: Dataset, kind: str, section: int, schema: pa.Schema) -> pa.Table:
    """One section of every file of a kind, in the order of the units."""
    from corpus.dedup.sections import Sections, read_section

    def read(output: Output) -> list[pa.RecordBatch]:
        read_range = functools.partial(dataset.storage.read_range, output.path)
        return list(read_section(Sections(read_range, f"{dataset.path}/{output.path}"), section, schema))

    with ThreadPoolExecutor(READS) as pool:
        batches = [batch for batches in pool.map(read, dataset.files(kind)) for batch in batches]
    return pa.Table.from_batches(batches, schema)


def _edges(dataset: Dataset) -> Iterator[Any]:
    from corpus.dedup.exchange import read_edges

    for output in dataset.files("edges"):
        with dataset.storage.open(output.path) as stream:
            yield from read_edges(stream)
