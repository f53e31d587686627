"""The guard's rule, computed at each update from all updates before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def refused(updates: Sequence[tuple[float, float]], sigmas: float) -> list[int]:
    """The indices of the updates, each a loss and a gradient norm, that are refused."""
    admitted: list[int] = []
    for index, (loss, norm) in enumerate(updates):
        good = math.isfinite(loss) and math.isfinite(norm)
        if good and sigmas and len(admitted) >= 128:
            losses = np.array([updates[earlier][0] for earlier in admitted[-128:]])
            norms = np.log([updates[earlier][1] for earlier in admitted[-128:]])
            loss_limit = losses.mean() + sigmas * max(losses.std(ddof=1), 0.01 * abs(losses.mean()))
            norm_limit = math.exp(norms.mean() + sigmas * max(norms.std(ddof=1), 0.2))
            good = bool(loss <= loss_limit and norm <= norm_limit)
        if good:
            admitted.append(index)
    return sorted(set(range(len(updates))) - set(admitted))
