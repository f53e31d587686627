"""Slow, obviously right twins of what `model plot` does to the metrics of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def rows_that_count(content: bytes) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl in order of steps: lines that are objects with a step, and of rows for the same step, or
    for steps after one that was taken again later, only the newest.
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
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def lowest_and_highest(values: Sequence[float], stretches: int) -> list[int]:
    """Indices of the lowest and highest of each of so many equal stretches (the first of equals), and of both ends."""
    size = math.ceil(len(values) / stretches)
    if size <= 2:
        return list(range(len(values)))
    found = {0, len(values) - 1}
    for start in range(0, len(values), size):
        stretch = range(start, min(start + size, len(values)))
        found |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    return sorted(found)


def mean_around(values: Sequence[float], at: int, half: int) -> float:
    """Of `half` values on each side of `at`, as far as there are any."""
    window = values[max(0, at - half) : at + half + 1]
    return math.fsum(window) / len(window)
