"""Curves of several runs -> one chart, as an <svg> to stand inside an HTML page.

Drawn here and not by a plotting library because a chart must be small whatever the length of the runs, take its
colours from the page (light, dark, paper), and let the page's script read the values under the pointer back from the
paths: the svg tells the ends of its axes in data attributes.

A long curve is drawn by the lowest and the highest value of each of some hundred stretches, so that a spike of one
step in a million is as visible as it would be among all points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 560, 300  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 12, 40  # margins around the axes
INNER = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM)  # between the axes
_STRETCHES = 400  # about one for a unit of the width
_SMOOTHING = 0.01  # half of the moving mean's window / length of the run
_SMOOTHING_STEPS = 8  # half of the window of a short run
_BEGINNING = 0.04  # share of the longest run that may leave the top of the picture
_OUTLIERS = 2  # percent of the faint line's points at each end that may leave the picture
_LOGARITHMIC = 10  # highest / lowest value from which on the axis is logarithmic
_HIGHEST = 1e100  # a higher value, of a run that diverged, counts as this, so that sums stay finite
_DOTS = 100  # more measured points than that are drawn as a line alone


class Curve(NamedTuple):
    """One run's values. `kind`: "mean" is drawn as a moving mean above the faint single values, "line" as it is,
    "dots" as points on a broken line.
    """

    run: int  # number of the run, which gives the colour
    name: str  # of the run
    x_N: Floats  # ascending; NaN where not known
    y_N: Floats  # NaN where there is none
    kind: str


class Axis(NamedTuple):
    low: float
    high: float
    logarithmic: bool = False

    def place(self, values: Floats) -> Floats:
        """0 at the low end, 1 at the high one."""
        if self.logarithmic:
            floored = np.maximum(values, self.low * 1e-3)  # zero and less: below the picture
            placed: Floats = np.log(floored / self.low) / math.log(self.high / self.low)
        else:
            with np.errstate(over="ignore"):  # infinitely far outside is outside
                placed = (values - self.low) / (self.high - self.low)
        return placed

    def ticks(self) -> list[float]:
        """Round numbers, 1, 2 or 5 times a power of ten, between the ends."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = max(1, len(powers) // 6)
            digits = (1, 2, 5) if self.high / self.low < 300 else (1,)
            marks = [digit * 10.0**power for power in powers[::every] for digit in digits]
        else:
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.99)
            marks = [
                n * step for n in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
            ]
        return [mark for mark in marks if self.low * (1 - 1e-9) <= mark <= self.high * (1 + 1e-9)]


class Chart(NamedTuple):
    svg: str
    notes: list[str]  # on what is higher than the picture


def chart(
    title: str,
    curves: Sequence[Curve],
    x_name: str,
    format_y: Callable[[float], str],
    *,
    from_zero: bool = False,
    marks: Sequence[tuple[int, float, str]] = (),
) -> Chart | None:
    """None if no curve has a point. `marks`: (run, x, text) of crosses on the x axis."""
    shown = [drawn for curve in curves if len((drawn := _present(curve)).x_N)]
    if not shown:
        return None
    x_axis = Axis(0.0, max(1.0, *(curve.x_N[-1] for curve in shown)))
    beginning = x_axis.high * _BEGINNING
    y_axis = y_range(shown, beginning, from_zero)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" data-x="0 {x_axis.high:.10g}" '
        f'data-y="{y_axis.low:.10g} {y_axis.high:.10g}" data-log="{int(y_axis.logarithmic)}">',
        f"<title>{escape(f'{title} over {x_name}. {describe(shown, format_y)}')}</title>",
        *_grid(x_axis, y_axis, x_name, format_y),
        f'<svg x="{LEFT}" y="{TOP}" width="{INNER[0]}" height="{INNER[1]}" overflow="hidden">',
    ]
    faint = [_path(curve.run, "faint", *_extremes(curve), x_axis, y_axis) for curve in shown if curve.kind == "mean"]
    parts += faint
    for curve in shown:
        if curve.kind == "mean":
            parts.append(_path(curve.run, "line", *smoothed(curve.x_N, curve.y_N), x_axis, y_axis))
        elif curve.kind == "line":
            parts.append(_path(curve.run, "line", *_extremes(curve), x_axis, y_axis))
        else:
            x_N, y_N = _extremes(curve)
            parts.append(_path(curve.run, "line broken", x_N, y_N, x_axis, y_axis))
            if len(x_N) <= _DOTS:
                parts.append(_path(curve.run, "dots", x_N, y_N, x_axis, y_axis))
    for run, x, text in marks:
        left = float(x_axis.place(np.array([x]))[0]) * INNER[0]
        parts.append(
            f'<path class="cross r{run}" d="M{left - 3:.1f} {INNER[1] - 9}l6 6m0 -6l-6 6"><title>{escape(text)}'
            "</title></path>"
        )
    return Chart("".join((*parts, "</svg></svg>")), _above(shown, beginning, y_axis, x_name, format_y))


def _present(curve: Curve) -> Curve:
    there_N = ~(np.isnan(curve.x_N) | np.isnan(curve.y_N))
    return curve._replace(x_N=curve.x_N[there_N], y_N=np.clip(curve.y_N[there_N], -_HIGHEST, _HIGHEST))


