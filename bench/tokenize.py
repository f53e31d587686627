"""`python -m bench.tokenize [--json]`: documents to token shards, beside tiktoken with pyarrow, on one core.

Two shards of 50 MB of English each (`bench.encode`) go through the pass `tokens`: read Parquet, encode, write Parquet,
write the commit record. The peer is what one would write by hand: pyarrow reads the column, tiktoken encodes, pyarrow
writes. The first shard warms both up. The figure is MB/s of UTF-8 for the second shard, from opening it to the commit
record. The ids must be equal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench import harness
from bench.encode import english
from bpe.files import load_vocabulary
from corpus.engine.base import Quarantine
from corpus.run.plan import Source
from corpus.schema import DOCUMENTS
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter
from corpus.tokens.passes import tokens_pass

NAME = "cl100k_base"
UNITS = ("a", "b")


class Alone:
    """An attempt at a unit without a supervisor."""

    number, careful = 1, False
    quarantine: Mapping[int, Quarantine] = {}

    def guard(self, stage: str, first: int, rows: int, seconds: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def progress(self, read: int, kept: int, share: float) -> None:
        pass

    def note(self, row: int, why: Quarantine, trace: str) -> None:
        raise AssertionError(f"row {row}: {why}")


def main(as_json: bool) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder = harness.data_folder()
    file = folder / "tokenizers" / f"{NAME}.tiktoken"
    with tempfile.TemporaryDirectory() as scratch:
        clean = Path(scratch, "clean")
        documents = english(folder)
        megabytes = harness.utf8_bytes(documents) / 1e6
        for number, unit in enumerate(UNITS):
            commit(clean, unit, [f"{document}{number}" for document in documents])
        ours = list(tokenize(clean, file, Path(scratch, "tokens")))[-1]
        peer = list(by_hand(clean, file, Path(scratch, "peer")))[-1]
        shards = [Path(scratch, "tokens", shard.path) for shard in Dataset(Path(scratch, "tokens")).files("tokens")]
        ids, theirs = all_ids(shards), all_ids([Path(scratch, "peer", f"{unit}.parquet") for unit in UNITS])
        if ids.to_pylist() != theirs.to_pylist():
            sys.exit("the shards differ")
    harness.print_row(f"{megabytes:.0f} MB of English", "MB/s", megabytes / ours, {"tiktoken": megabytes / peer}, True)
    if as_json:
        harness.print_json("tokenize", {"tiktoken": peer / ours}, {"seconds": ours}, {"tiktoken": peer})


def all_ids(files: list[Path]) -> pa.ChunkedArray:
    return pa.concat_tables([pq.read_table(file, columns=["tokens"]) for file in files])["tokens"]


def commit(folder: Path, unit: str, texts: list[str]) -> None:
    """A shard of documents, as `corpus` leaves them."""
    dataset = Dataset(folder)
    digest = dataset.begin({})
    columns = [pa.nulls(len(texts), field.type) for field in DOCUMENTS]
    columns[DOCUMENTS.get_field_index("text")] = pa.array(texts)
    columns[DOCUMENTS.get_field_index("id")] = pa.array([f"<{unit}{number}>" for number in range(len(texts))])
    with dataset.storage.scratch() as scratch:
        writer = ShardWriter(scratch / "x", DOCUMENTS)
        writer.write(pa.record_batch(columns, schema=DOCUMENTS))
        writer.close()
        dataset.commit(CommitRecord(unit, "s", digest, (), (writer.output(unit, "documents"),), ()), [writer.path])


def tokenize(clean: Path, tokenizer: Path, output: Path) -> Iterator[float]:
    """Seconds for each shard, of ours."""
    plan = tokens_pass(Source(dataset=str(clean)), UNITS, str(tokenizer), str(output))
    work = plan.work(Dataset(output).begin(plan.config))
    for unit in plan.units(UNITS):
        start = time.perf_counter()
        work.run(unit, Alone())
        yield time.perf_counter() - start


def by_hand(clean: Path, tokenizer: Path, output: Path) -> Iterator[float]:
    """Seconds for each shard, of the peer."""
    peer = harness.tiktoken_encoding(load_vocabulary(tokenizer))
    schema = pa.schema([("id", pa.string()), ("tokens", pa.list_(pa.uint32()))])
    output.mkdir()
    for shard in Dataset(clean).files("documents"):
        start = time.perf_counter()
        with (
            pq.ParquetFile(clean / shard.path) as parquet,
            pq.ParquetWriter(output / f"{Path(shard.path).name[0]}.parquet", schema, compression="zstd") as writer,
        ):
            for batch in parquet.iter_batches(1024, columns=["id", "text"]):
                ids = peer.encode_ordinary_batch(batch.column("text").to_pylist(), num_threads=1)
                writer.write_batch(pa.record_batch([batch.column("id"), pa.array(ids, schema.field(1).type)], schema))
        yield time.perf_counter() - start


if __name__ == "__main__":
    main("--json" in sys.argv[1:])
