"""The trainer's first half: counting pretokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpe.kernels import kernel
from bpe.kernels.memory import hash_bytes, load8, same
from bpe.kernels.split import next_boundary


@kernel
def count_pretokens(
    scheme: int,
    text: int,
    limit: int,
    offsets: NDArray[np.int64],
    classes: int,
    progress: NDArray[np.int64],
    slots: NDArray[np.uint64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    arena: NDArray[np.uint8],
) -> bool:
    """Count each different pretoken of the texts; False when a table is full: enlarge it and call again.

    `progress` is [texts done, bytes done of the next, different pretokens so far]. Pretoken i is the bytes
    `arena[starts[i] : starts[i + 1]]`, seen `counts[i]` times. A slot holds 32 bits of hash over the pretoken's
    number plus one; the table stays at most half full.
    """
    arena_address, mask = arena.ctypes.data, len(slots) - 1
    words = progress[2]
    for i in range(progress[0], len(offsets) - 1):
        p, end = text + offsets[i] + progress[1], text + offsets[i + 1]
        while p < end:
            q = next_boundary(scheme, p, end, classes)
            n = q - p
            tag = hash_bytes(p, n, limit)
            slot = tag & mask
            while True:
                entry = np.int64(slots[slot])
                word = (entry & 0xFFFFFFFF) - 1
                if entry == 0:
                    start = starts[words]
                    if 2 * words >= mask or words + 1 >= len(starts) or start + n > len(arena):
                        progress[0], progress[1], progress[2] = i, p - text - offsets[i], words
                        return False
                    for k in range(n):
                        arena[start + k] = load8(p + k)
                    slots[slot] = tag << 32 | (words + 1)
                    counts[words] = 1
                    words += 1
                    starts[words] = start + n
                    break
                same_length = starts[word + 1] - starts[word] == n
                if same_length and entry >> 32 & 0xFFFFFFFF == tag and same(p, arena_address + starts[word], n):
                    counts[word] += 1
                    break
                slot = (slot + 1) & mask
            p = q
        progress[1] = 0
    progress[0], progress[2] = len(offsets) - 1, words
    return True


@kernel
def rehash_pretokens(old: NDArray[np.uint64], new: NDArray[np.uint64]) -> None:
    """Move the slots of `count_pretokens` to a larger table (all zero)."""
    mask = len(new) - 1
    for entry in old:
        if entry:
            slot = (np.int64(entry) >> 32) & mask
            while new[slot]:
                slot = (slot + 1) & mask
            new[slot] = entry
