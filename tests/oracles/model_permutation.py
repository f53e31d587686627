"""The Feistel permutation one number at a time, in Python's integers."""

from __future__ import annotations

from collections.abc import Sequence

WORD = 2**64 - 1


def mix(value: int) -> int:
    """The finaliser of SplitMix64."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & WORD
    return value ^ (value >> 31)


def permute_one(position: int, size: int, keys: Sequence[int]) -> int:
    """The number at `position` of the permutation of 0 to size - 1 with these round keys."""
    half_bits = 1
    while 4**half_bits < size:
        half_bits += 1
    value = position
    while True:
        left, right = divmod(value, 2**half_bits)
        for key in keys:
            left, right = right, left ^ (mix((right + key) & WORD) % 2**half_bits)
        value = left * 2**half_bits + right
        if value < size:
            return value
