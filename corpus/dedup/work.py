"""What a unit of deduplication does, pass by pass: keys, bands, blocks, candidates, decisions, labels, and the index.

Each reads committed files of the passes before it, and of an index of published documents if there is one: the index's
shards come first and the corpus's own after them, and rows count over both in this order. What is exchanged between
passes is written by groups of neighbouring shards, so large that whoever reads a part of it reads a megabyte at a time.
Only `BlocksWork` is one unit for the whole corpus, and it holds a few bytes a document.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.dedup.config import Config
from corpus.dedup.published import PublishedIndex
from corpus.engine.base import Attempt, Unit
from corpus.run.chain import BATCH
from corpus.run.commit import check_whole, commit, commit_file, find_output
from corpus.store.records import Output, unit_of
from corpus.store.shards import ROW_GROUP, Dataset, ShardWriter

PUBLISHED = "@"  # before the keys of the index's shards, where they are among the corpus's own, which never have it
_READS = 8  # ranges under way at a time
_KEYS_HELD = 3  # times the keys of a group that are in memory
_PAIRS_HELD = 4  # times a range of pairs that is in memory
_BLOCKS_BYTES = 12  # of memory for each document
_CANDIDATES_HELD = 3  # times a partition of candidates that is in memory


class Signed(NamedTuple):
    """A shard that is signed: of the corpus, or of an index."""

    key: str
    dataset: Dataset
    signatures: Output
    first_row: int

    @property
    def end(self) -> int:
        """The first row after it."""
        return self.first_row + self.signatures.rows

    @property
    def published(self) -> bool:
        return self.key.startswith(PUBLISHED)


class Group(NamedTuple):
    """Neighbouring shards, all of the index or none."""

    key: str
    shards: list[Signed]

    @property
    def first_row(self) -> int:
        return self.shards[0].first_row

    @property
    def published(self) -> bool:
        return self.shards[0].published


@dataclass(frozen=True)
class SignedShards:
    """Every shard that is signed, in order: where they are, and how many documents make a group of them."""

    signatures: str
    index: PublishedIndex | None
    documents: int  # in a group, if its last shard is not a large one

    def signed(self) -> Iterator[Signed]:
        """Every shard, the index's first."""
        row = 0
        for records, place, prefix in (
            (self.index.records() if self.index else iter(()), self.index.path if self.index else "", PUBLISHED),
            (Dataset(self.signatures).scan(), self.signatures, ""),
        ):
            for record in records:
                output = record.output("signatures")
                assert output
                yield Signed(prefix + record.unit, Dataset(place), output, row)
                row += output.rows

    def groups(self) -> list[Group]:
        """The shards in groups; a function of the shards alone."""
        parts: list[list[Signed]] = []
        for shard in self.signed():
            full = parts and parts[-1][-1].end - parts[-1][0].first_row >= self.documents
            if not parts or full or parts[-1][-1].published != shard.published:
                parts.append([])
            parts[-1].append(shard)
        prefixes = [PUBLISHED if part[0].published else "" for part in parts]
        names = [f"{prefix}{number:05d}-of-{len(parts):05d}" for number, prefix in enumerate(prefixes)]
        return [Group(name, part) for name, part in zip(names, parts, strict=True)]

    def group(self, key: str) -> Group:
        return next(group for group in self.groups() if group.key == key)


@dataclass(frozen=True)
class KeysWork:
    """The signatures of a group in, what its documents can have in common with others out, by ranges of keys."""

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

        began = time.monotonic()
        group = self.shards.group(unit.key)
        with Dataset(self.output).storage.scratch() as folder:
            records = write_keys(self._keys(group), folder / "pairs")
            rows = group.shards[-1].end - group.first_row
            commit_file(self, unit, attempt, began, folder / "pairs", "pairs", records, rows)

    def _keys(self, group: Group) -> Iterator[tuple[Any, Any]]:
        """(keys, their rows within the group)."""
        import numpy as np

        from corpus.dedup.keys import key_columns, keys
        from corpus.dedup.signatures import check

        for shard in group.shards:
            check(f"{shard.dataset.path}/{shard.signatures.path}", shard.dataset.footer(shard.signatures), self.config)
            row = shard.first_row - group.first_row
            for batch in shard.dataset.batches(shard.signatures, ROW_GROUP, key_columns(self.config)):
                found, rows = keys(batch, self.config)
                yield found, rows + np.uint32(row)
                row += batch.num_rows