def y_range(curves: Sequence[Curve], beginning: float, from_zero: bool) -> Axis:
    """An axis for what is to be compared: of kind "line" all values, of the others all means and points after
    `beginning` and nearly all single values. A run starts at a loss three times that of its end, and a spike can be
    any height; an axis that held both would show the runs as one line.
    """
    lows, highs = [], []
    for curve in curves:
        late_N = curve.x_N >= (0 if curve.kind == "line" else min(beginning, curve.x_N[-1]))
        y_N = curve.y_N[late_N]
        if curve.kind == "mean":
            lowest, highest = np.percentile(y_N[extremes(y_N)], (_OUTLIERS, 100 - _OUTLIERS))
            y_N = np.append(smoothed(curve.x_N, curve.y_N, beginning)[1], (lowest, highest))
        lows.append(y_N.min())
        highs.append(y_N.max())
    low, high = float(min(lows)), float(max(highs))
    if not from_zero and low > 0 and high / low > _LOGARITHMIC:
        return Axis(low / 1.1, high * 1.1, logarithmic=True)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return Axis(min(0.0, low), high + room) if from_zero else Axis(low - room, high + room)


def extremes(y_N: Floats, stretches: int = _STRETCHES) -> NDArray[np.int64]:
    """Indices, ascending, of the lowest and the highest value in each of at most `stretches` equal stretches, and of
    both ends; of all values if they are no more than that.
    """
    size = -(-len(y_N) // stretches)
    if size <= 2:
        return np.arange(len(y_N))
    padded = np.append(y_N, np.full(-len(y_N) % size, y_N[-1])).reshape(-1, size)
    starts = np.arange(len(padded)) * size
    found = np.concatenate(([0, len(y_N) - 1], starts + padded.argmin(axis=1), starts + padded.argmax(axis=1)))
    return np.unique(np.minimum(found, len(y_N) - 1))


def smoothed(x_N: Floats, y_N: Floats, start: float = -math.inf) -> tuple[Floats, Floats]:
    """A moving mean, taken at some hundred places from `start` on (at least at the last).

    The window is a fiftieth of the run around each value, and smaller at the beginning, where the loss falls too fast
    for the mean of what is around to be what is there.
    """
    n = len(y_N)
    first = min(int(np.searchsorted(x_N, start)), n - 1)
    at = np.unique(np.linspace(first, n - 1, min(2 * _STRETCHES, n - first)).round().astype(np.int64))
    half = np.minimum(at // 4, max(int(n * _SMOOTHING), min(_SMOOTHING_STEPS, n // 20)))
    # One by one and not from running sums, in which a spike would take the digits of all that comes after it.
    means = [y_N[low:high].mean() for low, high in zip(at - half, at + half + 1, strict=True)]
    return x_N[at], np.array(means)


def describe(curves: Sequence[Curve], format_y: Callable[[float], str]) -> str:
    """The chart in words, for those who do not see it."""
    words = {"mean": "", "line": "", "dots": " (held out)"}
    return " ".join(
        f"{curve.name}{words[curve.kind]}: {format_y(curve.y_N[0])} at first, {format_y(curve.y_N[-1])} at last."
        for curve in curves
    )


def _above(
    curves: Sequence[Curve], beginning: float, y_axis: Axis, x_name: str, format_y: Callable[[float], str]
) -> list[str]:
    """The highest spike of each curve that is at least as far above the picture as the picture is high."""
    notes = []
    for curve in curves:
        late = int(np.searchsorted(curve.x_N, beginning))
        if late < len(curve.y_N):
            at = late + int(curve.y_N[late:].argmax())
            if y_axis.place(curve.y_N[at : at + 1])[0] >= 2:
                where = f"{format_y(curve.y_N[at])} at {short(curve.x_N[at])} {x_name}"
                notes.append(f"{curve.name} leaves the picture: {where}")
    return notes


# --- drawing ---------------------------------------------------------------------------------------------------


def _extremes(curve: Curve) -> tuple[Floats, Floats]:
    at = extremes(curve.y_N)
    return curve.x_N[at], curve.y_N[at]


def _path(run: int, kind: str, x_N: Floats, y_N: Floats, x_axis: Axis, y_axis: Axis) -> str:
    # Far outside the picture a coordinate may be anything, and need not be long.
    left_N = x_axis.place(x_N) * INNER[0]
    top_N = np.clip((1 - y_axis.place(y_N)) * INNER[1], -2 * HEIGHT, 3 * HEIGHT)
    points = [f"{left:.1f} {top:.1f}" for left, top in zip(left_N.tolist(), top_N.tolist(), strict=True)]
    if kind == "dots":  # a line of no length, whose round ends are a dot
        d = "".join(f"M{point}h0" for point in points)
    else:
        d = "M" + ("L".join(points) if len(points) > 1 else f"{points[0]}h1")
    return f'<path class="{kind} r{run}" d="{d}"/>'


def _grid(x_axis: Axis, y_axis: Axis, x_name: str, format_y: Callable[[float], str]) -> list[str]:
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for mark, place in _placed(y_axis):
        top = bottom - place * INNER[1]
        parts.append(f'<path class="grid" d="M{LEFT} {top:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{top + 3.5:.1f}" text-anchor="end">{escape(format_y(mark))}</text>')
    for mark, place in _placed(x_axis):
        left = LEFT + place * INNER[0]
        parts.append(f'<path class="grid" d="M{left:.1f} {bottom}v4"/>')
        parts.append(f'<text x="{left:.1f}" y="{bottom + 16}" text-anchor="middle">{short(mark)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text x="{LEFT + INNER[0] / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    return parts


def _placed(axis: Axis) -> list[tuple[float, float]]:
    marks = axis.ticks()
    return list(zip(marks, axis.place(np.array(marks)).tolist(), strict=True))


def short(number: float) -> str:
    """A count as people read it: 512, 1.5 k, 20 M, 1.2 B."""
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size * 0.99995:
            return f"{number / size:.4g}{unit}"
    return f"{number:.4g}"
