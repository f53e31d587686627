"""The step that drops documents which hold examples of benchmarks, or cuts the examples out of them.

In: DOCUMENTS and, row by row, the column of OVERLAPS as `overlap_ngrams`. Out: the documents that hold no example, and
with `action = "cut"` also the documents of which enough is left, with the number of cuts in `contaminated_cuts`. A
dropped document names the example of which it holds the largest share, as BENCHMARK:EXAMPLE, and its n-grams of that.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.decontaminate.benchmarks import BenchmarkIndex, load_index
from corpus.decontaminate.config import Config, Removal
from corpus.decontaminate.decide import Hit, hits, sizes
from corpus.decontaminate.overlaps import find, same
from corpus.decontaminate.words import split_words
from corpus.schema import Drop, Outcome, outcome, replace_column
from corpus.stage import Labels, Stage
from corpus.store.files import check_name

NAME = "decontaminate"
PREFIX = "overlap_"
CUTS = "contaminated_cuts"
_BETWEEN = "\n\n"  # joins the pieces that are left


def columns(config: Removal) -> list[pa.Field]:
    """The columns that are added to DOCUMENTS."""
    return [pa.field(CUTS, pa.int32())] if config.settings.action == "cut" else []


def labels(config: Removal) -> list[str]:
    """The columns of OVERLAPS that this step reads and removes."""
    return ["ngrams"]


def process(batch: pa.RecordBatch, config: Removal) -> Outcome:
    """Drop the documents that hold an example, or cut the example out."""
    index, _ = load_index(config.index)
    ignored, size = _ignored(config.index, config.ignored)
    overlaps = batch.column(f"{PREFIX}ngrams").to_pylist()
    batch = batch.drop_columns([f"{PREFIX}ngrams"])
    drops: dict[int, Drop] = {}
    texts, cuts = {}, np.zeros(batch.num_rows, np.int32)
    for row, ngrams in enumerate(overlaps):
        if not ngrams or not (examples := hits(ngrams, index, ignored, size, config.settings)):
            continue
        if config.settings.action == "drop":
            drops[row] = _drop(index, examples[0], config.settings)
            continue
        text = batch.column("text")[row].as_py()
        pieces, cuts[row] = _pieces(text, examples, config, ignored)
        if not pieces:
            drops[row] = Drop(f"{NAME}.nothing_left", _name(index, examples[0]), config.settings.min_piece)
        elif len(pieces) > config.settings.max_pieces:
            drops[row] = Drop(f"{NAME}.pieces", len(pieces), config.settings.max_pieces)
        else:
            texts[row] = _BETWEEN.join(pieces)
    if texts:
        values = [texts.get(row, text) for row, text in enumerate(batch.column("text").to_pylist())]
        batch = replace_column(batch, "text", pa.array(values, batch.schema.field("text").type))
    if columns(config):
        batch = replace_column(batch, CUTS, pa.array(cuts))
    return outcome(batch, NAME, drops)


def _drop(index: BenchmarkIndex, hit: Hit, settings: Config) -> Drop:
    threshold = f"{settings.min_overlap:g} or {settings.min_ngrams}"
    return Drop(f"{NAME}.overlap", f"{_name(index, hit)} {hit.ngrams}/{hit.of}", threshold)


def _name(index: BenchmarkIndex, hit: Hit) -> str:
    row = index.examples.slice(hit.example, 1).to_pylist()[0]
    return f"{row['benchmark']}:{row['example']}"


def _pieces(text: str, hits: Sequence[Hit], config: Removal, ignored: NDArray[np.bool_]) -> tuple[list[str], int]:
    """(the pieces that are left of a text when the n-grams of these examples are cut out, the number of cuts)."""
    index, table = load_index(config.index)
    settings, words = config.settings, split_words(text)
    examples = {hit.example for hit in hits}
    spans: list[list[int]] = []
    for _, at, number in find(pa.array([text], pa.large_string()), index, table, settings.ngram).tolist():
        owners = index.owners[index.ends[number] : index.ends[number + 1]].tolist()
        if ignored[number] or examples.isdisjoint(owners) or not same(words, at, index, number, settings.ngram):
            continue
        start = max(0, words[at].start - settings.window)
        end = min(len(text), words[at + settings.ngram - 1].end + settings.window)
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    bounds = [0, *(bound for span in spans for bound in span), len(text)]
    pieces = [text[start:end].strip() for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
    return [piece for piece in pieces if piece and len(piece) >= settings.min_piece], len(spans)


@functools.lru_cache(1)
def _ignored(index: str, path: str) -> tuple[Any, Any]:
    """(for each n-gram, whether it is ignored; for each example, how many of its n-grams are not)."""
    check_name(path)
    loaded, _ = load_index(index)
    ignored = np.frombuffer(Path(path).read_bytes(), np.uint8).astype(bool)
    if len(ignored) != len(loaded.hashes):
        raise ValueError(f"{path}: not of this index; remove its folder to make it again")
    return ignored, sizes(loaded, ignored)


STAGE = Stage(NAME, Removal, process, columns=columns, labels=Labels(PREFIX, labels))
