"""Which documents of a corpus are near-duplicates, exactly, and how good a set of kept documents is.

Input: texts. Output: all pairs of a high enough Jaccard similarity of their sets of word 5-grams of
`text.lower().split()`. (A text of fewer than five words has one n-gram, of all its words; an empty text has none.)
Nothing is estimated or filtered: an inverted index from n-grams to documents counts what every pair has in common
(ScanCount: Li, Lu, Lu, ICDE 2008). So a deduplicator that works by MinHash is judged by a method that shares neither
code nor idea with it. The one approximation: n-grams are compared by 64-bit hashes, and in 40 million different n-grams
there is one collision with probability 1 in 20,000.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

NGRAM = 5
PAIR = np.dtype([("i", np.int32), ("j", np.int32), ("jaccard", np.float64)])


def truth(texts: Sequence[str], threshold: float = 0.5) -> NDArray[Any]:
    """All pairs of texts at Jaccard >= threshold (above 0): PAIR[m], i < j, ascending."""
    values, offsets = ngram_sets(texts)
    _, ngram, documents = np.unique(values, return_inverse=True, return_counts=True)
    first = np.concatenate([[0], np.cumsum(documents)])
    left, right, jaccard = _pairs(ngram, offsets, first, threshold)
    pairs = np.empty(len(left), PAIR)
    pairs["i"], pairs["j"], pairs["jaccard"] = left, right, jaccard
    pairs.sort(order=("i", "j"))
    return pairs


def quality(kept: set[int], truth: NDArray[Any], documents: int) -> dict[str, float]:
    """How well `kept` (row numbers of `documents`) agrees with the truth.

    precision: the share of removed documents that have a kept one at Jaccard >= .75. leak.8 and leak.75: the share of
    the pairs at or above that similarity of which both documents were kept.
    """
    keep = np.zeros(documents, np.bool_)
    keep[list(kept)] = True
    twins = truth[truth["jaccard"] >= 0.75]
    covered = np.zeros(documents, np.bool_)
    covered[twins["i"][keep[twins["j"]]]] = True
    covered[twins["j"][keep[twins["i"]]]] = True
    measures = {"precision": float(covered[~keep].mean()) if not keep.all() else 1.0}
    for limit in (0.8, 0.75):
        pairs = truth[truth["jaccard"] >= limit]
        measures[f"leak{limit:.2g}".replace("0.", ".")] = float((keep[pairs["i"]] & keep[pairs["j"]]).mean())
    return measures


def recall(clusters: NDArray[Any], truth: NDArray[Any], limit: float = 0.8) -> float:
    """The share of the pairs at Jaccard >= limit that are in one cluster; `clusters` has a number a document."""
    pairs = truth[truth["jaccard"] >= limit]
    return float((clusters[pairs["i"]] == clusters[pairs["j"]]).mean())


def ngram_sets(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(hashes of the different n-grams, ascending within a text; offsets[n + 1])."""
    number_of: defaultdict[str, int] = defaultdict()
    number_of.default_factory = number_of.__len__
    words, ends = array("I"), [0]
    for text in texts:
        words.extend(map(number_of.__getitem__, text.lower().split()))
        ends.append(len(words))
    offsets = np.array(ends)
    hashes, counts = _ngrams(np.frombuffer(words, np.uint32) if words else np.zeros(0, np.uint32), offsets)
    for start, count in zip(ends, counts.tolist(), strict=False):
        hashes[start : start + count].sort()
    values, bounds = _distinct(hashes, offsets, counts)
    return values, bounds


@numba.njit
def _ngrams(words: Any, offsets: Any) -> tuple[Any, Any]:
    """(n-grams of each text where its words begin, how many)."""
    hashes = np.zeros(len(words), np.uint64)
    counts = np.zeros(len(offsets) - 1, np.int64)
    for text in range(len(counts)):
        start, stop = offsets[text], offsets[text + 1]
        width = min(NGRAM, stop - start)
        if width == 0:
            continue
        counts[text] = stop - start - width + 1
        for place in range(start, start + counts[text]):
            value = np.uint64(width)
            for word in words[place : place + width]:
                value = (value ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
                value ^= value >> np.uint64(29)
                value *= np.uint64(0xBF58476D1CE4E5B9)
                value ^= value >> np.uint64(32)
            hashes[place] = value
    return hashes, counts


@numba.njit
def _distinct(hashes: Any, offsets: Any, counts: Any) -> tuple[Any, Any]:
    """Each text's sorted hashes without repeats, one text after the other, and the offsets of the texts."""
    found = np.empty(counts.sum(), np.uint64)
    ends = np.zeros(len(offsets), np.int64)
    end = 0
    for text in range(len(counts)):
        start = offsets[text]
        for place in range(start, start + counts[text]):
            if place == start or hashes[place] != hashes[place - 1]:
                found[end] = hashes[place]
                end += 1
        ends[text + 1] = end
    return found[:end].copy(), ends


@numba.njit
def _pairs(ngram: Any, offsets: Any, first: Any, threshold: float) -> tuple[Any, Any, Any]:
    """Pairs of texts of which so large a share is in common; n-gram g's texts have room from first[g]."""
    texts = len(offsets) - 1
    until = first[:-1].copy()
    seen_in = np.empty(first[-1], np.int32)
    common, touched = np.zeros(texts, np.int32), np.empty(texts, np.int32)
    left, right, jaccard = np.empty(1024, np.int32), np.empty(1024, np.int32), np.empty(1024, np.float64)
    found = 0
    for text in range(texts):
        others = 0
        size = offsets[text + 1] - offsets[text]
        for place in range(offsets[text], offsets[text + 1]):
            one = ngram[place]
            if first[one + 1] - first[one] == 1:  # most n-grams, which nobody shares
                continue
            for other in seen_in[first[one] : until[one]]:
                if common[other] == 0:
                    touched[others] = other
                    others += 1
                common[other] += 1
            seen_in[until[one]] = text
            until[one] += 1
        for other in touched[:others]:
            union = size + offsets[other + 1] - offsets[other] - common[other]
            similarity = common[other] / union
            common[other] = 0
            if similarity < threshold:
                continue
            if found == len(left):
                left = np.concatenate((left, np.empty_like(left)))
                right = np.concatenate((right, np.empty_like(right)))
                jaccard = np.concatenate((jaccard, np.empty_like(jaccard)))
            left[found], right[found], jaccard[found] = other, text, similarity
            found += 1
    return left[:found], right[:found], jaccard[:found]
