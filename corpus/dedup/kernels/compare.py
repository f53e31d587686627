"""Which documents of a block stay: each compared with those before it that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from corpus.dedup.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER

MOST = 2**31 - 1  # keys of a block's documents, the hashes of their texts included: they are numbered in 32 bits
SAME = 2.0  # the value where two texts have the same hash: no similarity is that high


@kernel
def keep_first(order: Any, starts: Any, published: Any, hashes: Any, signatures: Any, rep: Any, value: Any) -> None:
    """Of each block the first document stays, and what is published; the others are its duplicates.

    See `keep_dissimilar`; `value` is the share of equal minima, the MinHash estimate of Jaccard similarity.
    """
    for block in range(starts.size - 1):
        first = order[starts[block]]
        for at in range(starts[block], starts[block + 1]):
            i = order[at]
            rep[i] = i
            if at > starts[block] and not published[i]:
                rep[i] = first
                if _same_hash(hashes, i, first):
                    value[i] = SAME
                else:
                    value[i] = _equal_minima(signatures, i, first) / max(1, signatures.shape[1])


@kernel
def keep_dissimilar(
    order: Any,
    starts: Any,
    published: Any,
    hashes: Any,
    keys: Any,
    signatures: Any,
    ngrams: Any,
    ends: Any,
    threshold: float,
    checks: int,
    rep: Any,
    value: Any,
) -> Any:
    """A document stays unless it is similar to one that stays and comes before it in `order`; returns how many met
    more candidates than `checks`.

    order       int64[n], document numbers block by block, each in the order in which they are to be kept
    starts      int64[blocks + 1], where each block begins in `order`; none has more than MOST keys
    published   bool[n]: stays in any case
    hashes      uint64[n, 2] of the texts; keys uint64[n, bands], 0 columns without MinHash
    signatures  uint32[n, num_perm]; ngrams uint32[...], sorted sets, of document i ngrams[ends[i]:ends[i + 1]]
    rep         int64[n] is written: the document itself, or the one that it duplicates
    value       float64[n] is written for those that go: Jaccard similarity of the sets, SAME where the hashes are equal

    Compared are documents with a band key in common, the earliest first, each pair once.
    """
    largest = int64(0)
    for block in range(starts.size - 1):
        largest = max(largest, starts[block + 1] - starts[block])
    columns = keys.shape[1] + 1
    slots = 2
    while slots < 2 * largest * columns:
        slots *= 2
    stored = np.empty(slots, np.uint64)  # by slot, a key,
    first = np.empty(slots, np.int32)  # the first node of its list, -1 where there is no key,
    last = np.empty(slots, np.int32)  # and the last
    nodes = np.empty(largest * columns, np.int64)  # a kept document under one of its keys
    following = np.empty(largest * columns, np.int32)
    compared = np.full(ends.size, -1, np.int64)  # by document, with whom last
    capped = 0
    for block in range(starts.size - 1):
        size = starts[block + 1] - starts[block]
        slots = 2
        while slots < 2 * size * columns:
            slots *= 2
        first[:slots] = -1
        used = 0
        for at in range(starts[block], starts[block + 1]):
            i = order[at]
            rep[i] = i
            if not published[i]:
                found, limited = _twin(
                    i, hashes, keys, signatures, ngrams, ends, threshold, checks, stored, first, slots, nodes,
                    following, compared, value,
                )  # fmt: skip
                capped += limited
                if found >= 0:
                    rep[i] = found
            if rep[i] == i:
                for column in range(columns):
                    key = _key(i, column, hashes, keys)
                    slot = _slot(key, stored, first, slots)
                    stored[slot] = key
                    nodes[used] = i
                    following[used] = -1
                    if first[slot] < 0:
                        first[slot] = used
                    else:
                        following[last[slot]] = used
                    last[slot] = used
                    used += 1
    return capped


@kernel
def _twin(
    i: Any,
    hashes: Any,
    keys: Any,
    signatures: Any,
    ngrams: Any,
    ends: Any,
    threshold: Any,
    checks: Any,
    stored: Any,
    first: Any,
    slots: Any,
    nodes: Any,
    following: Any,
    compared: Any,
    value: Any,
) -> Any:
    """(the kept document that i is similar to, or -1; whether there were too many to look at)."""
    left = checks
    for column in range(keys.shape[1] + 1):
        node = first[_slot(_key(i, column, hashes, keys), stored, first, slots)]
        while node >= 0:
            other = nodes[node]
            node = following[node]
            if column == 0:  # the list of the text's hash
                if _same_hash(hashes, i, other):
                    value[i] = SAME
                    return other, 0
                continue
            if compared[other] == i:
                continue
            compared[other] = i
            if left == 0:
                return int64(-1), 1
            left -= 1
            # Minima are over folded words and only tell what is hopeless; n-grams decide.
            if 2 * _equal_minima(signatures, i, other) >= threshold * signatures.shape[1]:
                similarity = _jaccard(ngrams, ends[i], ends[i + 1], ends[other], ends[other + 1], threshold)
                if similarity >= threshold:
                    value[i] = similarity
                    return other, 0
    return int64(-1), 0


@kernel
def _key(i: Any, column: Any, hashes: Any, keys: Any) -> Any:
    """Column 0 is the text's hash, then the bands, whose keys tell the bands apart."""
    return hashes[i, 0] if column == 0 else keys[i, column - 1]


@kernel
def _slot(key: Any, stored: Any, first: Any, slots: Any) -> Any:
    """Where a key is, or belongs."""
    slot = int64((key * MULTIPLIER) >> uint64(32)) & (slots - 1)
    while first[slot] >= 0 and stored[slot] != key:
        slot = (slot + 1) & (slots - 1)
    return slot


@kernel
def _same_hash(hashes: Any, i: Any, other: Any) -> Any:
    return hashes[i, 0] == hashes[other, 0] and hashes[i, 1] == hashes[other, 1]


@kernel
def _equal_minima(signatures: Any, i: Any, other: Any) -> Any:
    count = 0
    for k in range(signatures.shape[1]):
        count += signatures[i, k] == signatures[other, k]
    return count


@kernel
def _jaccard(values: Any, a: Any, a_end: Any, b: Any, b_end: Any, threshold: Any) -> Any:
    """Of two sorted sets; of sets whose sizes alone rule out the threshold, 0."""
    total = (a_end - a) + (b_end - b)
    if total == 0:
        return 1.0
    # A quotient is rounded like that of the similarity, and cannot rule out what reaches the threshold exactly.
    if min(a_end - a, b_end - b) / max(a_end - a, b_end - b) < threshold:
        return 0.0
    common = 0
    while a < a_end and b < b_end:
        x, y = values[a], values[b]
        common += x == y
        a += x <= y
        b += y <= x
    return common / (total - common)
