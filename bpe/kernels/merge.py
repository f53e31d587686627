"""The trainer's second half: merging the most frequent pair, again and again.

The count of a pair is kept as an upper bound. It is exact when the pair is entered and only falls later, as
neighbours of its places merge away. So nothing is subtracted then: a pair that reaches the top of the heap is counted
anew over its own places, and goes back if the bound was too high. A new pair holds the token just made, so it cannot
have been entered before: no hash table of pairs is needed (one was as fast, and longer).

No two pairs make the same bytes. Bytes whose two ends no merge has crossed are cut alike wherever they stand, since
the same merges were made inside them. So where they become a token, they do so everywhere, by one pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import load8, prefetch

AHEAD = 12  # places between the one that is read and the one that is prefetched
BLOCK_BITS = 6  # an entry of `Corpus.first_run` is for 1 << BLOCK_BITS positions


class Corpus(NamedTuple):
    """The different pretokens end to end, most frequent first, with a -1 before, between and after them.

    A token's id is at its first and its last position; positions between them hold -2. So a token's neighbours are
    one read away on either side. The id at a position also says whether the token that once started there still
    does: tokens only grow, so a later token that covers the position has another length and another id.

    Pretokens of equal count lie side by side in a run. So the count at a position is found in a table of runs, which
    fits the nearest cache, rather than in an array as long as the corpus.
    """

    content: NDArray[np.uint8]  # the bytes at the positions, then the 256 single bytes in the order of their ids
    ids: NDArray[np.int32]
    first_run: NDArray[np.int32]  # the run at the start of each block of positions
    run_ends: NDArray[np.int64]
    run_times: NDArray[np.int64]  # the count of each pretoken of the run


class Pairs(NamedTuple):
    """Every pair of neighbours met so far, and a max-heap of the frequent ones."""

    table: NDArray[np.int64]  # a row of KEY, TIMES, START, PLACES for each
    positions: NDArray[np.uint32]
    heap_count: NDArray[np.int64]
    heap_pair: NDArray[np.int32]


# Columns of `Pairs.table`: left << 32 | right; the bound of the pair's count; and where the pair may stand, which is
# positions[START : START + PLACES].
KEY, TIMES, START, PLACES = 0, 1, 2, 3


class Tokens(NamedTuple):
    """The tokens so far, and which of two pairs of equal count merges first.

    Token i has the bytes `content[starts[i] : starts[i] + lengths[i]]`. With `by_bytes` the pair of the greater bytes
    goes first, else the pair of the smaller ids.
    """

    content: NDArray[np.uint8]  # of the corpus
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    prefixes: NDArray[np.int64]  # the first 8 bytes as a number that orders as the bytes do
    merges: NDArray[np.int64]  # left << 32 | right of the pair that became the token
    by_bytes: bool


class Side(NamedTuple):
    """The neighbours that one merge finds on one side of its places; index: the neighbour's id."""

    times: NDArray[np.int64]
    places: NDArray[np.int64]  # zeros between merges
    cursor: NDArray[np.int64]
    touched: NDArray[np.int32]  # the ids of the neighbours found


# Indices of the array `state`: the numbers of pairs, positions, heap items and tokens, and the count from which on a
# pair is in the heap.
PAIRS, POSITIONS, HEAP, THRESHOLD, TOKENS = 0, 1, 2, 3, 4
STATE = 5

DONE, PAUSED, FULL = 0, 1, 2  # why `merge` returned


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
    """Write the pretokens in `order` to `laid` and the ids of their bytes to `ids`, with a separator after each.

    Pretoken i is `content[starts[i] : starts[i + 1]]`. `ends[i]` is the position after the separator of the i-th in
    `order`.
    """
    at = 1
    laid[0], ids[0] = 0, -1
    for i in range(len(order)):
        pretoken = order[i]
        for k in range(starts[pretoken], starts[pretoken + 1]):
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
    """The run of the pretoken at position p."""
    run = corpus.first_run[p >> BLOCK_BITS]
    while corpus.run_ends[run] <= p:
        run += 1
    return int(run)


