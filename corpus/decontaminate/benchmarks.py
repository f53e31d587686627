"""Benchmark files -> a table of their examples, and an index of the word n-grams by which examples are found.

An example is a line of JSON, a row of Parquet or a line of text. The text of a record is all its fields that hold text
or lists of texts, a line each. A benchmark is named after its file, a regular file of at most 4 GiB of text.

An n-gram counts unless too many examples have it. The index has, for every n-gram that counts, its hash, where its
words are (an example, and the first word there), and which examples have it. Documents are searched by the 64-bit
hashes; a hash that is found is confirmed by comparing the words.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.checksums import open_parquet
from bpe.sources import JSON_ENDINGS, files_of
from bpe.texts import from_arrow
from bpe.whole import unreadable
from corpus.decontaminate.config import Config
from corpus.decontaminate.kernels import contain
from corpus.decontaminate.words import split_words, word_table
from corpus.store.files import Bounded, check_name
from corpus.text.words import scratch_for

EXAMPLES = pa.schema([("benchmark", pa.string()), ("example", pa.int64()), ("text", pa.string())])
_BATCH = 4096
_MOST_BYTES = 4 << 30  # of a file, unpacked
_PACKED = (".gz", ".zst", ".bz2", ".lz4")
_MOST_LINES = 1 << 24
_LONGEST = 16 << 20  # characters of a line
_BITS = 16  # of the filter, for each n-gram: one in 16 n-grams that are not in the table passes the filter


class BenchmarkIndex(NamedTuple):
    """The n-grams that count, numbered in the order of their hashes, and the examples that have them.

    examples  EXAMPLES
    hashes    uint64[n]: the hash of each n-gram
    places    int64[n, 2]: an example that has the n-gram, and the number of its first word there
    ends      int64[n + 1]: n-gram i is in the examples owners[ends[i]:ends[i + 1]]
    owners    int64[...]: numbers of examples
    sizes     int64[examples]: how many n-grams of each example count
    ignored   number of n-grams that do not count, because too many examples have them
    short     number of examples with too few words for an n-gram
    """

    examples: pa.Table
    hashes: NDArray[np.uint64]
    places: NDArray[np.int64]
    ends: NDArray[np.int64]
    owners: NDArray[np.int64]
    sizes: NDArray[np.int64]
    ignored: int
    short: int


def read_examples(sources: Sequence[str], fields: Sequence[str]) -> pa.Table:
    """EXAMPLES of all files, in order. `example` is the number of the line or row, from 1.

    Raises FileNotFoundError naming a file that is missing, ValueError naming a file (and line) that is damaged or has
    none of these fields.
    """
    batches = []
    names: dict[str, Path] = {}
    for file in (file for source in sources for file in files_of(Path(source))):
        name = file.name.split(".")[0]
        if name in names:
            raise ValueError(f"{file}: has the name of {names[name]}; name each benchmark once, or rename the file")
        names[name] = file
        if fault := unreadable(file, _MOST_BYTES):
            raise ValueError(f"{file}: {fault}")
        rows = [{"benchmark": name, "example": number, "text": text} for number, text in _examples(file, fields)]
        batches += pa.Table.from_pylist(rows, schema=EXAMPLES).to_batches()
    return pa.Table.from_batches(batches, EXAMPLES).combine_chunks()


def _examples(file: Path, fields: Sequence[str]) -> Iterator[tuple[int, str]]:
    for number, record in enumerate(_records(file), 1):
        if isinstance(record, str):
            text = record
        else:
            if missing := next((field for field in fields if field not in record), None):
                raise ValueError(f"{file}, example {number}: no field {missing!r}, only {', '.join(record)}")
            text = "\n".join(_strings([record[field] for field in fields] if fields else record))
        if text.strip():
            yield number, text


def _records(file: Path) -> Iterator[str | dict[str, Any]]:
    if file.name.endswith(".parquet"):
        size = 0
        with file.open("rb") as stream:
            try:
                for batch in open_parquet(stream).iter_batches(_BATCH, use_threads=False):
                    size += batch.nbytes
                    if size > _MOST_BYTES:
                        raise ValueError(f"{file}: holds over {_MOST_BYTES >> 20:,} MiB; give a smaller file")
                    yield from batch.to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
        return
    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            packed = file.stat().st_size if file.name.endswith(_PACKED) else 0
            bounded = io.BufferedReader(Bounded(stream, str(file), packed, _MOST_BYTES))
            lines = io.TextIOWrapper(bounded, encoding="utf-8", errors="replace", newline="\n")
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST + 1), ""), 1):
                if number > _MOST_LINES:
                    raise ValueError(f"{file}: over {_MOST_LINES:,} lines; give a smaller file")
                if len(line) > _LONGEST:
                    raise ValueError(f"{file}, line {number}: over {_LONGEST:,} characters; give an example a line")
                yield _parsed(file, number, line) if file.name.endswith(JSON_ENDINGS) else line
    except OSError as error:
        raise ValueError(f"{file}: damaged compressed data ({error}); copy or make it again") from None


def _parsed(file: Path, number: int, line: str) -> str | dict[str, Any]:
    if not line.strip():
        return ""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}, line {number}: not JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{file}, line {number}: nested too deeply; each line should be a JSON object") from None
    if not isinstance(record, dict):
        raise ValueError(f"{file}, line {number}: not a JSON object")
    return record


def _strings(value: Any) -> Iterator[str]:
    """All texts in a value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def make_index(examples: pa.Table, config: Config) -> BenchmarkIndex:
    """The index of EXAMPLES. Raises ValueError if no example has enough words for an n-gram."""
    hashes, starts = ngram_hashes(examples.column("text").combine_chunks(), config.ngram)
    counts = np.diff(starts)
    example = np.repeat(np.arange(len(counts)), counts)
    word = np.arange(len(hashes)) - np.repeat(starts[:-1], counts)
    order = np.lexsort((word, example, hashes))
    hashes, example, word = hashes[order], example[order], word[order]
    is_first = np.ones(len(hashes), bool)  # whether it is the first place of the n-gram in the example
    is_first[1:] = (hashes[1:] != hashes[:-1]) | (example[1:] != example[:-1])
    hashes, example, word = hashes[is_first], example[is_first], word[is_first]
    unique, first, owners = np.unique(hashes, return_index=True, return_counts=True)
    counted = owners <= config.max_examples if config.max_examples else np.ones(len(unique), bool)
    if not len(unique):
        raise ValueError(f"{', '.join(config.benchmarks)}: no example of {config.ngram} words or more; lower ngram")
    kept = np.repeat(counted, owners)
    return BenchmarkIndex(
        examples,
        unique[counted],
        np.stack([example[first], word[first]], axis=1)[counted],
        np.concatenate([[0], np.cumsum(owners[counted])]).astype(np.int64),
        example[kept],
        np.bincount(example[kept], minlength=len(counts)).astype(np.int64),
        int((~counted).sum()),
        int((counts == 0).sum()),
    )


