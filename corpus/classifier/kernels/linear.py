"""Texts -> the sums of a fastText classifier's weights over their words and word n-grams, for each label.

A word ends at ASCII white space or a zero byte. Its hash is FNV-1a with 32 bits, over bytes read as signed numbers; the
hash of an n-gram is a polynomial of the hashes of its words (fastText's Dictionary::hash and addWordNgrams).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import int8, int32, int64, uint32, uint64

from corpus.classifier.kernels import kernel

NOTHING = np.int32(-1)
_NGRAM_MULTIPLIER = np.uint64(116049371)
_LABEL = np.frombuffer(b"__label__", np.uint8)
_END = np.frombuffer(b"</s>", np.uint8)
_END_HASH = np.uint32(3617362777)  # FNV-1a of _END


class Table(NamedTuple):
    """The words of a model and their weights.

    words    uint8: the words, laid end to end
    bounds   int64[words + 1]: word i is words[bounds[i] : bounds[i + 1]]
    places   int32[2^n]: a hash table with the number of a word at its place, or NOTHING
    weights  float32[words + buckets, labels]: a row for each word, then one for each bucket of n-grams
    ngrams   the most words of an n-gram
    buckets  into how many rows n-grams are hashed
    """

    words: Any
    bounds: Any
    places: Any
    weights: Any
    ngrams: int
    buckets: int


class Scratch(NamedTuple):
    """Room for the words of the longest text and its end: hashes uint64[room], spans int64[room, 2]."""

    hashes: Any
    spans: Any


@kernel
def _is_blank(byte: Any) -> Any:
    return byte <= 32 and (byte == 32 or 9 <= byte <= 13 or byte == 0)


@kernel
def _hashed(h: Any, byte: Any) -> Any:
    return uint32(uint32(h ^ uint32(int32(int8(byte)))) * uint32(16777619))


@kernel
def _hash(data: Any, start: Any, end: Any) -> Any:
    h = uint32(2166136261)
    for i in range(start, end):
        h = _hashed(h, data[i])
    return h


@kernel
def _begins_with(data: Any, start: Any, end: Any, what: Any) -> Any:
    if end - start < what.size:
        return False
    i: Any = 0
    while i < what.size and data[start + i] == what[i]:
        i += 1
    return i == what.size


@kernel
def _find(data: Any, start: Any, end: Any, h: Any, table: Any) -> Any:
    """The number of the word data[start:end] with the hash h; NOTHING if the model does not have it."""
    words, bounds, places = table.words, table.bounds, table.places
    mask = int64(places.size - 1)
    at = int64(h) & mask
    while places[at] != NOTHING:
        number = places[at]
        first = bounds[number]
        if bounds[number + 1] - first == end - start:
            i: Any = 0
            while i < end - start and words[first + i] == data[start + i]:
                i += 1
            if i == end - start:
                return number
        at = (at + 1) & mask
    return NOTHING


@kernel
def fill(words: Any, bounds: Any, places: Any) -> None:
    """Put the number of each word into the hash table `places`, which is full of NOTHING. The arrays are Table's."""
    mask = int64(places.size - 1)
    for number in range(bounds.size - 1):
        at = int64(_hash(words, bounds[number], bounds[number + 1])) & mask
        while places[at] != NOTHING:
            at = (at + 1) & mask
        places[at] = number


@kernel
def _split(data: Any, at: Any, stop: Any, hashes: Any, spans: Any) -> Any:
    """Write hash and span of each word of the text data[at:stop] and of its end, a word too; returns their number."""
    n = int64(0)
    while True:
        while at < stop and _is_blank(data[at]):
            at += 1
        if at == stop:
            break
        start, h = at, uint32(2166136261)
        while at < stop and not _is_blank(data[at]):
            h = _hashed(h, data[at])
            at += 1
        if data[start] == 95 and _begins_with(data, start, at, _LABEL):
            continue
        hashes[n] = _signed(h)
        spans[n, 0], spans[n, 1] = start, at
        n += 1
        if at - start == _END.size and _begins_with(data, start, at, _END):
            return n  # fastText takes this word for the end of the line
    hashes[n] = _signed(_END_HASH)
    spans[n, 0], spans[n, 1] = -1, 0
    return n + 1


@kernel
def _signed(h: Any) -> Any:
    return uint64(int64(int32(h)))


@kernel
def add_up(data: Any, offsets: Any, table: Any, scratch: Any, sums: Any, counts: Any) -> None:
    """Add up the weights of all words and n-grams of each text.

    data     uint8: the texts; text i is data[offsets[i] : offsets[i + 1]]
    table    a Table; scratch a Scratch
    sums     float64[texts, labels] of zeros: gets the sums
    counts   int64[texts]: gets how many words and n-grams were added up

    Words and n-grams are in two loops, because many loads from memory can wait at once in a short loop.
    """
    weights, hashes, spans = table.weights, scratch.hashes, scratch.spans
    labels, known = weights.shape[1], table.bounds.size - 1
    end_number = _find(_END, 0, _END.size, _END_HASH, table)
    for text in range(offsets.size - 1):
        n = _split(data, offsets[text], offsets[text + 1], hashes, spans)
        added = int64(0)
        for i in range(n):
            start, end = spans[i, 0], spans[i, 1]
            number = end_number
            if start >= 0:
                number = _find(data, start, end, uint32(hashes[i]), table)
            if number != NOTHING:
                added += 1
                for label in range(labels):
                    sums[text, label] += weights[number, label]
        for i in range(n):
            gram = hashes[i]
            for j in range(i + 1, min(n, i + table.ngrams)):
                gram = gram * _NGRAM_MULTIPLIER + hashes[j]
                row = known + int64(gram % uint64(table.buckets))
                for label in range(labels):
                    sums[text, label] += weights[row, label]
                added += 1
        counts[text] = added


@kernel
def softmax(sums: Any, counts: Any, floor: float) -> None:
    """Turn sums into the probabilities of their means, each with `floor` added; a text without counts keeps its zeros.

    This is not done in NumPy, where the rounding of a row may depend on its place in the array.
    """
    for text in range(sums.shape[0]):
        if counts[text] == 0:
            continue
        largest, total = -np.inf, 0.0
        for label in range(sums.shape[1]):
            sums[text, label] /= counts[text]
            largest = max(largest, sums[text, label])
        for label in range(sums.shape[1]):
            sums[text, label] = math.exp(sums[text, label] - largest)
            total += sums[text, label]
        for label in range(sums.shape[1]):
            sums[text, label] = sums[text, label] / total + floor