@kernel
def _new_pair(key: int, times: int, places: int, pairs: Pairs, state: NDArray[np.int64]) -> int:
    """Enter a pair and keep room for its places; returns its number."""
    pair, start = state[PAIRS], state[POSITIONS]
    pairs.table[pair, KEY], pairs.table[pair, TIMES] = key, times
    pairs.table[pair, START], pairs.table[pair, PLACES] = start, places
    state[PAIRS], state[POSITIONS] = pair + 1, start + places
    return int(pair)


@kernel
def first_pairs(corpus: Corpus, pairs: Pairs, state: NDArray[np.int64]) -> None:
    """Enter the pairs of single bytes with their counts and places.

    `pairs` needs room for 65,536 pairs and for as many places as the corpus has positions.
    """
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
def _greater(one: int, other: int, tokens: Tokens) -> bool:
    """Whether the bytes of token `one` are greater than those of token `other`, as Python compares bytes."""
    if tokens.prefixes[one] != tokens.prefixes[other]:
        return bool(tokens.prefixes[one] > tokens.prefixes[other])
    content = tokens.content.ctypes.data
    p, n = content + tokens.starts[one], int(tokens.lengths[one])
    q, m = content + tokens.starts[other], int(tokens.lengths[other])
    for i in range(min(n, m)):
        if load8(p + i) != load8(q + i):
            return bool(load8(p + i) > load8(q + i))
    return bool(n > m)


@kernel
def _prefix(p: int, n: int) -> int:
    """The first 8 of the n bytes at p as a number that orders as the bytes do."""
    value = 0
    for i in range(8):
        value = value << 8 | (load8(p + i) if i < n else 0)
    return value ^ (-1 << 63)


@kernel
def _goes_first(count: int, pair: int, item: int, pairs: Pairs, tokens: Tokens) -> bool:
    """Whether a pair of this count merges before the pair of heap item `item`."""
    if count != pairs.heap_count[item]:
        return bool(count > pairs.heap_count[item])
    key, other = pairs.table[pair, KEY], pairs.table[pairs.heap_pair[item], KEY]
    if not tokens.by_bytes:
        return bool(key < other)
    if key >> 32 != other >> 32:
        return _greater(key >> 32, other >> 32, tokens)
    return key != other and _greater(key & 0xFFFFFFFF, other & 0xFFFFFFFF, tokens)


@kernel
def _heap_add(pair: int, pairs: Pairs, tokens: Tokens, state: NDArray[np.int64]) -> None:
    """Put a pair into the heap."""
    count, at = pairs.table[pair, TIMES], state[HEAP]
    state[HEAP] += 1
    while at > 0 and _goes_first(count, pair, (at - 1) >> 1, pairs, tokens):
        pairs.heap_count[at] = pairs.heap_count[(at - 1) >> 1]
        pairs.heap_pair[at] = pairs.heap_pair[(at - 1) >> 1]
        at = (at - 1) >> 1
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _heap_drop(pairs: Pairs, tokens: Tokens, state: NDArray[np.int64]) -> None:
    """Take the first pair out of the heap."""
    state[HEAP] -= 1
    size, at = state[HEAP], 0
    count, pair = pairs.heap_count[size], int(pairs.heap_pair[size])
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size:
            right_count, right = pairs.heap_count[child + 1], int(pairs.heap_pair[child + 1])
            if _goes_first(right_count, right, child, pairs, tokens):
                child += 1
        if _goes_first(count, pair, child, pairs, tokens):
            break
        pairs.heap_count[at], pairs.heap_pair[at] = pairs.heap_count[child], pairs.heap_pair[child]
        at = child
    pairs.heap_count[at], pairs.heap_pair[at] = count, pair


