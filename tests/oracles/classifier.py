"""The area under a curve, and the score of the best share, by their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def area_under_curve(positive: Sequence[bool], scores: Sequence[float]) -> float:
    """The share of pairs of a good and a bad example in which the good one scores higher; a tie counts half."""
    good = [score for is_good, score in zip(positive, scores, strict=True) if is_good]
    others = [score for is_good, score in zip(positive, scores, strict=True) if not is_good]
    wins = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in itertools.product(good, others))
    return wins / (len(good) * len(others))


def cutoff(scores: Sequence[float], share: float) -> float:
    """The lowest score among the best `share`."""
    wanted = max(1, int(share * len(scores) + 0.5))
    return sorted(scores, reverse=True)[wanted - 1]
