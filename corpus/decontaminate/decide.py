"""OVERLAPS of all documents -> which n-grams to ignore, which examples a document holds, and the report.

All counts are over all documents, so nothing depends on their order or on how they are cut into shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.decontaminate.benchmarks import BenchmarkIndex
from corpus.decontaminate.config import Config

_EXCERPT = 200  # characters of an example in the report
_WORST = 1000  # examples in the report


class Hit(NamedTuple):
    """An example that a document holds: `ngrams` of its `of` n-grams that count."""

    example: int
    ngrams: int
    of: int

    @property
    def overlap(self) -> float:
        return self.ngrams / self.of


def too_frequent(overlaps: Iterable[list[int]], index: BenchmarkIndex, config: Config) -> NDArray[np.bool_]:
    """Whether more than `max_documents` documents have an n-gram: bool[n-grams]."""
    documents = np.zeros(len(index.hashes), np.int64)
    for ngrams in overlaps:
        documents[ngrams] += 1
    return documents > config.max_documents if config.max_documents else np.zeros(len(documents), bool)


def sizes(index: BenchmarkIndex, ignored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many n-grams of each example count and are not `ignored`: int64[examples]."""
    without = index.owners[np.repeat(ignored, np.diff(index.ends))]
    return index.sizes - np.bincount(without, minlength=len(index.sizes))


def hits(
    ngrams: list[int], index: BenchmarkIndex, ignored: NDArray[np.bool_], size: NDArray[np.int64], config: Config
) -> list[Hit]:
    """The examples that a document with these n-grams holds, the largest share first."""
    counts: Counter[int] = Counter()
    for number in ngrams:
        if not ignored[number]:
            counts.update(index.owners[index.ends[number] : index.ends[number + 1]].tolist())
    shares = [Hit(example, count, int(size[example])) for example, count in counts.items()]
    held = [hit for hit in shares if hit.overlap >= config.min_overlap or hit.ngrams >= config.min_ngrams]
    return sorted(held, key=lambda hit: (-hit.overlap, -hit.ngrams, hit.example))


def report(
    overlaps: Iterable[list[int]], index: BenchmarkIndex, ignored: NDArray[np.bool_], config: Config
) -> dict[str, Any]:
    """Counts by benchmark and by example; the examples that most documents hold come first."""
    size = sizes(index, ignored)
    documents: Counter[int] = Counter()
    fullest: dict[int, float] = {}
    contaminated, of_benchmark = 0, Counter[str]()
    names = index.examples.column("benchmark").to_pylist()
    for ngrams in overlaps:
        held = hits(ngrams, index, ignored, size, config)
        contaminated += bool(held)
        of_benchmark.update({names[hit.example] for hit in held})
        for hit in held:
            documents[hit.example] += 1
            fullest[hit.example] = max(fullest.get(hit.example, 0.0), hit.overlap)
    hit_examples = Counter(names[example] for example in documents)
    total, usable = Counter(names), Counter(name for name, n in zip(names, size.tolist(), strict=True) if n)
    worst = sorted(documents, key=lambda example: (-documents[example], -fullest[example], example))
    return {
        "contaminated_documents": contaminated,
        "ngrams": len(index.hashes),
        "ignored_by_examples": index.ignored,
        "ignored_by_documents": int(ignored.sum()),
        "examples_too_short": index.short,
        "benchmarks": [
            {
                "benchmark": name,
                "examples": total[name],
                "looked_for": usable[name],
                "found": hit_examples[name],
                "documents": of_benchmark[name],
            }
            for name in sorted(total)
        ],
        "examples": [_example(index, example, documents[example], fullest[example]) for example in worst[:_WORST]],
        "more_examples": max(0, len(worst) - _WORST),
    }


def _example(index: BenchmarkIndex, example: int, documents: int, overlap: float) -> dict[str, Any]:
    row = index.examples.slice(example, 1).to_pylist()[0]
    return {
        "benchmark": row["benchmark"],
        "example": row["example"],
        "documents": documents,
        "overlap": overlap,
        "text": row["text"][:_EXCERPT],
    }
