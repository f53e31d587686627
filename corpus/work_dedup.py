"""What a unit of deduplication does, pass by pass: bands, blocks, candidates, labels, and the index.

Each reads committed files of the passes before it, and of an index of published documents if there is one: the index's
units come first and the corpus's own after them, and rows count over both in this order. Only `BlocksWork` is one unit
for the whole corpus, and it holds a few bytes a document.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.chain import BATCH
from corpus.dedup.config import Config
from corpus.engine import Attempt, Unit
from corpus.shards import ROW_GROUP, Dataset, Input, Output, Record, ShardWriter, output_of, unit_of
from corpus.storage import open_path, split
from corpus.work import check_whole, commit, find_output

PUBLISHED = "@"  # before the keys of the index's units, where they are among the corpus's own, which never have it
_READS = 8  # ranges under way at a time
_PAIRS_HELD = 4  # times a range of pairs that is in memory
_BLOCKS_BYTES = 12  # of memory for each document
_CANDIDATES_HELD = 3  # times a partition of candidates that is in memory


class Signed(NamedTuple):
    """A unit that is signed: of the corpus, or of an index."""

    key: str
    dataset: Dataset
    signatures: Output
    pairs: Output
    first_row: int


@dataclass(frozen=True)
class Index:
    """What stands in an index at the moment when it is first asked: a file that lists its units, so that what is added
    later does not change the answer.
    """

    path: str
    listed: str  # path of the list

    def records(self) -> Iterator[Record]:
        place, key = split(self.listed)
        names = set(json.loads(place.read(key) or b"[]"))
        return (record for record in Dataset(self.path).scan() if record.unit in names)


def signed(source: str, index: Index | None) -> Iterator[Signed]:
    """Every unit in order, the index's first."""
    row = 0
    for records, place, prefix in (
        (index.records() if index else iter(()), index.path if index else "", PUBLISHED),
        (Dataset(source).scan(), source, ""),
    ):
        for record in records:
            kinds = {output.kind: output for output in record.outputs}
            yield Signed(prefix + record.unit, Dataset(place), kinds["signatures"], kinds["pairs"], row)
            row += kinds["signatures"].rows


@dataclass(frozen=True)
class BandsWork:
    """One range of keys of every unit in, edges between the documents that share one out."""

    name: str
    output: str
    config_hash: str
    source: str
    index: Index | None
    bytes: int  # of pairs in a range

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _PAIRS_HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.exchange import Source, partition_edges, write_edges

        began = time.monotonic()
        check_whole(Dataset(self.source), "pairs", unit.inputs[0])
        part, parts = map(int, unit.key.split("-of-"))
        sources, rows = [], 0
        for item in signed(self.source, self.index):
            read = functools.partial(item.dataset.storage.read_range, item.pairs.path)
            sources.append(Source(item.first_row, read, f"{item.dataset.path}/{item.pairs.path}"))
            rows = item.first_row + item.signatures.rows
        edges = partition_edges(sources, part, parts, threads=_READS)
        with Dataset(self.output).storage.scratch() as folder:
            write_edges(edges, folder / "edges")
            output = output_of(folder / "edges", unit.key, "edges", len(edges), "edges")
            counts = {"stage": "bands", "read": rows, "kept": rows, "dropped": {}, "edges": len(edges)}
            commit(self, unit, attempt, began, [counts], [output], [folder / "edges"])


@dataclass(frozen=True)
class BlocksWork:
    """All edges in, for each unit its documents that are not alone out."""

    name: str
    output: str
    config_hash: str
    source: str
    index: Index | None
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
        edges, dataset = Dataset(self.edges), Dataset(self.output)
        check_whole(edges, "edges", unit.inputs[0])
        root = components(self.rows, _edges(edges))
        sizes = np.bincount(root, minlength=self.rows).astype(np.int32) if self.rows else np.zeros(0, np.int32)
        with dataset.storage.scratch() as folder:
            outputs, files, found = [], [], 0
            published = 0
            for number, item in enumerate(signed(self.source, self.index)):
                published += item.key.startswith(PUBLISHED)
                path = folder / f"{number}.parquet"
                count = write_blocks(root, sizes, item.first_row, item.signatures.rows, number - published, path)
                outputs.append(output_of(path, item.key, "blocks", count, "parquet"))
                files.append(path)
                found += count
            counts = {"stage": "blocks", "read": self.rows, "kept": self.rows, "dropped": {}, "candidates": found}
            counts["blocks"] = int((sizes > 1).sum())
            commit(self, unit, attempt, began, [counts], outputs, files)