@kernel
def _recount(pair: int, corpus: Corpus, pairs: Pairs, lengths: NDArray[np.int64]) -> int:
    """The exact count of a pair. Its list keeps only the places where it still stands."""
    key, first, places = pairs.table[pair, KEY], pairs.table[pair, START], pairs.table[pair, PLACES]
    left, right = key >> 32, key & 0xFFFFFFFF
    left_length, ids = int(lengths[left]), corpus.ids
    address, last = ids.ctypes.data, first + places - 1
    times, kept = 0, first
    run_end = run_times = 0  # of the place before, which is mostly in the same run
    for place in range(first, first + places):
        # Places lie far apart in the corpus.
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
def _best_pair(corpus: Corpus, pairs: Pairs, tokens: Tokens, state: NDArray[np.int64]) -> int:
    """The pair to merge next, exactly counted, or -1 when no pair is left. The pair stays in the heap.

    The heap holds every pair whose count may reach the threshold. When it runs empty, the threshold is halved and the
    heap is filled again. Rare pairs, which are most, never enter it.
    """
    while True:
        while state[HEAP]:
            pair = int(pairs.heap_pair[0])
            if pairs.heap_count[0] == _recount(pair, corpus, pairs, tokens.lengths):
                return pair
            _heap_drop(pairs, tokens, state)
            if pairs.table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, pairs, tokens, state)
        if state[THRESHOLD] == 1:
            return -1
        state[THRESHOLD] >>= 1
        for pair in range(state[PAIRS]):
            if pairs.table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, pairs, tokens, state)


@kernel
def _note(side: Side, token: int, times: int, touched: int) -> int:
    """Note a neighbour; returns how many different ones are noted. `touched` is how many there were."""
    if side.places[token] == 0:
        side.touched[touched], side.times[token] = token, 0
        touched += 1
    side.places[token] += 1
    side.times[token] += times
    return touched


@kernel
def _replace_pair(
    best: int,
    merged: int,
    corpus: Corpus,
    pairs: Pairs,
    tokens: Tokens,
    left_side: Side,
    right_side: Side,
    state: NDArray[np.int64],
) -> None:
    """Write token `merged` wherever pair `best` stands, from left to right, and enter the pairs that this makes."""
    ids, table, lengths = corpus.ids, pairs.table, tokens.lengths
    left, right = table[best, KEY] >> 32, table[best, KEY] & 0xFFFFFFFF
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
    for side, touched, merged_first, neighbours, at in (
        (left_side, lefts, False, before_token[:befores], before_at[:befores]),
        (right_side, rights, True, after_token[:afters], after_at[:afters]),
    ):
        for i in range(touched):
            token = int(side.touched[i])
            key = merged << 32 | token if merged_first else token << 32 | merged
            pair = _new_pair(key, side.times[token], side.places[token], pairs, state)
            side.cursor[token], side.places[token] = table[pair, START], 0
            if table[pair, TIMES] >= state[THRESHOLD]:
                _heap_add(pair, pairs, tokens, state)
        for i in range(len(neighbours)):
            pairs.positions[side.cursor[neighbours[i]]] = at[i]
            side.cursor[neighbours[i]] += 1


@kernel
def merge(
    corpus: Corpus,
    pairs: Pairs,
    tokens: Tokens,
    left_side: Side,
    right_side: Side,
    state: NDArray[np.int64],
    wanted: int,
    steps: int,
) -> int:
    """Merge the best pair again and again; returns why it stopped.

    DONE: there are `wanted` tokens, or no pair is left. PAUSED: `steps` merges are made; call again. FULL: a table
    might overflow at the next merge; enlarge it and call again.

    The structures are parameters: one structure of them all took 0.54 s where this takes 0.22 s (32,000 tokens, 90,000
    pretokens), for every call between kernels then counts references to each of its arrays.
    """
    for _ in range(steps):
        made = state[TOKENS]
        if made == wanted:
            return DONE
        best = _best_pair(corpus, pairs, tokens, state)
        if best < 0:
            return DONE
        places = pairs.table[best, PLACES]
        # A merge makes at most two new pairs for each token and two new places for each place.
        room = min(2 * places, 2 * made + 2)
        if max(state[HEAP], state[PAIRS]) + room > len(pairs.heap_pair):
            return FULL
        if state[POSITIONS] + 2 * places > len(pairs.positions):
            return FULL
        key = pairs.table[best, KEY]
        p = np.int64(pairs.positions[pairs.table[best, START]])
        n = tokens.lengths[key >> 32] + tokens.lengths[key & 0xFFFFFFFF]
        tokens.starts[made], tokens.lengths[made], tokens.merges[made] = p, n, key
        tokens.prefixes[made] = _prefix(tokens.content.ctypes.data + p, n)
        state[TOKENS] += 1
        _replace_pair(best, int(made), corpus, pairs, tokens, left_side, right_side, state)
    return PAUSED
