"""Muon as its definition reads, one matrix at a time, in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def orthogonalised(matrix_RC: F64) -> F64:
    """The polynomial a x + b x^3 + c x^5, applied five times to the singular values that a decomposition gives."""
    u_RK, s_K, vt_KC = np.linalg.svd(matrix_RC, full_matrices=False)
    s_K = s_K / max(float(np.sqrt((s_K**2).sum())), 1e-7)
    for _ in range(5):
        s_K = 3.4445 * s_K - 4.7750 * s_K**3 + 2.0315 * s_K**5
    return (u_RK * s_K) @ vt_KC


def muon(
    weight_RC: F64,
    gradients: Sequence[F64],
    lr: float,
    momentum: float,
    weight_decay: float,
    rows: Sequence[int] = (),
) -> F64:
    """The weight after one update for each gradient; `rows` are the heights of the maps stacked in it."""
    weight_RC = weight_RC.copy()
    average_RC = np.zeros_like(weight_RC)
    edges = np.cumsum([0, *(rows or [len(weight_RC)])])
    for gradient_RC in gradients:
        average_RC = momentum * average_RC + (1 - momentum) * gradient_RC
        ahead_RC = momentum * average_RC + (1 - momentum) * gradient_RC
        weight_RC *= 1 - lr * weight_decay
        for top, bottom in itertools.pairwise(edges):
            longest = max(bottom - top, weight_RC.shape[1])
            weight_RC[top:bottom] -= lr * 0.2 * np.sqrt(longest) * orthogonalised(ahead_RC[top:bottom])
    return weight_RC
