"""A fastText classifier -> one weight for each word and label: its two matrices multiplied.

fastText adds up the vectors of all words and n-grams of a text, divides by their number, and multiplies by a matrix
with a row for each label. Multiplied beforehand, a vector of a hundred numbers becomes one number for each label. The
table of these numbers fits into a cache, and a text is scored by adding up the numbers of its words. Answers are
fastText's but for the rounding of its 32-bit sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.texts import from_arrow

if TYPE_CHECKING:
    from corpus.classifier.kernels.linear import Table

_ROWS = 1 << 18  # rows of weights that are multiplied at a time
_FLOOR = 1e-5  # fastText adds it to every probability before it takes a logarithm
_SOFTMAX = "softmax"


class Linear(NamedTuple):
    """A classifier multiplied out.

    labels   its labels, in fastText's order
    table    its words and weights, as the kernel reads them
    """

    labels: tuple[str, ...]
    table: Table


def multiply_out(model: Any) -> Linear | None:
    """The model of fastText's binding multiplied out; None if it is quantized, has subwords or no softmax."""
    args = model.getArgs()
    if model.isQuant() or args.maxn > 0 or args.loss.name != _SOFTMAX:
        return None
    from corpus.classifier.kernels.linear import NOTHING, Table, fill

    names = [name.encode() for name in model.getVocab("strict")[0]]
    bounds = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) for name in names], out=bounds[1:])
    words = np.frombuffer(b"".join(names), np.uint8)
    places = np.full(1 << max(4, (2 * len(names)).bit_length()), NOTHING, np.int32)
    fill(words, bounds, places)
    vectors, output = np.asarray(model.getInputMatrix()), np.asarray(model.getOutputMatrix())
    weights = np.empty((len(vectors), len(output)), np.float32)
    for start in range(0, len(vectors), _ROWS):
        weights[start : start + _ROWS] = vectors[start : start + _ROWS].astype(np.float64) @ output.T
    ngrams = args.wordNgrams if len(vectors) > len(names) else 1
    table = Table(words, bounds, places, weights, ngrams, max(1, len(vectors) - len(names)))
    return Linear(tuple(model.getLabels("strict")[0]), table)


def probabilities(texts: pa.Array, linear: Linear) -> NDArray[np.float64]:
    """float64[texts, labels], as fastText's `predict` answers; zeros for a text without a word that the model knows."""
    from corpus.classifier.kernels.linear import Scratch, add_up, softmax

    data, offsets = from_arrow(texts)
    longest = int(np.diff(offsets).max(initial=0))
    sums, counts = np.zeros((len(texts), len(linear.labels))), np.zeros(len(texts), np.int64)
    room = longest // 2 + 2
    scratch = Scratch(np.empty(room, np.uint64), np.empty((room, 2), np.int64))
    add_up(data, offsets, linear.table, scratch, sums, counts)
    softmax(sums, counts, _FLOOR)
    return sums