def ngram_hashes(texts: pa.Array, ngram: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """64-bit hashes of each text's n-grams in order: (hashes uint64[...], offsets int64[n + 1])."""
    utf8 = from_arrow(texts)
    count = len(utf8.offsets)
    hashes, ends = np.empty(utf8.size // 2 + count, np.uint64), np.zeros(count, np.int64)
    contain.rolling_hashes(utf8, word_table(), ngram, scratch_for(utf8), hashes, ends)
    return hashes[: ends[-1]], ends


def hash_table(index: BenchmarkIndex) -> contain.HashTable:
    """The hashes of an index as the kernel looks them up. At least half of the places are empty."""
    places = 1 << max(4, (2 * len(index.hashes) - 1).bit_length())
    bits = np.zeros(places * _BITS // 128, np.uint64)
    table = contain.HashTable(np.zeros(places, np.uint64), np.zeros(places, np.int64), bits)
    contain.fill(index.hashes, table)
    return table


def save_index(index: BenchmarkIndex, path: Path) -> None:
    """Write an index as one file."""
    with pa.OSFile(str(path), "wb") as file:
        arrays = [index.hashes, index.places.ravel(), index.ends, index.owners, index.sizes]
        schema = pa.schema([("data", pa.large_binary())])
        counts = {"ignored": str(index.ignored), "short": str(index.short)}
        parts = pa.table({"data": pa.array([array.tobytes() for array in arrays], pa.large_binary())})
        for table in (parts.cast(schema).replace_schema_metadata(counts), index.examples):
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)


@functools.lru_cache(maxsize=1)
def load_index(path: str) -> tuple[BenchmarkIndex, contain.HashTable]:
    """(the index of a file of `save_index`, its hash table). Raises ValueError naming a file that is damaged."""
    check_name(path)
    try:
        with pa.OSFile(path) as file:
            parts = pa.ipc.open_stream(file).read_all()
            examples = pa.ipc.open_stream(file).read_all()
        counts = parts.schema.metadata
        arrays = [np.frombuffer(data.as_buffer(), "<i8") for data in parts.column("data")]
        hashes, places, ends, owners, sizes = arrays
        index = BenchmarkIndex(
            examples,
            hashes.view(np.uint64),
            places.reshape(-1, 2),
            ends,
            owners,
            sizes,
            int(counts[b"ignored"]),
            int(counts[b"short"]),
        )
    except (pa.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: not an index of benchmarks ({error}); remove its folder to make it again") from None
    return index, hash_table(index)


def ngram_words(index: BenchmarkIndex, number: int, ngram: int) -> tuple[str, ...]:
    """The words of an n-gram."""
    example, word = index.places[number].tolist()
    return _example_words(index.examples.column("text")[example].as_py())[word : word + ngram]


@functools.lru_cache(maxsize=1024)
def _example_words(text: str) -> tuple[str, ...]:
    return tuple(word.text for word in split_words(text))
