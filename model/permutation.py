"""A keyed shuffle of 0 to size - 1 that is computed, not stored. In: positions. Out: window numbers.

A Feistel network permutes the numbers of 2h bits (Luby and Rackoff 1988): each round swaps the halves and mixes a keyed
function of one half into the other one, so that every round can be undone. `size` is usually not a power of two, so
some results fall outside the range. These are permuted again until they fall inside (cycle walking: Black and Rogaway
2002), which keeps the shuffle one-to-one. The n-th window of an epoch is thus known without the windows before it, and
a resumed run needs no state for it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

ROUNDS = 6  # four make a strong pseudo-random permutation; two more because halves of small sets have few bits

U64 = npt.NDArray[np.uint64]


def round_keys(key: str) -> U64:
    """ROUNDS independent 64-bit keys, (ROUNDS,) in uint64, derived from a text by BLAKE2b."""
    digest = hashlib.blake2b(key.encode(), digest_size=8 * ROUNDS).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def permute(positions_N: npt.NDArray[np.integer], size: int, key: str) -> npt.NDArray[np.int64]:
    """Apply the permutation of 0 to `size` - 1 that `key` determines to positions (N,) in that range."""
    keys = round_keys(key)
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    result_N = _encipher(positions_N.astype(np.uint64), half_bits, keys)
    while (outside_N := result_N >= size).any():
        result_N[outside_N] = _encipher(result_N[outside_N], half_bits, keys)
    return result_N.astype(np.int64)


def _encipher(values_N: U64, half_bits: int, keys: U64) -> U64:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left_N, right_N = values_N >> shift, values_N & mask
    for key in keys:
        left_N, right_N = right_N, left_N ^ (_mix(right_N + key) & mask)
    return (left_N << shift) | right_N


def _mix(values_N: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    values_N = (values_N ^ (values_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values_N = (values_N ^ (values_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values_N ^ (values_N >> np.uint64(31))
