"""Training metrics -> the loss curve, as an SVG for use inside an HTML page.

In: rows of metrics.jsonl. Out: an <svg> element. Its letters are text, and its axes take the colour of the page around
it, so that one picture fits a light page, a dark page and paper. The same rows give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_POINTS = 800  # more points than pixels would only make the line thicker
_LARGEST = sys.float_info.max
_INK = "#010203"  # stands for "the page's own colour" until the figure is written


def loss_curve(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """An <svg> of `loss` and, where rows have it, `validation_loss` over `step`; None if no row has a finite loss."""
    training, validation = points(rows, "loss"), points(rows, "validation_loss")
    if not training and not validation:
        return None
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "corpus", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(5.6, 2.9), layout="tight")
        axes = figure.add_subplot()
        if training:
            axes.plot(*zip(*thinned(training), strict=True), color="#3b82c4", linewidth=1.5, label="training loss")
        if validation:
            axes.plot(
                *zip(*validation, strict=True), color="#d97706", linewidth=1.5, marker="o", markersize=4,
                label="validation loss",
            )  # fmt: skip
        _dress(axes)
        out = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(out, metadata=nothing)
    return _embeddable(out.getvalue(), describe(training, validation))


def points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of every row that has a finite `name`."""
    values = ((row.get("step"), row.get(name)) for row in rows)
    return [
        (step, float(value))
        for step, value in values
        if isinstance(step, int) and isinstance(value, int | float) and abs(step) < 1 << 53 and abs(value) <= _LARGEST
    ]


def thinned(series: Sequence[tuple[int, float]], most: int = _POINTS) -> list[tuple[float, float]]:
    """At most `most` points: the means of equal runs of neighbours."""
    run = -(-len(series) // most)
    runs = [series[start : start + run] for start in range(0, len(series), max(run, 1))]
    return [
        (sum(step for step, _ in part) / len(part), math.fsum(value for _, value in part) / len(part)) for part in runs
    ]


def describe(training: Sequence[tuple[int, float]], validation: Sequence[tuple[int, float]]) -> str:
    """The curve in words, for readers who do not see it."""
    parts = []
    for name, series in (("Training", training), ("Validation", validation)):
        if series:
            (first_step, first), (last_step, last) = series[0], series[-1]
            parts.append(f"{name} loss {first:.3g} at step {first_step:,}, {last:.3g} at step {last_step:,}.")
    return " ".join(parts)


def _dress(axes: Any) -> None:
    axes.set_xlabel("step", color=_INK)
    axes.set_ylabel("loss (nats per token)", color=_INK)
    axes.tick_params(colors=_INK)
    axes.grid(True, color=_INK, alpha=0.12, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK)


def _embeddable(svg: str, description: str) -> str:
    """The <svg> alone, without prolog, metadata and fixed size, with a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg)
    svg = svg.replace(_INK, "currentColor")
    title = f'<title id="loss-title">Loss over training steps. {description}</title>'
    return re.sub(r"^<svg ([^>]*)>", rf'<svg \1 role="img" aria-labelledby="loss-title">{title}', svg, count=1)
