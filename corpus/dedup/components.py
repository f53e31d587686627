"""Edges between documents -> the connected component of each document, by union-find over one array in memory.

To join two components makes the lower of their roots the root of both. So the result depends on which documents are
joined, and neither on the order of the edges nor on repeated ones. Memory is 4 bytes a document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.kernels import exchange as kernels

_NARROW = 2**32  # fewer rows than this are counted in 32 bits


def components(rows: int, edges: Iterable[NDArray[np.uint64]]) -> NDArray[Any]:
    """The root of each row, the first row of its component: uint32[rows], or uint64 for 2^32 rows and more.

    `edges` are pairs of rows, uint64[n, 2], portion by portion. Raises ValueError if an edge has a row beyond `rows`.
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
