"""What is exported: a dataset of documents or tokens, its rows in order, and what its run says of it.

In: a folder that a command has written, or the folder of a run, which stands for its `clean` or `tokens`. Out: a
`Source`, and the rows of any range of it, one batch at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from corpus.report.funnel import Funnel, funnel
from corpus.report.gather import datasets, records
from corpus.stage import output_folders
from corpus.store.card import KINDS
from corpus.store.open import exists, is_dir
from corpus.store.records import Output
from corpus.store.shards import Dataset

_BATCH = 1024  # rows
_VOCABULARY = ("tokenizer_hash", "vocab_size", "end_of_text")  # in the footer of a shard of tokens
_RUN = {"documents": "clean", "tokens": "tokens"}  # kind -> the folder of a run that holds it


class Source(NamedTuple):
    """A dataset to export.

    dataset  where it lies
    kind     documents or tokens
    shards   its files of this kind, in the order of the units
    schema   their columns
    footer   the key-value pairs of the first shard: for tokens, the vocabulary's; else empty
    run      the folder of the run that the dataset belongs to; None where it was made by a single command
    """

    dataset: Dataset
    kind: str
    shards: Sequence[Output]
    schema: pa.Schema
    footer: dict[str, str]
    run: str | None

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


def find_source(folder: str, kinds: Sequence[str]) -> Source:
    """The dataset of one of these kinds in `folder`. Raises FileNotFoundError, or ValueError saying what is there."""
    if not exists(folder):
        raise FileNotFoundError(f"{folder}: no such folder; name the output of corpus run or of another command")
    if is_dir(f"{folder}/_units"):
        parent, _, name = folder.rpartition("/")
        above = parent or "."
        run = above if name in output_folders() and exists(f"{above}/recipe.toml") else None
        return _source(folder, kinds, run)
    for kind in kinds:
        if is_dir(f"{folder}/{_RUN[kind]}/_units"):
            return _source(f"{folder}/{_RUN[kind]}", (kind,), folder)
    raise ValueError(f"{folder}: holds no committed {' or '.join(kinds)}; name the output folder of a command")


def _source(folder: str, kinds: Sequence[str], run: str | None) -> Source:
    dataset = Dataset(folder)
    found = {output.kind for record in dataset.scan() for output in record.outputs}
    kind = next((kind for kind in kinds if kind in found), None)
    if kind is None:
        fix = "; make tokens of them with corpus tokenize" if "documents" in found else ""
        holds = ", ".join(sorted(found)) or "nothing"
        raise ValueError(f"{folder}: holds {holds} and no committed {' or '.join(kinds)}{fix}")
    shards = dataset.files(kind)
    pairs = dataset.pairs(shards[0]) if kind == "tokens" else {}
    footer = {key: value for key, value in pairs.items() if key in _VOCABULARY}
    return Source(dataset, kind, shards, dataset.schema(shards[0]), footer, run)


def kind_of(dataset: Dataset) -> str | None:
    """Documents or tokens, whichever a dataset holds; None if it holds neither."""
    kinds = (output.kind for record in dataset.scan() for output in record.outputs)
    return next((kind for kind in kinds if kind in KINDS), None)


def rows_between(source: Source, start: int, end: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows `start` up to `end` of a source, counted over all shards. Raises ValueError naming a shard that differs."""
    first = 0
    for shard in source.shards:
        if first < end and first + shard.rows > start:
            schema = source.dataset.schema(shard)
            if schema != source.schema:
                raise ValueError(
                    f"{source.dataset.path}/{shard.path}: has other columns than the first shard; "
                    "all shards should have the same columns: make this dataset again"
                )
            at = first
            for batch in source.dataset.batches(shard, _BATCH, list(columns)):
                low, high = max(start - at, 0), min(end - at, batch.num_rows)
                if low < high:
                    yield batch.slice(low, high - low)
                at += batch.num_rows
                if at >= end and end < first + shard.rows:
                    break  # the rest of the shard belongs to the next file
        first += shard.rows


def cuts(source: Source, file_size: int) -> list[int]:
    """Row numbers at which the files begin, and the number of rows: each file takes about `file_size` bytes of shards.

    They follow from the commit records alone. So the number of files is known before the first of them is written, and
    a file can be written without those before it. Within a shard, every row counts for as many bytes.
    """
    whole = sum(shard.bytes for shard in source.shards)
    count = max(1, min(-(-whole // file_size), source.rows))
    places, row, before = [0], 0, 0
    remaining = iter(source.shards)
    shard = next(remaining)
    for number in range(1, count):
        target = whole * number // count
        while before + shard.bytes <= target:
            row, before = row + shard.rows, before + shard.bytes
            shard = next(remaining)
        places.append(row + shard.rows * (target - before) // shard.bytes)
    return sorted({*places, source.rows}) if source.rows else [0, 0]


def languages(source: Source) -> Counter[str]:
    """The number of documents by language; empty where no stage has identified it."""
    counts: Counter[str] = Counter()
    if "language" in source.schema.names:
        for shard in source.shards:
            for batch in source.dataset.batches(shard, 8 * _BATCH, ["language"]):
                for item in pc.value_counts(batch.column(0).drop_null()).to_pylist():
                    counts[item["values"]] += item["counts"]
    return counts


def funnel_of(source: Source) -> Funnel:
    """The funnel of all passes that the documents went through: of the run, if the dataset is a part of one."""
    named = _passes_of(source)
    return funnel(records(named))


def inputs_of(source: Source) -> list[str]:
    """The names of the files that the documents were made of, sorted; the folders of this machine are left out."""
    first = _passes_of(source)[0][1]
    return sorted(
        {
            file.path if "://" in file.path and not file.path.startswith("file://") else file.path.rpartition("/")[2]
            for record in first.scan()
            for file in record.inputs
        }
    )


def versions_of(source: Source) -> dict[str, str]:
    """The versions of the libraries whose work shows in the documents, from the configurations of the passes."""
    versions: dict[str, str] = {}
    for _, dataset in _passes_of(source):
        for digest in sorted({record.config for record in dataset.scan()}):
            configuration = dataset.configuration(digest) or {}
            versions |= configuration.get("versions", {})
    return versions


def _passes_of(source: Source) -> list[tuple[str, Dataset]]:
    """The datasets that the documents went through, up to the source itself."""
    named = datasets([source.run or source.dataset.path])
    name = source.dataset.path.rpartition("/")[2]
    if source.run:
        end = [number for number, (other, _) in enumerate(named) if other == name]
        named = named[: end[0] + 1] if end else named
    return named
