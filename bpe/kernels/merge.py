"""The trainer's second half: merging pairs.

A pair's count is kept as an upper bound: it is exact when the pair comes up, and afterwards only falls, as neighbours
are merged away. So nothing is looked up or taken off then; instead a pair is counted anew, over its own places, when
it reaches the top of the heap, and goes back if that was too much. New pairs hold the token just made, so they are
appended unseen. That left no hash table of pairs, which was as fast and longer.

No two pairs make the same bytes. Bytes that no merge has crossed the ends of are cut alike wherever they stand, since
the same merges were made in them; so where they become a token, they do so everywhere, by one pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import load8, prefetch

AHEAD = 12  # places
BLOCK_BITS = 6  # positions of one entry of `Corpus.first_run`, as a power of two


class Corpus(NamedTuple):
    """The different pretokens end to end, most frequent first, a -1 before, between and after them.

    A token's id is at its first and its last position; positions inside it hold -2. So a neighbour is one read away
    on either side, and whether a token still starts where it once did is seen by its id alone: tokens only grow, so
    another token that covers the place has another length and another id.

    Pretokens equally frequent lie side by side, in a run: how often a place counts is found from a table of runs
    that fits the nearest cache, not from an array as long as the corpus.
    """

    content: NDArray[np.uint8]  # behind it 256 more, the bytes in the order of their ids
    ids: NDArray[np.int32]
    first_run: NDArray[np.int32]  # of each block of 1 << BLOCK_BITS positions
    run_ends: NDArray[np.int64]
    run_times: NDArray[np.int64]


class Pairs(NamedTuple):
    """Every pair of neighbours so far, and a max-heap of the frequent ones."""

    table: NDArray[np.int64]  # KEY, TIMES, START, PLACES of each
    positions: NDArray[np.uint32]
    heap_count: NDArray[np.int64]
    heap_pair: NDArray[np.int32]


# A pair: left << 32 | right; how often it stands there, at most; where it may stand, positions[START : START + PLACES].
KEY, TIMES, START, PLACES = 0, 1, 2, 3


class Learnt(NamedTuple):
    """The tokens so far: where in the corpus one has its bytes, and which pair it was made of."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    prefixes: NDArray[np.int64]  # the first 8 bytes as a number that compares as they do
    merges: NDArray[np.int64]  # left << 32 | right


class Side(NamedTuple):
    """What one merge finds on one side of its places, by neighbouring token; `places` is zero between merges."""

    times: NDArray[np.int64]
    places: NDArray[np.int64]
    cursor: NDArray[np.int64]
    touched: NDArray[np.int32]


# What `merge` counts in `state`, and why it returned.
PAIRS, POSITIONS, HEAP, THRESHOLD, TOKENS = 0, 1, 2, 3, 4
STATE = 5
DONE, PAUSED, FULL = 0, 1, 2


@kernel
def lay_out(
    content: NDArray[np.uint8],
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
    id_of_byte: NDArray[np.int32],
    laid: NDArray[np.uint8],
    ids: NDArray[np.int32],
    ends: NDArray[np.int64],
) -> None:
    """Write pretokens `order` of `content` to `laid` and their ids to `ids`, separated; `ends[i]` is behind the
    separator of the i-th."""
    at = 1
    laid[0], ids[0] = 0, -1
    for i in range(len(order)):
        word = order[i]
        for k in range(starts[word], starts[word + 1]):
            laid[at], ids[at] = content[k], id_of_byte[content[k]]
            at += 1
        laid[at], ids[at] = 0, -1
        at += 1
        ends[i] = at


@kernel
def index_runs(corpus: Corpus) -> None:
    """Fill `first_run`."""
    run = 0
    for block in range(len(corpus.first_run)):
        while corpus.run_ends[run] <= block << BLOCK_BITS:
            run += 1
        corpus.first_run[block] = run


@kernel
def _run_at(p: int, corpus: Corpus) -> int:
    run = corpus.first_run[p >> BLOCK_BITS]
    while corpus.run_ends[run] <= p:
        run += 1
    return int(run)


@kernel
def _new_pair(key: int, times: int, places: int, pairs: Pairs, state: NDArray[np.int64]) -> int:
    """Enter a pair, and keep room for its places; its number."""
    pair, start = state[PAIRS], state[POSITIONS]
    pairs.table[pair, KEY], pairs.table[pair, TIMES] = key, times
    pairs.table[pair, START], pairs.table[pair, PLACES] = start, places
    state[PAIRS], state[POSITIONS] = pair + 1, start + places
    return int(pair)


