"""The trainer's second half: merging pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.encode import NONE, find_token
from bpe.kernels.memory import GOLDEN


class Corpus(NamedTuple):
    """The different pretokens end to end, a -1 before, between and after them, as they stand after each merge.

    A token's id is at its first and its last position; positions inside it hold -2. So a neighbour is one read away
    on either side, and whether a token still starts where it once did is seen by its id alone: tokens only grow, so
    another token that covers the place has another length and another id.
    """

    content: NDArray[np.uint8]
    ids: NDArray[np.int32]
    word: NDArray[np.uint32]  # the pretoken that each position belongs to
    times: NDArray[np.int64]  # how often each pretoken was seen


class Pairs(NamedTuple):
    """Every pair of neighbours so far: how often (now), where (once), and a max-heap of the frequent ones."""

    key: NDArray[np.int64]  # left << 32 | right
    times: NDArray[np.int64]
    start: NDArray[np.int64]  # its places are positions[start : start + places]
    places: NDArray[np.int64]
    pending: NDArray[np.int64]  # zero outside of one merge
    slots: NDArray[np.int32]  # hash table of pair + 1, at most half full
    positions: NDArray[np.uint32]
    heap_count: NDArray[np.int64]
    heap_pair: NDArray[np.int32]


class Learnt(NamedTuple):
    """The tokens so far: where in the corpus one has its bytes, and a hash table to find it by them."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.uint32]
    slots: NDArray[np.uint32]


# What `merge` counts in `state`, and why it returned.
PAIRS, POSITIONS, HEAP, THRESHOLD, TOKENS = 0, 1, 2, 3, 4
DONE, PAUSED, FULL = 0, 1, 2


@kernel
def _pair(key: int, pairs: Pairs, state: NDArray[np.int64]) -> int:
    """The number of the pair with this key, a new one if need be."""
    mask = len(pairs.slots) - 1
    slot = ((key * GOLDEN) >> 32) & mask
    while True:
        pair = int(pairs.slots[slot]) - 1
        if pair < 0:
            pair = int(state[PAIRS])
            state[PAIRS] += 1
            pairs.key[pair] = key
            pairs.slots[slot] = pair + 1
            return pair
        if pairs.key[pair] == key:
            return pair
        slot = (slot + 1) & mask


@kernel
def rehash_pairs(pairs: Pairs, size: int) -> None:
    """Fill the empty `slots` with the first `size` pairs."""
    mask = len(pairs.slots) - 1
    for pair in range(size):
        slot = ((pairs.key[pair] * GOLDEN) >> 32) & mask
        while pairs.slots[slot]:
            slot = (slot + 1) & mask
        pairs.slots[slot] = pair + 1


@kernel
def first_pairs(corpus: Corpus, pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Count the pairs of single bytes and list their places. Needs room for 65,536 pairs and a place a byte."""
    ids = corpus.ids
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            pair = _pair(int(ids[p]) << 32 | ids[p + 1], pairs, state)
            pairs.times[pair] += corpus.times[corpus.word[p]]
            pairs.places[pair] += 1
    for pair in range(state[PAIRS]):
        pairs.start[pair] = state[POSITIONS]
        state[POSITIONS] += pairs.places[pair]
        pairs.places[pair] = 0
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            pair = _pair(int(ids[p]) << 32 | ids[p + 1], pairs, state)
            pairs.positions[pairs.start[pair] + pairs.places[pair]] = p
            pairs.places[pair] += 1


@kernel
def _above(pairs: Pairs, count: int, pair: int, other: int) -> bool:
    """Whether (count, pair) is merged before heap item `other`: more frequent, or as frequent with smaller ids."""
    if count != pairs.heap_count[other]:
        return bool(count > pairs.heap_count[other])
    return bool(pairs.key[pair] < pairs.key[pairs.heap_pair[other]])


@kernel
def _heap_add(pairs: Pairs, pair: int, state: NDArray[np.int64]) -> None:
    count, at = pairs.times[pair], state[HEAP]
    state[HEAP] += 1
    while at > 0 and _above(pairs, count, pair, (at - 1) >> 1):
        pairs.heap_count[at] = pairs.heap_count[(at - 1) >> 1]
        pairs.heap_pair[at] = pairs.heap_pair[(at - 1) >> 1]
        at = (at - 1) >> 1
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _heap_drop(pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Take the first item out."""
    state[HEAP] -= 1
    size, at = state[HEAP], 0
    count, pair = pairs.heap_count[size], pairs.heap_pair[size]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _above(pairs, pairs.heap_count[child + 1], int(pairs.heap_pair[child + 1]), child):
            child += 1
        if _above(pairs, count, int(pair), child):
            break
        pairs.heap_count[at], pairs.heap_pair[at] = pairs.heap_count[child], pairs.heap_pair[child]
        at = child
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _best_pair(pairs: Pairs, state: NDArray[np.int64]) -> int:
    """The pair to merge next, or -1 when none is left; it stays in the heap.

    The heap holds every pair whose count is at least the threshold, under a count that is its own or, since counts
    only fall once a pair's tokens are made, too high: those are put right when they come up. When it runs empty,
    the threshold is halved and the pairs are gone through again; rare pairs, the most of them, are never heaped.
    """
    while True:
        while state[HEAP]:
            pair = int(pairs.heap_pair[0])
            if pairs.heap_count[0] == pairs.times[pair]:
                return pair
            _heap_drop(pairs, state)
            if pairs.times[pair] >= state[THRESHOLD]:
                _heap_add(pairs, pair, state)
        if state[THRESHOLD] == 1:
            return -1
        state[THRESHOLD] >>= 1
        for pair in range(state[PAIRS]):
            if pairs.times[pair] >= state[THRESHOLD]:
                _heap_add(pairs, pair, state)


@kernel
def _replace_pair(
    best: int, merged: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.uint32], state: NDArray[np.int64]
) -> None:
    """Write token `merged` wherever pair `best` stands, left to right, and keep counts and places of all pairs."""
    ids, key = corpus.ids, pairs.key[best]
    left, right = key >> 32, key & 0xFFFFFFFF
    left_length, length = int(lengths[left]), int(lengths[merged])
    first = pairs.start[best]
    made_pair = np.empty(2 * pairs.places[best], np.int64)
    made_at = np.empty(2 * pairs.places[best], np.int64)
    made = touched = 0
    touched_pair = np.empty(2 * pairs.places[best], np.int64)
    for place in range(first, first + pairs.places[best]):
        p = int(pairs.positions[place])
        q = p + left_length
        if ids[p] != left or ids[q] != right:
            continue
        count, end = corpus.times[corpus.word[p]], p + length
        before, after = int(ids[p - 1]), int(ids[end])
        pairs.times[best] -= count
        for side in range(2):
            if side == 0 and before >= 0:
                pairs.times[_pair(before << 32 | left, pairs, state)] -= count
                pair, at = _pair(before << 32 | merged, pairs, state), p - int(lengths[before])
            elif side == 1 and after >= 0:
                pairs.times[_pair(right << 32 | after, pairs, state)] -= count
                pair, at = _pair(merged << 32 | after, pairs, state), p
            else:
                continue
            pairs.times[pair] += count
            if pairs.pending[pair] == 0:
                touched_pair[touched] = pair
                touched += 1
            pairs.pending[pair] += 1
            made_pair[made], made_at[made] = pair, at
            made += 1
        ids[q - 1] = ids[q] = -2
        ids[p] = ids[end - 1] = merged
    _list_places(pairs, made_pair[:made], made_at[:made], touched_pair[:touched], state)


