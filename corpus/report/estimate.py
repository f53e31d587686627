"""How many documents the pre-screen of languages lost, estimated from a sample.

The pre-screen drops most of the pages that it judges; a sample of them it lets through all the same.

In: the funnel's line of the stage `prescreen`: N pages dropped, M more pages let through for the sample, K pages of the
sample kept by every later stage of that pass. Out: about N * K / M documents lost, with an interval. The interval is
Clopper and Pearson's (Biometrika 26, 1934), which holds for any K and M. The usual approximations promise too much when
shares are near 0, as they are here. With a small sample the interval is wide, as it should be.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from corpus.report.funnel import Funnel

_CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """Documents lost: the most likely number and the ends of the interval; None if nothing was sampled."""

    dropped: int
    sampled: int
    sampled_kept: int
    lost: float | None
    lost_low: float | None
    lost_high: float | None


def estimate(funnel: Funnel) -> Estimate | None:
    """The estimate over all lines of the pre-screen; None if it dropped nothing and sampled nothing."""
    lines = [line for line in funnel.lines if line.stage == "prescreen"]
    dropped = sum(line.dropped.get("prescreen.language", 0) for line in lines)
    sampled, kept = (sum(line.sums.get(name, 0) for line in lines) for name in ("sampled", "sampled_kept"))
    if not dropped + sampled:
        return None
    if not sampled:
        return Estimate(dropped, sampled, kept, None, None, None)
    low, high = interval(kept, sampled)
    return Estimate(dropped, sampled, kept, dropped * kept / sampled, dropped * low, dropped * high)


def estimate_json(lost: Estimate | None) -> dict[str, Any] | None:
    """The estimate for programs; None if there is none."""
    return lost._asdict() if lost else None


def estimate_text(lost: Estimate) -> str:
    """The estimate in a sentence."""
    dropped = f"pre-screen: {lost.dropped:,} dropped"
    if lost.lost is None or lost.lost_low is None or lost.lost_high is None:
        return f"{dropped}, none sampled -> how many documents that lost is not known (see --prescreen-sample)"
    return (
        f"{dropped}, {lost.sampled:,} sampled through the full path, {lost.sampled_kept:,} of them kept by all stages "
        f"of that pass -> about {lost.lost:,.0f} documents lost "
        f"(95% interval {lost.lost_low:,.0f} to {math.ceil(lost.lost_high):,}, Clopper-Pearson)"
    )


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval for the probability of a hit, after `hits` in `trials` > 0."""
    from scipy.special import betaincinv  # the quantiles of the beta distribution; scipy.stats takes 0.4 s to load

    tail = (1 - _CONFIDENCE) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
