"""A flipped bit in a committed file is refused by name, or changes nothing in what is read; it never gives other rows.

A small run makes files of every kind. Of each file, single bits are flipped, and the file is read by the functions that
the passes read it with.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpe.files import load_vocabulary
from bpe.sources import files_of, read_texts
from corpus.classifier.model import _loaded as load_model
from corpus.classifier.work import read_cutoff
from corpus.decontaminate import apply, benchmarks
from corpus.dedup.candidates import BLOCKS, candidates_schema
from corpus.dedup.exchange import partition_edges, read_edges
from corpus.dedup.labels import DECISIONS
from corpus.dedup.lines.config import Config as LinesConfig
from corpus.dedup.lines.hashes import open_repeated, repeated_lines
from corpus.dedup.lines.work import _repeated
from corpus.dedup.published import PublishedIndex
from corpus.dedup.results import open_deduplication, read_decisions
from corpus.dedup.sections import Sections, offsets, read_section
from corpus.dedup.slots import SLOTS, PairFile, read_records, read_slots
from corpus.mix.work import sizes_of
from corpus.store.records import Output
from corpus.store.shards import Dataset
from corpus.store.verify import datasets_below, verify
from model.stream import open_stream
from tests.support.command import commit_documents, inside

EVERY = 97  # bits
FEW = 12  # flips of each file in the short test
Reader = Callable[[], Any]


def some_texts(count: int, seed: int) -> list[str]:
    """Texts of lines; some are copies of others, and all have a line in common."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefgh", k=6)) for _ in range(500)]
    texts = ["\n".join(" ".join(chance.choices(words, k=12)) for _ in range(4)) for _ in range(count // 2)]
    texts = [f"{text}\nread more of this on our other pages" for text in texts]
    return texts + [text if number % 2 else f"{text} and more" for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the output of every command that commits files."""
    place = tmp_path_factory.mktemp("flips")
    for name, seed in (("old", 1), ("new", 2)):
        texts = some_texts(48, seed)
        if name == "new":
            texts[:6] = some_texts(48, 1)[:6]  # published already
        for unit, start in (("a", 0), ("b", 24)):
            commit_documents(place / name, texts[start : start + 24], f"{name}-{unit}", first=start)
    Dataset(place / "new").compact()
    new, index = place / "new", place / "index"
    (place / "good.txt").write_text("\n<|endoftext|>\n".join(some_texts(40, 3)))
    (place / "bad.txt").write_text("\n<|endoftext|>\n".join(some_texts(40, 4)))
    example = Dataset(new).table(Dataset(new).files("documents")[0]).column("text")[20].as_py()
    (place / "benchmark.jsonl").write_text(json.dumps({"text": example}) + "\n")
    model, small = place / "model.bin", ["--held-out", "0.4", "--dim", "4", "--buckets", "1000"]
    for line in (
        ["dedup", place / "old", "-o", place / "published", "--against", index, "--update-index"],
        ["dedup", new, "-o", place / "unique", "--against", index, "--lines"],
        ["decontaminate", new, "-o", place / "clean", "--benchmarks", place / "benchmark.jsonl"],
        ["classify", "train", "--positive", place / "good.txt", "--negative", place / "bad.txt", "-o", model, *small],
        ["filter", new, "-o", place / "best", "--only", "classifier", "--classifier", model, "--keep-top", "50%"],
        ["mix", f"{new}=1", f"{place / 'old'}=1", "-o", place / "mixed"],
    ):
        inside("corpus", *line)
    inside("bpe", "train", new, "-o", place / "tokenizer", "--vocab-size", "300")
    inside("corpus", "tokenize", new, "-o", place / "tokens", "-t", place / "tokenizer")
    return place


def read_parts(dataset: Dataset, output: Output, schema: Any) -> list[Any]:
    """All sections of a file."""
    read = functools.partial(dataset.storage.read_range, output.path)
    file = Sections(read, f"{dataset.path}/{output.path}")
    (begin,) = offsets(file.name, read(0, 8))
    return [list(read_section(file, section, schema)) for section in range(begin // 8 - 1)]


def read_pairs(dataset: Dataset, output: Output, size: int) -> list[Any]:
    """The slots and the records of a file, and what a pass makes of them."""
    file = PairFile(0, functools.partial(dataset.storage.read_range, output.path), f"{dataset.path}/{output.path}")
    slots = read_slots(file, 0, SLOTS, size, output.kind)
    made = (
        partition_edges([file], 0, 1)
        if output.kind == "pairs"
        else np.concatenate(repeated_lines([file], 0, 1, LinesConfig(documents=2)))
    )
    return [slots.bounds.tolist(), read_records(file, slots), made.tolist()]


def read_shard(dataset: Dataset, output: Output) -> Any:
    """The rows by every way to read a shard; of the inputs of other programs, by their reader."""
    table = dataset.table(output)
    assert table.equals(type(table).from_batches(dataset.batches(output.path, 7), dataset.schema(output)))
    read: list[Any] = [table, dataset.footer(output).metadata]
    if output.kind == "documents":
        read.append([text.to_pylist() for text in read_texts([Path(dataset.path, output.path)])])
    if output.kind == "tokens":
        stream = open_stream(Path(dataset.path), Path(dataset.path, "cache"), 0.3)
        read.append((stream.train_N.tolist(), stream.held_out_N.tolist(), stream.tokenizer_hash))
    return read


def read_edge_file(dataset: Dataset, output: Output) -> list[Any]:
    with dataset.storage.open(output.path) as stream:
        return [portion.tolist() for portion in read_edges(stream)]


def read_decided(dataset: Dataset, output: Output) -> list[Any]:
    done = open_deduplication(dataset.path.removesuffix("/_dedup/decisions"))
    return [read_parts(dataset, output, DECISIONS), list(read_decisions(done, output))]


def read_file(dataset: Dataset, output: Output, place: Path) -> Any:
    """What a committed file holds, by the function that reads this kind of file."""
    path = Path(dataset.path, output.path)
    if path.suffix == ".parquet":
        return read_shard(dataset, output)
    readers: dict[str, Reader] = {
        "pairs": lambda: read_pairs(dataset, output, 12),
        "hashes": lambda: read_pairs(dataset, output, 16),
        "repeated": lambda: [[part.tolist() for part in parts] for parts in _repeated(dataset)],
        "table": lambda: [part.tolist() for part in open_repeated(path)],
        "edges": lambda: read_edge_file(dataset, output),
        "blocks": lambda: read_parts(dataset, output, BLOCKS),
        "candidates": lambda: read_parts(dataset, output, candidates_schema(open_deduplication(str(done)).config)),
        "decisions": lambda: read_decided(dataset, output),
        "index": lambda: benchmarks.load_index.__wrapped__(str(path))[0].examples.to_pylist(),
        "ignored": lambda: [part.tolist() for part in apply._ignored.__wrapped__(str(index_file(place)), str(path))],
        "contamination": lambda: dataset.content(output),
        "cutoff": lambda: read_cutoff(dataset),
        "groups": lambda: sizes_of(dataset),
    }
    done = Path(dataset.path).parents[1]
    return readers[output.kind]()


def index_file(place: Path) -> Path:
    dataset = Dataset(place / "clean/_decontaminate/benchmarks")
    return Path(dataset.path, dataset.files("index")[0].path)


def committed_files(place: Path) -> Iterator[tuple[Path, Reader]]:
    """Every committed file below a folder, and a function that reads it."""
    for dataset in datasets_below(str(place)):
        for record in dataset.records():
            for output in record.outputs:
                yield Path(dataset.path, output.path), functools.partial(read_file, dataset, output, place)
            unit = record.unit
            yield Path(dataset.path, "_units", f"{unit}.json"), lambda dataset=dataset, unit=unit: dataset.record(unit)
            configuration = functools.partial(dataset.configuration, record.config)
            yield Path(dataset.path, "_config", f"{record.config[:12]}.json"), configuration
        manifest = Path(dataset.path, "_manifest.parquet")
        if manifest.is_file():
            yield manifest, dataset.records
    for record_file in sorted((place / "new/_units").iterdir()):
        yield record_file, lambda: [str(file) for file in files_of(place / "new")]
    for file in sorted((place / "tokenizer").iterdir()):
        yield file, lambda: load_vocabulary(place / "tokenizer").hash
    yield place / "model.bin", lambda: load_model.__wrapped__(str(place / "model.bin")).labels
    listed = place / "unique/_dedup/index.json"
    yield listed, lambda: list(PublishedIndex(str(place / "index"), str(listed)).records())


def few(bits: int, chance: random.Random) -> list[int]:
    """FEW multiples of EVERY below `bits`, one in each of as many equal ranges, and the last two bytes."""
    count = bits // EVERY
    edges = [number * count // FEW for number in range(FEW + 1)]
    drawn = {EVERY * chance.randrange(start, end) for start, end in itertools.pairwise(edges) if start < end}
    return [*sorted(drawn), *range(bits - 16, bits, 5)]


def silent_flips(path: Path, read: Reader, bits: list[int]) -> list[str]:
    """The flips of these bits that changed what is read, without an error in one line that names the file."""
    expected, data, silent = read(), path.read_bytes(), []
    try:
        for bit in bits:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try:
                if read() != expected:
                    silent.append(f"{path}, bit {bit}: is read as other data")
            except (ValueError, OSError) as error:
                names = (path.name, f"{path.parent}/") if path.parent.name == "tokenizer" else (path.name,)
                if not any(name in str(error) for name in names) or "\n" in str(error):
                    silent.append(f"{path}, bit {bit}: {error!r}")
    finally:
        path.write_bytes(data)
    return silent


def test_some_flips_of_every_committed_file(place: Path) -> None:
    chance, silent, kinds = random.Random(17), [], set()
    for path, read in committed_files(place):
        kinds.add((path.parent.name, path.suffix))
        silent += silent_flips(path, read, few(8 * path.stat().st_size, chance))
    assert silent == []
    assert len(kinds) > 15
    assert [problem for dataset in datasets_below(str(place)) for problem in verify(dataset).problems] == []


@pytest.mark.long
def test_every_97th_bit_of_every_committed_file(place: Path) -> None:
    silent = []
    for number, (path, read) in enumerate(committed_files(place)):
        silent += silent_flips(path, read, list(range(number % EVERY, 8 * path.stat().st_size, EVERY)))
    assert silent == []
