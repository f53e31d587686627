"""Which documents of a block stay: each is compared with the documents before it that stay."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint64

from corpus.dedup.kernels import kernel
from corpus.text.kernels.mixing import MULTIPLIER

MOST = 2**31 - 1  # keys of a block's documents, with a key for each text's hash: their nodes have 32-bit numbers
SAME = 2.0  # stands for the similarity of two texts with equal hashes; no similarity is that high


class Blocks(NamedTuple):
    """Documents, named by their numbers, block by block: each block's in the order in which they are to be kept."""

    order: Any  # int64[n]: numbers of documents
    starts: Any  # int64[blocks + 1]: where each block begins in `order`


class Contents(NamedTuple):
    """What is compared of documents: row i belongs to document i."""

    published: Any  # bool[n]: the document stays in any case
    hashes: Any  # uint64[n, 2]: of the texts
    keys: Any  # uint64[n, bands]: band keys; 0 columns without MinHash
    signatures: Any  # uint32[n, num_perm]
    ngrams: Any  # uint32[...]: sorted sets, the set of document i is ngrams[ends[i]:ends[i + 1]]
    ends: Any  # int64[n + 1]


class Twins(NamedTuple):
    """The result: for each document the kept one that it duplicates, itself where it stays."""

    representative: Any  # int64[n]
    similarity: Any  # float64[n], of documents that go: SAME where the hashes are equal


class _Kept(NamedTuple):
    """The kept documents of a block by their keys: a hash table of lists, in the order in which they were kept."""

    stored: Any  # uint64[slots]: a key
    first: Any  # int32[slots]: the first node of the key's list, -1 where there is no key
    nodes: Any  # int64[nodes]: the document of each node
    following: Any  # int32[nodes]: the next node of its list, -1 at the end
    compared: Any  # int64[n]: by kept document, the document that was compared with it last


@kernel
def keep_first(blocks: Any, documents: Any, twins: Any) -> None:
    """The first document of each block stays, and every published one; all others duplicate the first.

    Takes Blocks and Contents, writes Twins, with the Jaccard similarity of the sets of n-grams, which may be low: the
    block connects a document with the first by way of others. It is 0 without MinHash, which has no sets.
    """
    for block in range(blocks.starts.size - 1):
        first = blocks.order[blocks.starts[block]]
        for at in range(blocks.starts[block], blocks.starts[block + 1]):
            i = blocks.order[at]
            twins.representative[i] = i
            if at > blocks.starts[block] and not documents.published[i]:
                twins.representative[i] = first
                if _same_hash(documents.hashes, i, first):
                    twins.similarity[i] = SAME
                elif documents.signatures.shape[1] > 0:
                    ngrams, ends = documents.ngrams, documents.ends
                    twins.similarity[i] = _jaccard(ngrams, ends[i], ends[i + 1], ends[first], ends[first + 1], 0.0)


@kernel
def keep_dissimilar(blocks: Any, documents: Any, threshold: float, checks: int, twins: Any) -> Any:
    """A document stays unless it is similar to one that stays and comes before it in its block.

    Takes Blocks, none of more than MOST keys, and Contents; writes Twins, with the Jaccard similarity of the sets of
    n-grams. A document is compared with the kept documents that share a band key with it, the earliest first, and with
    no more than `checks` of them. Returns how many documents had more.
    """
    order, starts, representative, similarity = blocks.order, blocks.starts, twins.representative, twins.similarity
    hashes, keys, published = documents.hashes, documents.keys, documents.published
    largest = int64(0)
    for block in range(starts.size - 1):
        largest = max(largest, starts[block + 1] - starts[block])
    columns = keys.shape[1] + 1
    slots = _slots(largest * columns)
    # Arrays, beside the tuple of them: to take one out of a tuple counts its references, which costs in inner loops.
    stored, first, last = np.empty(slots, np.uint64), np.empty(slots, np.int32), np.empty(slots, np.int32)
    nodes, following = np.empty(largest * columns, np.int64), np.empty(largest * columns, np.int32)
    kept = _Kept(stored, first, nodes, following, np.full(documents.ends.size, -1, np.int64))
    capped = 0
    for block in range(starts.size - 1):
        slots = _slots((starts[block + 1] - starts[block]) * columns)
        first[:slots] = -1
        used = 0
        for at in range(starts[block], starts[block + 1]):
            i = order[at]
            representative[i] = i
            if not published[i]:
                twin, limited = _twin(i, documents, threshold, checks, kept, slots, similarity)
                capped += limited
                if twin >= 0:
                    representative[i] = twin
            if representative[i] == i:
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
def _slots(keys: Any) -> Any:
    """Places of a hash table for so many keys: a power of two, at least half of them empty."""
    slots = 2
    while slots < 2 * keys:
        slots *= 2
    return slots


@kernel
def _twin(i: Any, documents: Any, threshold: Any, checks: Any, kept: Any, slots: Any, similarity: Any) -> Any:
    """(the kept document that document i is similar to, or -1; 1 if there were too many to look at, else 0)."""
    hashes, keys, signatures = documents.hashes, documents.keys, documents.signatures
    ngrams, ends = documents.ngrams, documents.ends
    stored, first, nodes, following, compared = kept
    left = checks
    for column in range(keys.shape[1] + 1):
        node = first[_slot(_key(i, column, hashes, keys), stored, first, slots)]
        while node >= 0:
            other = nodes[node]
            node = following[node]
            if column == 0:  # the list of the text's hash
                if _same_hash(hashes, i, other):
                    similarity[i] = SAME
                    return other, 0
                continue
            if compared[other] == i:
                continue
            compared[other] = i
            if left == 0:
                return int64(-1), 1
            left -= 1
            # Minima are of other words than n-grams are; they only rule out hopeless pairs, and n-grams decide.
            if 2 * _equal_minima(signatures, i, other) >= threshold * signatures.shape[1]:
                value = _jaccard(ngrams, ends[i], ends[i + 1], ends[other], ends[other + 1], threshold)
                if value >= threshold:
                    similarity[i] = value
                    return other, 0
    return int64(-1), 0


@kernel
def _key(i: Any, column: Any, hashes: Any, keys: Any) -> Any:
    """A key of document i: in column 0 the hash of its text, then its band keys, which differ from band to band."""
    return hashes[i, 0] if column == 0 else keys[i, column - 1]


@kernel
def _slot(key: Any, stored: Any, first: Any, slots: Any) -> Any:
    """Where a key is in the hash table, or belongs."""
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
    """Similarity of the sorted sets values[a:a_end] and values[b:b_end]; 0 if their sizes rule the threshold out."""
    total = (a_end - a) + (b_end - b)
    if total == 0:
        return 1.0
    # This quotient is rounded as the similarity is, so it never rules out a pair that just reaches the threshold.
    if min(a_end - a, b_end - b) / max(a_end - a, b_end - b) < threshold:
        return 0.0
    common = 0
    while a < a_end and b < b_end:
        x, y = values[a], values[b]
        common += x == y
        a += x <= y
        b += y <= x
    return common / (total - common)
