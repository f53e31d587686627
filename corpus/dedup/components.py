"""Edges between documents -> the connected component of each, by union-find over one array in memory.

Joining makes the lower row the root, so what comes out depends on which documents are joined and on nothing else: not
on the order of the edges, not on how often one comes. Memory is 4 bytes a document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.kernels import exchange as kernels

_NARROW = 2**32  # fewer rows than this are counted in 32 bits


def components(rows: int, edges: Iterable[NDArray[np.uint64]]) -> NDArray[Any]:
    """Each row's root: the first row of its component; uint32 as long as that is wide enough, else uint64.

    `edges` are pairs of rows, uint64[n, 2], portion by portion. Raises ValueError if an edge leads nowhere.
    """
    root = np.arange(rows, dtype=np.uint32 if rows < _NARROW else np.uint64)
    for portion in edges:
        if len(portion) and portion.max() >= rows:
            raise ValueError(
                f"an edge to row {portion.max()} of {rows} documents: it belongs to other signatures; "
                "remove the folders of the deduplication"
            )
        kernels.union_edges(root, portion)
    kernels.flatten(root)
    return root
