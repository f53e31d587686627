"""Word ids -> the characters in repeated n-grams, which Gopher's rules measure, for n from 2 to 10.

The pair of (n-1)-grams that an n-gram is made of is looked up for the number of the n-gram, so that equal numbers mean
equal words. An n-gram can appear twice only if both of its (n-1)-grams do. All other n-grams are not looked up, and
in real text these are nearly all long n-grams.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from corpus.filters.kernels import kernel
from corpus.filters.kernels.chunks import LENGTH

SHORT, LONG = 4, 10  # the longest n of the rules top_n_gram and duplicate_n_gram

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


@kernel
def _number(left: Any, right: Any, grams: Any, keys: Any, numbers: Any, bits: Any, counts: Any) -> Any:
    """The number of the n-gram made of the (n-1)-grams `left` and `right`; `grams` is the number of a new one.

    keys uint64[2^n] and numbers int32[2^n] are a hash table; counts[number] says how often each n-gram was looked up.
    """
    key = uint64(left) << uint64(32) | uint64(right)
    mask = uint64(keys.size - 1)
    slot = key * _MULTIPLIER >> bits
    while numbers[slot] >= 0:
        if keys[slot] == key:
            counts[numbers[slot]] += 1
            return int64(numbers[slot])
        slot = (slot + uint64(1)) & mask
    keys[slot] = key
    numbers[slot] = grams
    counts[grams] = 1
    return int64(grams)


@kernel
def _number_all(shorter: Any, longer: Any, keys: Any, numbers: Any, bits: Any, counts: Any) -> Any:
    """Number the n-grams of a text; returns whether one appears twice.

    shorter  int32: at each place, the number of the (n-1)-gram, or -1 if it appears once
    longer   int32[places]: gets the number of each n-gram, or -1 if it can appear only once
    """
    numbers[:] = -1
    grams, repeats = int64(0), False
    for place in range(longer.size):
        left, right = shorter[place], shorter[place + 1]
        longer[place] = -1
        if left >= 0 and right >= 0:
            number = _number(left, right, grams, keys, numbers, bits, counts)
            longer[place] = number
            if number == grams:
                grams += 1
            else:
                repeats = True
    return repeats


@kernel
def _characters(traits: Any, start: Any, end: Any) -> Any:
    """The characters of the words from `start` to `end`."""
    total = int64(0)
    for at in range(start, end):
        total += traits[at] >> LENGTH
    return total


@kernel
def _top(numbers: Any, counts: Any, traits: Any, n: Any, places: Any) -> Any:
    """The characters of all appearances of the most frequent n-gram, with a space between two words.

    Of n-grams that appear equally often, it is the first.
    """
    best, best_count = int64(0), int64(1)
    for place in range(places):
        number = numbers[place]
        if number >= 0 and counts[number] > best_count:
            best, best_count = int64(place), int64(counts[number])
    return best_count * (_characters(traits, best, best + n) + n - 1)


@kernel
def _seen(numbers: Any, counts: Any, traits: Any, n: Any, places: Any) -> Any:
    """The characters of n-grams that were read before; reading continues behind each one."""
    was_read = np.zeros(places, np.bool_)
    characters, place = int64(0), int64(0)
    while place < places:
        number = numbers[place]
        if number >= 0 and counts[number] > 1:
            if was_read[number]:
                characters += _characters(traits, place, place + n)
                place += n
                continue
            was_read[number] = True
        place += 1
    return characters


@kernel
def repetition(ids: Any, traits: Any, out: Any) -> None:
    """Write to out[n] (int64[11] of zeros) the characters of the top n-gram for n = 2..4, of duplicates for n = 5..10.

    ids int32[words] are not negative; traits int32[words] are as in `kernels.chunks`.
    """
    size = int64(8)
    while size < 2 * ids.size:
        size *= 2
    bits = uint64(64)
    while uint64(1) << (uint64(64) - bits) < uint64(size):
        bits -= uint64(1)
    keys = np.empty(size, np.uint64)
    numbers = np.empty(size, np.int32)
    counts = np.empty(ids.size + 1, np.int32)
    shorter = ids.copy()
    longer = np.empty(ids.size + 1, np.int32)
    repeats = True
    for n in range(2, LONG + 1):
        places = int64(ids.size - n + 1)
        if places <= 0:
            return
        if repeats:
            repeats = _number_all(shorter, longer[:places], keys, numbers, bits, counts)
        elif n <= SHORT:
            longer[:places] = -1
        else:
            return
        if n <= SHORT:
            out[n] = _top(longer, counts, traits, n, places)
        elif repeats:
            out[n] = _seen(longer, counts, traits, n, places)
        else:
            return
        for place in range(places):
            number = longer[place]
            shorter[place] = number if number >= 0 and counts[number] > 1 else -1