@kernel
def _list_places(
    pairs: Pairs,
    made_pair: NDArray[np.int64],
    made_at: NDArray[np.int64],
    touched_pair: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:
    """Give each touched pair one ascending run of places, old and new, and heap it if it is frequent."""
    for pair in touched_pair:
        old, places = pairs.start[pair], pairs.places[pair]
        new = state[POSITIONS]
        pairs.start[pair] = new
        pairs.positions[new : new + places] = pairs.positions[old : old + places]
        state[POSITIONS] += places + pairs.pending[pair]
    for i in range(len(made_pair)):
        pair = made_pair[i]
        pairs.positions[pairs.start[pair] + pairs.places[pair]] = made_at[i]
        pairs.places[pair] += 1
    for pair in touched_pair:
        start, places = pairs.start[pair], pairs.places[pair]
        if places > pairs.pending[pair]:
            pairs.positions[start : start + places] = np.sort(pairs.positions[start : start + places])
        pairs.pending[pair] = 0
        if pairs.times[pair] >= state[THRESHOLD]:
            _heap_add(pairs, pair, state)


@kernel
def merge(corpus: Corpus, pairs: Pairs, learnt: Learnt, state: NDArray[np.int64], wanted: int, steps: int) -> int:
    """Merge the best pair until there are `wanted` tokens (DONE), no pair is left (DONE), `steps` merges are made
    (PAUSED: call again) or a table might overflow at the next merge (FULL: enlarge it and call again).

    A pair whose bytes are a token already becomes that token and uses up no new id, as in Hugging Face's trainer.
    """
    content, limit = corpus.content.ctypes.data, corpus.content.ctypes.data + len(corpus.content)
    starts, lengths, slots = learnt.starts.ctypes.data, learnt.lengths.ctypes.data, learnt.slots.ctypes.data
    for _ in range(steps):
        tokens = state[TOKENS]
        if tokens == wanted:
            return DONE
        best = _best_pair(pairs, state)
        if best < 0:
            return DONE
        key = pairs.key[best]
        left, right = key >> 32, key & 0xFFFFFFFF
        n = int(learnt.lengths[left]) + int(learnt.lengths[right])
        p = _place_of(left, right, best, corpus, pairs, learnt.lengths)
        merged, slot = find_token(content + p, n, limit, content, starts, lengths, slots, len(learnt.slots) - 1)
        # All new pairs hold `merged`, so there are at most two for each token there is.
        room = min(2 * pairs.places[best], 2 * tokens + 2)
        places = 2 * pairs.places[best] + (0 if merged == NONE else state[POSITIONS])
        if state[PAIRS] + room > len(pairs.key) or state[POSITIONS] + places > len(pairs.positions):
            return FULL
        if max(state[HEAP] + room, state[PAIRS] + room) > len(pairs.heap_pair):
            return FULL
        if merged == NONE:
            merged = tokens
            learnt.starts[merged], learnt.lengths[merged], learnt.slots[slot] = p, n, merged + 1
            state[TOKENS] += 1
        _replace_pair(best, merged, corpus, pairs, learnt.lengths, state)
    return PAUSED


@kernel
def _place_of(left: int, right: int, pair: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.uint32]) -> int:
    """A position where the pair stands now."""
    for place in range(pairs.start[pair], pairs.start[pair] + pairs.places[pair]):
        p = int(pairs.positions[place])
        if corpus.ids[p] == left and corpus.ids[p + int(lengths[left])] == right:
            return p
    return 0  # not reached: a pair with a count stands somewhere
