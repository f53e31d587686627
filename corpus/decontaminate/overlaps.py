"""DOCUMENTS -> OVERLAPS, a row for each document: the n-grams of benchmarks that it has.

`ngrams` are their numbers in the index, in order, each once. An n-gram is found by its hash, and then confirmed by
comparing its words with those of an example that has it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.texts import from_arrow
from corpus.decontaminate.benchmarks import BenchmarkIndex, load_index, ngram_words
from corpus.decontaminate.config import Search
from corpus.decontaminate.kernels import contain
from corpus.decontaminate.words import Word, split_words, word_table
from corpus.schema import Outcome, dropped_rows
from corpus.stage import Stage
from corpus.text.words import scratch_for

NAME = "overlaps"
OVERLAPS = pa.schema([("id", pa.string()), ("ngrams", pa.list_(pa.int64()))])


def schema(config: Search) -> pa.Schema:
    """OVERLAPS."""
    return OVERLAPS


def process(batch: pa.RecordBatch, config: Search) -> Outcome:
    """OVERLAPS of a batch; no document is dropped."""
    index, table = load_index(config.index)
    texts = batch.column("text")
    ngrams: list[list[int]] = [[] for _ in range(batch.num_rows)]
    rows, matches = _by_text(find(texts, index, table, config.settings.ngram))
    for row, match in zip(rows, matches, strict=True):
        words = split_words(texts[row].as_py())
        ngrams[row] = sorted({number for at, number in match if same(words, at, index, number, config.settings.ngram)})
    column = pa.array(ngrams, OVERLAPS.field("ngrams").type)
    kept = pa.record_batch([batch.column("id").cast(pa.string()), column], schema=OVERLAPS)
    return Outcome(kept, dropped_rows(batch, NAME, {}))


def find(texts: pa.Array, index: BenchmarkIndex, table: contain.HashTable, ngram: int) -> NDArray[np.int64]:
    """The n-grams of texts whose hash is in the index: int64[m, 3], (text, number of its first word, its number in the
    index), in order.
    """
    utf8 = from_arrow(texts)
    scratch = scratch_for(utf8)
    matches = np.empty((utf8.size // 2 + 1, 3), np.int64)  # rows that are not written take no memory
    hashes = np.empty(len(scratch.words), np.uint64)
    return matches[: contain.find(utf8, word_table(), ngram, scratch, hashes, table, matches)]


def same(words: list[Word], at: int, index: BenchmarkIndex, number: int, ngram: int) -> bool:
    """Whether words[at:] begin with the words of n-gram `number`."""
    return tuple(word.text for word in words[at : at + ngram]) == ngram_words(index, number, ngram)


def _by_text(matches: NDArray[np.int64]) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """(texts with matches, for each of them its matches as (first word, n-gram))."""
    rows, first = np.unique(matches[:, 0], return_index=True)
    parts = np.split(matches[:, 1:], first[1:]) if len(rows) else []
    return rows.tolist(), [[(at, number) for at, number in part.tolist()] for part in parts]


STAGE = Stage(NAME, Search, process, schema=schema)