@dataclass(frozen=True)
class BandsWork:
    """One range of the keys of every group in, edges between the documents that share one out."""

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
        from corpus.dedup.exchange import Source, partition_edges, write_edges

        began = time.monotonic()
        dataset = Dataset(self.pairs)
        check_whole(dataset, "pairs", unit.inputs[0])
        part, parts = map(int, unit.key.split("-of-"))
        files = {output.unit: output.path for output in dataset.files("pairs")}
        sources, rows = [], 0
        for group in self.shards.groups():
            path = files[group.key]
            sources.append(Source(group.first_row, functools.partial(dataset.storage.read_range, path), path))
            rows = group.shards[-1].end
        edges = partition_edges(sources, part, parts, threads=_READS)
        with Dataset(self.output).storage.scratch() as folder:
            write_edges(edges, folder / "edges")
            commit_file(self, unit, attempt, began, folder / "edges", "edges", len(edges), rows, edges=len(edges))


@dataclass(frozen=True)
class BlocksWork:
    """All edges in, the documents that are not alone out, by groups."""

    name: str
    output: str
    config_hash: str
    shards: SignedShards  # in the groups of the candidates
    edges: str
    rows: int  # documents

    @property
    def memory(self) -> int:
        return 512 + (self.rows * _BLOCKS_BYTES >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        import numpy as np

        from corpus.dedup.candidates import write_blocks
        from corpus.dedup.components import components

        began = time.monotonic()
        edges = Dataset(self.edges)
        check_whole(edges, "edges", unit.inputs[0])
        root = components(self.rows, _edges(edges))
        sizes = np.bincount(root, minlength=self.rows).astype(np.int32)
        starts = [*(group.first_row for group in self.shards.groups()), self.rows]
        with Dataset(self.output).storage.scratch() as folder:
            path = folder / "blocks.sections"
            found = write_blocks(root, sizes, starts, path)
            sums = {"candidates": found, "blocks": int((sizes > 1).sum())}
            commit_file(self, unit, attempt, began, path, "blocks", found, self.rows, **sums)


@dataclass(frozen=True)
class CandidatesWork:
    """A group's documents that are not alone in, what decides about them out, by partition."""

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

        began = time.monotonic()
        with Dataset(self.output).storage.scratch() as folder:
            path = folder / "candidates.sections"
            written = write_candidates(self._candidates(unit.key), path, self.parts)
            commit_file(self, unit, attempt, began, path, "candidates", written, written)

    def _candidates(self, key: str) -> Iterator[pa.RecordBatch]:
        import numpy as np

        from corpus.dedup.candidates import BLOCKS, candidates, document_columns

        groups = self.shards.groups()
        number = [group.key for group in groups].index(key)
        blocks = _section(Dataset(self.blocks), "blocks", number, BLOCKS)
        rows = blocks.column("row").to_numpy()
        columns = ["text_hash", *(["signature"] if self.config.minhash else [])]
        for shard in groups[number].shards:
            first, end = np.searchsorted(rows, np.array([shard.first_row, shard.end], np.uint64)).tolist()
            if end == first:
                continue
            if shard.published:
                documents = shard.dataset.batches(shard.signatures, ROW_GROUP)
            else:
                source = Dataset(self.documents)
                output = find_output(source, shard.key, "documents")
                documents = source.batches(output, ROW_GROUP, document_columns(self.config))
            yield from candidates(
                documents,
                shard.dataset.batches(shard.signatures, ROW_GROUP, columns),
                blocks.slice(first, end - first),
                shard.first_row,
                self.config,
                published=shard.published,
            )


@dataclass(frozen=True)
class DecisionsWork:
    """One partition of the candidates of every group in, who stays and who stands for whom out, by groups."""

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

        began = time.monotonic()
        dataset = Dataset(self.candidates)
        check_whole(dataset, "candidates", unit.inputs[0])
        part = int(unit.key.split("-of-")[0])
        found = _section(dataset, "candidates", part, candidates_schema(self.config))
        decided = decide(found.to_batches(), self.config)
        own = [group for group in self.shards.groups() if not group.published]
        starts = [*(group.first_row for group in own), own[-1].shards[-1].end]
        with Dataset(self.output).storage.scratch() as folder:
            path = folder / "decisions.sections"
            written = write_decisions(decided.decisions, path, starts)
            commit_file(self, unit, attempt, began, path, "decisions", written, written, capped=decided.capped)


@dataclass(frozen=True)
class LabelsWork:
    """What is decided about a group in, LABELS of its documents out, a shard of them for each of theirs."""

    name: str
    output: str
    config_hash: str
    shards: SignedShards
    decisions: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.labels import DECISIONS, LABELS, labels

        began = time.monotonic()
        decisions = Dataset(self.decisions)
        check_whole(decisions, "decisions", unit.inputs[0])
        own = [group for group in self.shards.groups() if not group.published]
        number = [group.key for group in own].index(unit.key)
        decided = _section(decisions, "decisions", number, DECISIONS)
        outputs, files, rows = [], [], 0
        with Dataset(self.output).storage.scratch() as folder:
            for shard in own[number].shards:
                batches = shard.dataset.batches(shard.signatures, ROW_GROUP, ["id"])
                ids = pa.concat_arrays([pa.array([], pa.string()), *(batch.column("id") for batch in batches)])
                writer = ShardWriter(folder / f"{shard.key}.parquet", LABELS)
                writer.write(labels(decided, shard.first_row, ids))
                writer.close()
                outputs.append(writer.output(shard.key, "labels"))
                files.append(writer.path)
                rows += len(ids)
            counts = {"stage": "labels", "read": rows, "kept": rows, "dropped": {}}
            commit(self, unit, attempt, began, [counts], outputs, files)


@dataclass(frozen=True)
class PublishWork:
    """What a shard keeps, into the index."""

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

        began = time.monotonic()
        source, labels = Dataset(self.documents), Dataset(self.labels)
        shard = find_output(source, unit_of(unit.inputs[0].path), "documents")
        batches = source.batches(shard, BATCH, document_columns(self.config))
        keeps = labels.batches(unit.inputs[1].path, BATCH, ["keep"])
        with Dataset(self.output).storage.scratch() as folder:
            writer = ShardWriter(folder / "index.parquet", index_schema(self.config))
            for batch, keep in zip(batches, keeps, strict=True):
                writer.write(index_rows(batch.filter(keep.column("keep")), self.config))
            writer.close()
            commit_file(self, unit, attempt, began, writer.path, "signatures", writer.rows, writer.rows)


def _section(dataset: Dataset, kind: str, section: int, schema: pa.Schema) -> pa.Table:
    """A section of all files of one kind, in the order of their units."""
    from corpus.dedup.sections import Sections, read_section

    def read(output: Output) -> list[pa.RecordBatch]:
        read_range = functools.partial(dataset.storage.read_range, output.path)
        return list(read_section(Sections(read_range, f"{dataset.path}/{output.path}"), section, schema))

    with ThreadPoolExecutor(_READS) as pool:
        batches = [batch for found in pool.map(read, dataset.files(kind)) for batch in found]
    return pa.Table.from_batches(batches, schema)


def _edges(dataset: Dataset) -> Iterator[Any]:
    from corpus.dedup.exchange import read_edges

    for output in dataset.files("edges"):
        with dataset.storage.open(output.path) as stream:
            yield from read_edges(stream)
