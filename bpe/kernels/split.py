"""Cuts text into pretokens: 64 bytes of ASCII at once where it can (`blocks`), else one pretoken (`scan`)."""

from __future__ import annotations

from bpe.kernels import kernel
from bpe.kernels.blocks import BLOCK, Block, classify, starts_cl100k, starts_gpt2, starts_o200k
from bpe.kernels.memory import load16, prefetch, store64, trailing_zeros
from bpe.kernels.scan import BY_REGEX, CL100K, GPT2, next_boundary


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
            # A function of these lines would cost 6%: LLVM does not inline it.
            bits = classify(p)
            size = trailing_zeros(bits[7])
            block = Block(bits[0], bits[1], bits[2], bits[3], bits[4], bits[5], bits[6])
            if scheme == GPT2:
                starts = starts_gpt2(p, size, block)
            elif scheme == CL100K:
                starts = starts_cl100k(p, size, block)
            else:
                starts = starts_o200k(p, size, block)
            starts &= ~1
            if size < BLOCK:
                starts &= (1 << size) - 1
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
