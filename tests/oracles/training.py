"""Slow, obviously right twins of what `model plot` does with the metrics of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def rows_that_count(content: bytes) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that count, in order of steps.

    A row is a line that is an object with a step. When a step comes again, the earlier rows of this step and of later
    steps no longer count.
    """
    rows: list[dict[str, Any]] = []
    for line in content.split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and type(row.get("step")) is int and row["step"] >= 0:
            rows = [earlier for earlier in rows if earlier["step"] < row["step"]] + [row]
    return rows


def finite(value: Any) -> float:
    """The value if it is a finite number, else NaN."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def lowest_and_highest(values: Sequence[float], stretches: int) -> list[int]:
    """The indices of both ends, and of the lowest and the highest value of each of so many equal stretches.

    Of equal values in a stretch the first one counts.
    """
    size = math.ceil(len(values) / stretches)
    if size <= 2:
        return list(range(len(values)))
    indices = {0, len(values) - 1}
    for start in range(0, len(values), size):
        stretch = range(start, min(start + size, len(values)))
        indices |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    return sorted(indices)


def mean_around(values: Sequence[float], at: int, half: int) -> float:
    """The mean of the value at index `at` and of up to `half` values on each side of it."""
    window = values[max(0, at - half) : at + half + 1]
    return math.fsum(window) / len(window)
