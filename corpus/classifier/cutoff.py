"""Scores -> the documents that reach a threshold; and the threshold that a given share of all documents reaches.

`find_cutoff` finds the score above which the share lies by a radix select in four passes over the scores: each pass
counts the scores by their next 16 bits. The result is exact, does not depend on the order of shards, and needs memory
for 65,536 counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.classifier.config import NAME
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Rule

_DIGIT = 16  # bits of a score that one pass looks at


def score_rule(setting: str) -> Rule:
    """The one rule of the classifier; `setting` holds its threshold."""
    measures = "score by the classifier: the probability of the label, or the grade of a model with grades"
    return Rule("score", measures, "below", setting, "DCLM, arXiv 2406.11794; FineWeb-Edu, arXiv 2406.17557")


def drop_below(batch: pa.RecordBatch, scores: pa.Array, threshold: float) -> Outcome:
    """Drop the rows whose score is below the threshold."""
    rows = enumerate(scores.to_pylist())
    drops = {row: Drop(f"{NAME}.score", score, threshold) for row, score in rows if score < threshold}
    return outcome(batch, NAME, drops)


def find_cutoff(histogram: Callable[[int, int], Any], documents: int, share: float) -> float:
    """The lowest score among the `share` of all documents that score highest.

    `histogram(shift, prefix)` counts the scores whose bits above `shift + 16` are `prefix`, by their next 16 bits. The
    bits of floats that are not negative, read as whole numbers, are in the order of the floats.
    """
    rank = max(1, int(share * documents + 0.5))  # of the cutoff, from the highest score
    prefix = 0
    for shift in (48, 32, 16, 0):
        counts = histogram(shift, prefix)
        above = np.cumsum(counts[::-1])
        place = int(np.searchsorted(above, rank))  # of the bits, from the highest
        rank -= int(above[place - 1]) if place else 0
        prefix = prefix << _DIGIT | (len(counts) - 1 - place)
    return float(np.uint64(prefix).view(np.float64))


def count_bits(scores: pa.Array, shift: int, prefix: int) -> NDArray[np.int64]:
    """int64[65536]: the counts that `find_cutoff` asks for, of some of the scores."""
    bits = scores.to_numpy(zero_copy_only=False).astype(np.float64).view(np.uint64)
    if shift < 48:
        bits = bits[bits >> np.uint64(shift + _DIGIT) == np.uint64(prefix)]
    return np.bincount((bits >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64), minlength=1 << _DIGIT)
