"""What the pre-screen lost, estimated from the sample of its verdicts that was not carried out.

In: the funnel's line of the stage `prescreen`: N pages dropped, M more that only the sample let through, K of these
kept by every later stage of the same pass. Out: about N * K / M documents lost, with an interval. It is Clopper and
Pearson's (Biometrika 26, 1934), which holds for any K and M: the shares here are near 0, where the usual
approximations promise too much. With few pages sampled it is wide, as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from corpus.report.funnel import Funnel

_CONFIDENCE = 0.95
_HALVINGS = 60  # of the interval 0 to 1, to the last digit


class Estimate(NamedTuple):
    """Documents lost: the likeliest number and the ends of the interval; None where nothing was sampled."""

    dropped: int
    sampled: int
    sampled_kept: int
    lost: float | None
    lost_low: float | None
    lost_high: float | None


def estimate(funnel: Funnel) -> Estimate | None:
    """The estimate over all lines of the pre-screen; None if it had nothing to drop."""
    lines = [line for line in funnel.lines if line.stage == "prescreen"]
    dropped = sum(line.dropped.get("prescreen.language", 0) for line in lines)
    sampled, kept = (sum(line.sums.get(name, 0) for line in lines) for name in ("sampled", "sampled_kept"))
    if not dropped + sampled:
        return None
    if not sampled:
        return Estimate(dropped, sampled, kept, None, None, None)
    low, high = interval(kept, sampled)
    return Estimate(dropped, sampled, kept, dropped * kept / sampled, dropped * low, dropped * high)


def estimate_json(found: Estimate | None) -> dict[str, Any] | None:
    """The estimate for programs; None where there is none."""
    return found._asdict() if found else None


def estimate_text(found: Estimate) -> str:
    """The estimate in a sentence."""
    said = f"pre-screen: {found.dropped:,} dropped"
    if found.lost is None or found.lost_low is None or found.lost_high is None:
        return f"{said}, none sampled -> how many documents that lost is not known (see --prescreen-sample)"
    return (
        f"{said}, {found.sampled:,} sampled through the full path, {found.sampled_kept:,} of them kept by all stages "
        f"of that pass -> about {found.lost:,.0f} documents lost "
        f"(95% interval {found.lost_low:,.0f} to {math.ceil(found.lost_high):,}, Clopper-Pearson)"
    )


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's interval, at 95%, for the probability of which `hits` of `trials` > 0 came true."""
    tail = (1 - _CONFIDENCE) / 2
    low = _where(lambda p: 1 - _at_most(hits - 1, trials, p) > tail) if hits else 0.0
    high = _where(lambda p: _at_most(hits, trials, p) < tail) if hits < trials else 1.0
    return low, high


def _where(is_above: Callable[[float], bool]) -> float:
    """The probability from which on `is_above` is true."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return high


def _at_most(hits: int, trials: int, p: float) -> float:
    """The probability of so many hits or fewer, each trial hitting with probability 0 < p < 1."""
    each = math.log(p), math.log1p(-p)
    all_ways = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(all_ways - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * each[0] + (trials - k) * each[1])
        for k in range(hits + 1)
    )
