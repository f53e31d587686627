"""A fastText classifier -> the same classifier with all that is linear in it multiplied out.

fastText adds up the vector of every word and pair of words, divides by how many there are, and multiplies by a matrix
with a row a label. Multiplied first, each vector of a hundred numbers is one number a label, the table of them fits
into a cache, and a text is a walk over its words. Answers are fastText's but for the rounding of 32-bit sums.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.texts import from_arrow

_ROUNDS = 1 << 18  # rows of weights multiplied at a time
_FLOOR = 1e-5  # that fastText adds to every probability before it takes a logarithm
_SOFTMAX = "softmax"


class Linear(NamedTuple):
    """The model, multiplied out."""

    labels: tuple[str, ...]
    words: NDArray[np.uint8]  # laid end to end
    bounds: NDArray[np.int64]
    places: NDArray[np.int32]  # where the table of words has each
    weights: NDArray[np.float32]  # [words + buckets, labels]
    ngrams: int
    buckets: int


def multiply_out(model: Any) -> Linear | None:
    """None for a model of which this cannot be said: quantized, with parts of words, or another loss than softmax."""
    args = model.getArgs()
    if model.isQuant() or args.maxn > 0 or args.loss.name != _SOFTMAX:
        return None
    from corpus.classifier.kernels.linear import NOTHING, fill

    names = [name.encode() for name in model.getVocab("strict")[0]]
    bounds = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) for name in names], out=bounds[1:])
    words = np.frombuffer(b"".join(names), np.uint8)
    places = np.full(1 << max(4, (2 * len(names)).bit_length()), NOTHING, np.int32)
    fill(words, bounds, places)
    vectors, output = np.asarray(model.getInputMatrix()), np.asarray(model.getOutputMatrix())
    weights = np.empty((len(vectors), len(output)), np.float32)
    for start in range(0, len(vectors), _ROUNDS):
        weights[start : start + _ROUNDS] = vectors[start : start + _ROUNDS].astype(np.float64) @ output.T
    ngrams = args.wordNgrams if len(vectors) > len(names) else 1
    return Linear(
        tuple(model.getLabels("strict")[0]), words, bounds, places, weights, ngrams, max(1, len(vectors) - len(names))
    )


def probabilities(texts: pa.Array, linear: Linear) -> NDArray[np.float64]:
    """[texts, labels], as fastText's `predict` has them; zeros where a text has nothing that the model knows."""
    from corpus.classifier.kernels.linear import add_up, softmax

    data, offsets = from_arrow(texts)
    longest = int(np.diff(offsets).max(initial=0))
    sums, counts = np.zeros((len(texts), len(linear.labels))), np.zeros(len(texts), np.int64)
    table = (linear.words, linear.bounds, linear.places, linear.ngrams, linear.buckets, linear.weights)
    room = longest // 2 + 2
    add_up(data, offsets, *table, np.empty(room, np.uint64), np.empty((room, 2), np.int64), sums, counts)
    softmax(sums, counts, _FLOOR)
    return sums
