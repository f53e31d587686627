"""Charts. In: the curves of several runs. Out: an <svg> element for an HTML page.

A plotting library would not do: a chart must be small whatever the length of the runs, and take its colours from the
page (light, dark, paper). The page's script shows the values under the pointer, which it computes from the paths and
from data attributes with the ends of the axes.

A long curve is cut into some hundred stretches, of which only the lowest and the highest value are drawn. So a spike of
one step in a million is as visible as among all points.

Array names: N points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 560, 300  # of the whole chart, in units of the svg
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 12, 40  # margins around the plot area
INNER = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM)  # size of the plot area
_STRETCHES = 400  # of a curve: about one for each unit of the width
_SMOOTHING = 0.01  # half of the moving mean's window, as a share of the run
_SMOOTHING_STEPS = 8  # half of the moving mean's window in a short run
_BEGINNING = 0.04  # share of the longest run, at its beginning, whose values may lie above the plot area
_OUTLIERS = 2  # percent of the single values at each end that may lie outside the plot area
_LOGARITHMIC = 10  # the y axis is logarithmic if the highest value is more than so many times the lowest
_HIGHEST = 1e100  # higher values, of a run that diverged, are drawn as this, so that sums stay finite
_DOTS = 100  # a curve of kind "dots" with more points is drawn as a line without dots


class Curve(NamedTuple):
    """The values of one run."""

    run: int  # number of the run, which determines the colour
    name: str  # of the run
    x_N: Floats  # ascending; NaN where not known
    y_N: Floats  # NaN where there is no value
    kind: str  # "mean": a moving mean over faint single values; "line": a line; "dots": points on a broken line


class Axis(NamedTuple):
    """The values at the ends of an axis."""

    low: float
    high: float
    logarithmic: bool = False

    def place(self, values: Floats) -> Floats:
        """The positions of values on the axis: 0 at the low end, 1 at the high end, beyond that outside."""
        if self.logarithmic:
            positive = np.maximum(values, self.low * 1e-3)  # zero and less are drawn below the plot area
            positions: Floats = np.log(positive / self.low) / math.log(self.high / self.low)
        else:
            with np.errstate(over="ignore"):  # an infinite position lies outside too
                positions = (values - self.low) / (self.high - self.low)
        return positions

    def ticks(self) -> list[float]:
        """The values to label, between the ends: 1, 2 or 5 times powers of ten."""
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
    """A drawn chart."""

    svg: str
    notes: list[str]  # on spikes that lie far above the plot area


def chart(
    title: str,
    curves: Sequence[Curve],
    x_name: str,
    format_y: Callable[[float], str],
    *,
    from_zero: bool = False,
    marks: Sequence[tuple[int, float, str]] = (),
) -> Chart | None:
    """Draw curves over an x axis called `x_name`; None if no curve has a point.

    `format_y` makes the text of a y value. `from_zero` lets the y axis begin at 0. `marks` are crosses on the x axis:
    the number of a run, x and a text.
    """
    drawn = [points for curve in curves if len((points := _without_gaps(curve)).x_N)]
    if not drawn:
        return None
    x_axis = Axis(0.0, max(1.0, *(curve.x_N[-1] for curve in drawn)))
    beginning = x_axis.high * _BEGINNING
    y_axis = y_range(drawn, beginning, from_zero)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" data-x="0 {x_axis.high:.10g}" '
        f'data-y="{y_axis.low:.10g} {y_axis.high:.10g}" data-log="{int(y_axis.logarithmic)}">',
        f"<title>{escape(f'{title} over {x_name}. {describe(drawn, format_y)}')}</title>",
        *_grid(x_axis, y_axis, x_name, format_y),
        f'<svg x="{LEFT}" y="{TOP}" width="{INNER[0]}" height="{INNER[1]}" overflow="hidden">',
    ]
    # All faint lines come first, so that they lie below all other lines.
    parts += [_path(curve.run, "faint", *_extremes(curve), x_axis, y_axis) for curve in drawn if curve.kind == "mean"]
    for curve in drawn:
        if curve.kind == "mean":
            parts.append(_path(curve.run, "line", *smoothed(curve.x_N, curve.y_N), x_axis, y_axis))
        elif curve.kind == "line":
            parts.append(_path(curve.run, "line", *_extremes(curve), x_axis, y_axis))
        else:
            x_N, y_N = _extremes(curve)
            parts.append(_path(curve.run, "line broken", x_N, y_N, x_axis, y_axis))
            if len(x_N) <= _DOTS:
                parts.append(_path(curve.run, "dots", x_N, y_N, x_axis, y_axis))
    parts += [_cross(run, x, text, x_axis) for run, x, text in marks]
    return Chart("".join((*parts, "</svg></svg>")), _spikes(drawn, beginning, y_axis, x_name, format_y))


def _without_gaps(curve: Curve) -> Curve:
    """The curve without its NaNs, and with values up to _HIGHEST."""
    known_N = ~(np.isnan(curve.x_N) | np.isnan(curve.y_N))
    return curve._replace(x_N=curve.x_N[known_N], y_N=np.clip(curve.y_N[known_N], -_HIGHEST, _HIGHEST))


def y_range(curves: Sequence[Curve], beginning: float, from_zero: bool) -> Axis:
    """A y axis on which the runs can be compared.

    It holds all values of curves of kind "line", and for other curves the means and points after `beginning` and
    nearly all single values. A run begins at three times the loss that it ends with, and a spike can have any height;
    on an axis that held all of that the runs would look like one line.
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
    """The indices of the values to draw, ascending: in each stretch the lowest and the highest, and both ends.

    The curve is cut into at most `stretches` equal stretches. If a stretch would have no more than two values, all
    values are drawn.
    """
    size = -(-len(y_N) // stretches)
    if size <= 2:
        return np.arange(len(y_N))
    stretch_SN = np.append(y_N, np.full(-len(y_N) % size, y_N[-1])).reshape(-1, size)
    starts_S = np.arange(len(stretch_SN)) * size
    lowest_S, highest_S = starts_S + stretch_SN.argmin(axis=1), starts_S + stretch_SN.argmax(axis=1)
    return np.unique(np.minimum(np.concatenate(([0, len(y_N) - 1], lowest_S, highest_S)), len(y_N) - 1))


def smoothed(x_N: Floats, y_N: Floats, start: float = -math.inf) -> tuple[Floats, Floats]:
    """x and y of a moving mean, at some hundred points from `start` on, or at least at the last value.

    The mean is over a fiftieth of the run around a point. At the beginning it is over less, because the loss falls so
    fast there that the mean of many values would lie above the value itself.
    """
    n = len(y_N)
    first = min(int(np.searchsorted(x_N, start)), n - 1)
    centres = np.unique(np.linspace(first, n - 1, min(2 * _STRETCHES, n - first)).round().astype(np.int64))
    half = np.minimum(centres // 4, max(int(n * _SMOOTHING), min(_SMOOTHING_STEPS, n // 20)))
    # Each mean is computed by itself: in differences of running sums a spike would cost all later means their digits.
    means = [y_N[low:high].mean() for low, high in zip(centres - half, centres + half + 1, strict=True)]
    return x_N[centres], np.array(means)


def describe(curves: Sequence[Curve], format_y: Callable[[float], str]) -> str:
    """The chart in words, for people who cannot see it."""
    words = {"mean": "", "line": "", "dots": " (held out)"}
    return " ".join(
        f"{curve.name}{words[curve.kind]}: {format_y(curve.y_N[0])} at first, {format_y(curve.y_N[-1])} at last."
        for curve in curves
    )


def _spikes(
    curves: Sequence[Curve], beginning: float, y_axis: Axis, x_name: str, format_y: Callable[[float], str]
) -> list[str]:
    """A note on the highest spike of each curve that lies above the plot area by at least the area's height."""
    notes = []
    for curve in curves:
        late = int(np.searchsorted(curve.x_N, beginning))
        if late < len(curve.y_N):
            top = late + int(curve.y_N[late:].argmax())
            if y_axis.place(curve.y_N[top : top + 1])[0] >= 2:
                point = f"{format_y(curve.y_N[top])} at {short(curve.x_N[top])} {x_name}"
                notes.append(f"{curve.name} leaves the picture: {point}")
    return notes


# --- drawing ---------------------------------------------------------------------------------------------------


def _extremes(curve: Curve) -> tuple[Floats, Floats]:
    indices = extremes(curve.y_N)
    return curve.x_N[indices], curve.y_N[indices]


def _cross(run: int, x: float, text: str, x_axis: Axis) -> str:
    left = float(np.clip(x_axis.place(np.array([x])), -1, 2)[0]) * INNER[0]
    shape = f"M{left - 3:.1f} {INNER[1] - 9}l6 6m0 -6l-6 6"
    return f'<path class="cross r{run}" d="{shape}"><title>{escape(text)}</title></path>'


def _path(run: int, kind: str, x_N: Floats, y_N: Floats, x_axis: Axis, y_axis: Axis) -> str:
    # Coordinates far outside the plot area are cut off, so that they have few digits.
    left_N = np.clip(x_axis.place(x_N), -1, 2) * INNER[0]
    top_N = np.clip((1 - y_axis.place(y_N)) * INNER[1], -2 * HEIGHT, 3 * HEIGHT)
    points = [f"{left:.1f} {top:.1f}" for left, top in zip(left_N.tolist(), top_N.tolist(), strict=True)]
    if kind == "dots":  # each dot is a line without length, whose ends are round
        d = "".join(f"M{point}h0" for point in points)
    else:
        d = "M" + ("L".join(points) if len(points) > 1 else f"{points[0]}h1")
    return f'<path class="{kind} r{run}" d="{d}"/>'


def _grid(x_axis: Axis, y_axis: Axis, x_name: str, format_y: Callable[[float], str]) -> list[str]:
    parts = []
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value, position in _ticks(y_axis):
        top = bottom - position * INNER[1]
        parts.append(f'<path class="grid" d="M{LEFT} {top:.1f}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{top + 3.5:.1f}" text-anchor="end">{escape(format_y(value))}</text>')
    for value, position in _ticks(x_axis):
        left = LEFT + position * INNER[0]
        parts.append(f'<path class="grid" d="M{left:.1f} {bottom}v4"/>')
        parts.append(f'<text x="{left:.1f}" y="{bottom + 16}" text-anchor="middle">{short(value)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(f'<text x="{LEFT + INNER[0] / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    return parts


def _ticks(axis: Axis) -> list[tuple[float, float]]:
    """The value and the position of each tick."""
    values = axis.ticks()
    return list(zip(values, axis.place(np.array(values)).tolist(), strict=True))


def short(number: float) -> str:
    """A number with four digits and a unit: 512, 1.5 k, 20 M, 1.2 B."""
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size * 0.99995:
            return f"{number / size:.4g}{unit}"
    return f"{number:.4g}"
