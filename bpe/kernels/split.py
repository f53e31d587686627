"""Cuts text into pretokens: in blocks of 64 ASCII bytes where it can (`blocks`), else one pretoken at a time (`scan`)."""

from __future__ import annotations

from bpe.kernels import kernel
from bpe.kernels.blocks import BLOCK, block_starts
from bpe.kernels.memory import load16, prefetch, store64, trailing_zeros
from bpe.kernels.scan import BY_REGEX, next_boundary


@kernel
def next_ends(scheme: int, p: int, end: int, classes: int, ends: int, capacity: int) -> int:
    """Write the ends of the pretokens from address p < end on to `ends`; returns how many, 1 to `capacity`.

    `ends` is the address of `capacity` int64, which receive addresses in the text; the next call starts at the last of
    them. `scheme` and `classes` are those of `scan.next_boundary`.
    """
    n = 0
    while p < end and n < capacity:
        if p + BLOCK <= end and scheme != BY_REGEX and load16(p) & 0x8080 == 0:
            if n + BLOCK > capacity and n > 0:
                break
            prefetch(p + 16 * BLOCK)  # blocks are read in bursts, which the processor does not predict
            starts = block_starts(scheme, p)
            if starts and n + BLOCK <= capacity:
                start = p
                while starts:
                    p = start + trailing_zeros(starts)
                    store64(ends + 8 * n, p)
                    n += 1
                    starts &= starts - 1
                continue
        p = next_boundary(scheme, p, end, classes)
        store64(ends + 8 * n, p)
        n += 1
    return n