@dataclass(frozen=True)
class CandidatesWork:
    """A unit's documents that are not alone in, what decides about them out, by partition."""

    name: str
    config: Config
    output: str
    config_hash: str
    documents: str
    source: str
    index: Index | None
    parts: int
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.candidates import candidates, document_columns, write_candidates

        began = time.monotonic()
        blocks, footer = read_blocks(unit.inputs[-1])
        published = unit.key.startswith(PUBLISHED) and self.index is not None
        if published and self.index is not None:
            place = Dataset(self.index.path)
            shard = find_output(place, unit.key.removeprefix(PUBLISHED), "signatures")
            signatures = documents = (place, shard)
            columns = None
        else:
            documents = (Dataset(self.documents), find_output(Dataset(self.documents), unit.key, "documents"))
            signatures = (Dataset(self.source), find_output(Dataset(self.source), unit.key, "signatures"))
            columns = document_columns(self.config)
        dataset = Dataset(self.output)
        with dataset.storage.scratch() as folder:
            batches = candidates(
                _batches(*documents, columns, blocks.num_rows),
                _batches(*signatures, _signature_columns(self.config), blocks.num_rows),
                blocks,
                footer["first_row"],
                self.config,
                published=published,
            )
            written = write_candidates(batches, folder / "candidates", self.parts)
            output = output_of(folder / "candidates", unit.key, "candidates", written, "sections")
            counts = {"stage": "candidates", "read": written, "kept": written, "dropped": {}}
            commit(self, unit, attempt, began, [counts], [output], [folder / "candidates"])


@dataclass(frozen=True)
class LabelsWork:
    """One partition of the candidates of every unit in, their labels out, by unit."""

    name: str
    config: Config
    output: str
    config_hash: str
    source: str
    index: Index | None
    candidates: str
    bytes: int  # of candidates in a partition

    @property
    def memory(self) -> int:
        return 512 + (self.bytes * _CANDIDATES_HELD >> 20)

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from corpus.dedup.candidates import candidates_schema
        from corpus.dedup.labels import decide, write_labels
        from corpus.dedup.sections import Sections, read_section

        began = time.monotonic()
        candidates, dataset = Dataset(self.candidates), Dataset(self.output)
        check_whole(candidates, "candidates", unit.inputs[0])
        part = int(unit.key.split("-of-")[0])
        schema = candidates_schema(self.config)

        def read(output: Output) -> list[pa.RecordBatch]:
            file = Sections(functools.partial(candidates.storage.read_range, output.path), output.path)
            return list(read_section(file, part, schema))

        with ThreadPoolExecutor(_READS) as pool:
            batches = [batch for found in pool.map(read, candidates.files("candidates")) for batch in found]
        decided = decide(batches, self.config)
        own = [item for item in signed(self.source, self.index) if not item.key.startswith(PUBLISHED)]
        starts = [item.first_row for item in own] + [own[-1].first_row + own[-1].signatures.rows]
        with dataset.storage.scratch() as folder:
            written = write_labels(decided.labels, folder / "labels", starts)
            output = output_of(folder / "labels", unit.key, "labels", written, "sections")
            counts = {"stage": "labels", "read": written, "kept": written, "dropped": {}, "capped": decided.capped}
            commit(self, unit, attempt, began, [counts], [output], [folder / "labels"])