@kernel
def first_pairs(corpus: Corpus, pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Count the pairs of single bytes and list their places. Needs room for 65,536 pairs and a place a byte."""
    ids, run = corpus.ids, 0
    times, places = np.zeros(1 << 16, np.int64), np.zeros(1 << 16, np.int64)
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            while corpus.run_ends[run] <= p:
                run += 1
            both = ids[p] << 8 | ids[p + 1]
            times[both] += corpus.run_times[run]
            places[both] += 1
    for both in range(1 << 16):
        if places[both]:
            pair = _new_pair((both >> 8) << 32 | both & 0xFF, times[both], places[both], pairs, state)
            places[both] = pairs.table[pair, START]
    for p in range(1, len(ids) - 1):
        if ids[p] >= 0 and ids[p + 1] >= 0:
            both = ids[p] << 8 | ids[p + 1]
            pairs.positions[places[both]] = p
            places[both] += 1


@kernel
def _greater(one: int, other: int, content: int, learnt: Learnt) -> bool:
    """Whether the bytes of token `one` come after those of token `other`, compared as Python compares bytes."""
    if learnt.prefixes[one] != learnt.prefixes[other]:
        return bool(learnt.prefixes[one] > learnt.prefixes[other])
    p, n = content + learnt.starts[one], int(learnt.lengths[one])
    q, m = content + learnt.starts[other], int(learnt.lengths[other])
    for i in range(min(n, m)):
        if load8(p + i) != load8(q + i):
            return bool(load8(p + i) > load8(q + i))
    return bool(n > m)


@kernel
def _prefix(p: int, n: int) -> int:
    value = 0
    for i in range(8):
        value = value << 8 | (load8(p + i) if i < n else 0)
    return value ^ (-1 << 63)


@kernel
def _before(one: int, other: int, content: int, pairs: Pairs, learnt: Learnt, by_bytes: bool) -> bool:
    """Which of two pairs equally frequent is merged first: that of the greater bytes, or that of the smaller ids."""
    key, other_key = pairs.table[one, KEY], pairs.table[other, KEY]
    if not by_bytes:
        return bool(key < other_key)
    if key >> 32 != other_key >> 32:
        return _greater(key >> 32, other_key >> 32, content, learnt)
    return key != other_key and _greater(key & 0xFFFFFFFF, other_key & 0xFFFFFFFF, content, learnt)


@kernel
def _above(count: int, pair: int, other: int, content: int, pairs: Pairs, learnt: Learnt, by_bytes: bool) -> bool:
    """Whether (count, pair) is merged before heap item `other`."""
    if count != pairs.heap_count[other]:
        return bool(count > pairs.heap_count[other])
    return _before(pair, int(pairs.heap_pair[other]), content, pairs, learnt, by_bytes)


@kernel
def _heap_add(pair: int, content: int, pairs: Pairs, learnt: Learnt, by_bytes: bool, state: NDArray[np.int64]) -> None:
    count, at = pairs.table[pair, TIMES], state[HEAP]
    state[HEAP] += 1
    while at > 0 and _above(count, pair, (at - 1) >> 1, content, pairs, learnt, by_bytes):
        pairs.heap_count[at] = pairs.heap_count[(at - 1) >> 1]
        pairs.heap_pair[at] = pairs.heap_pair[(at - 1) >> 1]
        at = (at - 1) >> 1
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _heap_drop(content: int, pairs: Pairs, learnt: Learnt, by_bytes: bool, state: NDArray[np.int64]) -> None:
    """Take the first item out."""
    state[HEAP] -= 1
    size, at = state[HEAP], 0
    count, pair = pairs.heap_count[size], int(pairs.heap_pair[size])
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size:
            right_count, right = pairs.heap_count[child + 1], int(pairs.heap_pair[child + 1])
            if _above(right_count, right, child, content, pairs, learnt, by_bytes):
                child += 1
        if _above(count, pair, child, content, pairs, learnt, by_bytes):
            break
        pairs.heap_count[at], pairs.heap_pair[at] = pairs.heap_count[child], pairs.heap_pair[child]
        at = child
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _recount(pair: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.int64]) -> int:
    """How often the pair stands there now; places where it stands no more are struck off its list."""
    key, first, places = pairs.table[pair, KEY], pairs.table[pair, START], pairs.table[pair, PLACES]
    left, right = key >> 32, key & 0xFFFFFFFF
    left_length, ids = int(lengths[left]), corpus.ids
    address, last = ids.ctypes.data, first + places - 1
    times, kept = 0, first
    run_end = run_times = 0  # of the place before: mostly that of this one too
    for place in range(first, first + places):
        # Places lie far apart: ask for the one to come.
        prefetch(address + 4 * np.int64(pairs.positions[min(place + AHEAD, last)]))
        p = np.int64(pairs.positions[place])
        if ids[p] == left and ids[p + left_length] == right:
            if p >= run_end:
                run = _run_at(p, corpus)
                run_end, run_times = corpus.run_ends[run], corpus.run_times[run]
            times += run_times
            pairs.positions[kept] = p
            kept += 1
    pairs.table[pair, PLACES], pairs.table[pair, TIMES] = kept - first, times
    return times


@kernel
def _best_pair(corpus: Corpus, pairs: Pairs, learnt: Learnt, by_bytes: bool, state: NDArray[np.int64]) -> int:
    """The pair to merge next, counted exactly, or -1 when none is left; it stays in the heap.

    The heap holds every pair whose count may be at least the threshold. When it runs empty, the threshold is halved
    and the pairs are gone through again; rare pairs, the most of them, are never heaped.
    """
    content = corpus.content.ctypes.data
    while True:
        while state[HEAP]:
            pair = int(pairs.heap_pair[0])
            if pairs.heap_count[0] == _recount(pair, corpus, pairs, learnt.lengths):
                return pair
            _heap_drop(content, pairs, learnt, by_bytes, state)
            if pairs.table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, content, pairs, learnt, by_bytes, state)
        if state[THRESHOLD] == 1:
            return -1
        state[THRESHOLD] >>= 1
        for pair in range(state[PAIRS]):
            if pairs.table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, content, pairs, learnt, by_bytes, state)


@kernel
def _note(side: Side, token: int, times: int, touched: int) -> int:
    """Note a neighbour; how many different ones there are now."""
    if side.places[token] == 0:
        side.touched[touched], side.times[token] = token, 0
        touched += 1
    side.places[token] += 1
    side.times[token] += times
    return touched


@kernel
def _replace_pair(
    best: int, merged: int, corpus: Corpus, pairs: Pairs, learnt: Learnt, left_side: Side, right_side: Side,
    by_bytes: bool, state: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write token `merged` wherever pair `best` stands, left to right, and list the pairs that this makes."""
    ids, table = corpus.ids, pairs.table
    left, right = table[best, KEY] >> 32, table[best, KEY] & 0xFFFFFFFF
    lengths = learnt.lengths
    left_length, length = int(lengths[left]), int(lengths[merged])
    first, places = table[best, START], table[best, PLACES]
    before_token, before_at = np.empty(places, np.int32), np.empty(places, np.uint32)
    after_token, after_at = np.empty(places, np.int32), np.empty(places, np.uint32)
    befores = afters = lefts = rights = run_end = run_times = 0
    address, last = ids.ctypes.data, first + places - 1
    for place in range(first, first + places):
        prefetch(address + 4 * np.int64(pairs.positions[min(place + AHEAD, last)]))
        p = np.int64(pairs.positions[place])
        q = p + left_length
        if ids[p] != left or ids[q] != right:
            continue  # "aaa": merged a moment ago
        if p >= run_end:
            run = _run_at(p, corpus)
            run_end, run_times = corpus.run_ends[run], corpus.run_times[run]
        times, end = run_times, p + length
        before, after = int(ids[p - 1]), int(ids[end])
        if before >= 0:
            lefts = _note(left_side, before, times, lefts)
            before_token[befores], before_at[befores] = before, p - int(lengths[before])
            befores += 1
        if after >= 0:
            rights = _note(right_side, after, times, rights)
            after_token[afters], after_at[afters] = after, p
            afters += 1
        ids[q - 1] = ids[q] = -2
        ids[p] = ids[end - 1] = merged
    table[best, TIMES] = table[best, PLACES] = 0
    content = corpus.content.ctypes.data
    for side, touched, is_left, neighbours, at in (
        (left_side, lefts, False, before_token[:befores], before_at[:befores]),
        (right_side, rights, True, after_token[:afters], after_at[:afters]),
    ):
        for i in range(touched):
            token = int(side.touched[i])
            key = merged << 32 | token if is_left else token << 32 | merged
            pair = _new_pair(key, side.times[token], side.places[token], pairs, state)
            side.cursor[token], side.places[token] = table[pair, START], 0
            if table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, content, pairs, learnt, by_bytes, state)
        for i in range(len(neighbours)):
            pairs.positions[side.cursor[neighbours[i]]] = at[i]
            side.cursor[neighbours[i]] += 1


@kernel
def merge(
    corpus: Corpus, pairs: Pairs, learnt: Learnt, left_side: Side, right_side: Side, state: NDArray[np.int64],
    wanted: int, steps: int, by_bytes: bool,
) -> int:  # fmt: skip
    """Merge the best pair until there are `wanted` tokens (DONE), no pair is left (DONE), `steps` merges are made
    (PAUSED: call again) or a table might overflow at the next merge (FULL: enlarge it and call again)."""
    content = corpus.content.ctypes.data
    for _ in range(steps):
        tokens = state[TOKENS]
        if tokens == wanted:
            return DONE
        best = _best_pair(corpus, pairs, learnt, by_bytes, state)
        if best < 0:
            return DONE
        places = pairs.table[best, PLACES]
        # At most two new pairs for each token there is, and two new places for each place.
        room = min(2 * places, 2 * tokens + 2)
        if max(state[HEAP], state[PAIRS]) + room > len(pairs.heap_pair):
            return FULL
        if state[POSITIONS] + 2 * places > len(pairs.positions):
            return FULL
        key = pairs.table[best, KEY]
        p = np.int64(pairs.positions[pairs.table[best, START]])
        n = learnt.lengths[key >> 32] + learnt.lengths[key & 0xFFFFFFFF]
        learnt.starts[tokens], learnt.lengths[tokens], learnt.merges[tokens] = p, n, key
        learnt.prefixes[tokens] = _prefix(content + p, n)
        state[TOKENS] += 1
        _replace_pair(best, int(tokens), corpus, pairs, learnt, left_side, right_side, by_bytes, state)
    return PAUSED