@dataclass(frozen=True)
class LabelShardsWork:
    """LABELS of a unit's documents, row by row, as a Parquet shard."""

    name: str
    output: str
    config_hash: str
    documents: str
    labels: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.labels import LABELS

        began = time.monotonic()
        labels = labels_of(Dataset(self.documents), unit.key, unit.inputs[1], self.labels, LABELS.names[1:])
        with Dataset(self.output).storage.scratch() as folder:
            writer = ShardWriter(folder / "labels.parquet", labels.schema)
            writer.write(labels)
            writer.close()
            output = writer.output(unit.key, "labels")
            counts = {"stage": "labels", "read": labels.num_rows, "kept": labels.num_rows, "dropped": {}}
            commit(self, unit, attempt, began, [counts], [output], [writer.path])


@dataclass(frozen=True)
class IndexWork:
    """What a unit keeps, into the index."""

    name: str
    config: Config
    output: str
    config_hash: str
    documents: str
    labels: str
    memory: int = 1024

    def run(self, unit: Unit, attempt: Attempt) -> None:
        from corpus.dedup.candidates import document_columns
        from corpus.dedup.exchange import write_pairs
        from corpus.dedup.index import index_rows, index_schema

        began = time.monotonic()
        source, key = Dataset(self.documents), unit_of(unit.inputs[0].path)
        keep = labels_of(source, key, unit.inputs[1], self.labels, ["keep"]).column("keep")
        start = 0
        with Dataset(self.output).storage.scratch() as folder:
            writer = ShardWriter(folder / "index.parquet", index_schema(self.config))
            for batch in source.batches(find_output(source, key, "documents"), BATCH, document_columns(self.config)):
                kept = batch.filter(keep.slice(start, batch.num_rows))
                start += batch.num_rows
                writer.write(index_rows(kept, self.config))
            writer.close()
            pairs = write_pairs(writer.path, folder / "pairs", self.config)
            outputs = [
                writer.output(unit.key, "signatures"),
                output_of(folder / "pairs", unit.key, "pairs", pairs, "pairs"),
            ]
            counts = {"stage": "index", "read": writer.rows, "kept": writer.rows, "dropped": {}}
            commit(self, unit, attempt, began, [counts], outputs, [writer.path, folder / "pairs"])


def labels_of(documents: Dataset, key: str, blocks: Input, labels: str, columns: Sequence[str]) -> pa.RecordBatch:
    """LABELS of all documents of a unit, row by row."""
    from corpus.dedup.labels import unit_labels
    from corpus.dedup.sections import Sections

    found, footer = read_blocks(blocks)
    batches = documents.batches(find_output(documents, key, "documents"), ROW_GROUP, ["id"])
    ids = pa.concat_arrays([pa.array([], pa.string()), *(batch.column("id") for batch in batches)])
    dataset = Dataset(labels)
    files = [
        Sections(functools.partial(dataset.storage.read_range, output.path), f"{labels}/{output.path}")
        for output in (dataset.files("labels") if found.num_rows else ())
    ]
    return unit_labels(files, footer["number"], footer["first_row"], ids, columns)


def read_blocks(blocks: Input) -> tuple[pa.Table, dict[str, int]]:
    """A unit's BLOCKS, and their footer."""
    with open_path(blocks.path) as stream, pq.ParquetFile(stream) as file:
        pairs = file.metadata.metadata
        table = file.read(use_threads=False).combine_chunks()
        return table, {name: int(pairs[name.encode()]) for name in ("number", "first_row")}


def _batches(dataset: Dataset, shard: Output, columns: list[str] | None, wanted: int) -> Iterator[pa.RecordBatch]:
    """A shard's rows, none if none are wanted."""
    if wanted:
        yield from dataset.batches(shard, ROW_GROUP, columns)


def _signature_columns(config: Config) -> list[str]:
    return ["text_hash", *(["signature"] if config.minhash else [])]


def _edges(dataset: Dataset) -> Iterator[Any]:
    from corpus.dedup.exchange import read_edges

    for output in dataset.files("edges"):
        with dataset.storage.open(output.path) as stream:
            yield from read_edges(stream)
