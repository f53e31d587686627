"""An HTML page that compares runs. In: the histories of runs, finished or not. Out: one HTML file.

The file contains its style, its charts and a few lines of script, which show the values under the pointer. It loads
nothing from the network, and without scripts only those values are missing. Equal runs give equal bytes.

Curves are drawn over the tokens that a run was trained on, so that runs with batches of different sizes can be
compared; the page can also show them over steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bpe.whole import make_folder, write_whole
from model.chart import INNER, LEFT, WIDTH, Chart, Curve, chart, short
from model.history import Figures, History, differing, figures, section, settings

_SAMPLES = 24  # most steps of a run whose samples are shown
_LONGEST = 2_000  # most characters of a sample that are shown
_CROSSES = 200  # most skipped updates of a run that are marked in the chart of its loss
_TITLE = 4  # most runs that the page's title names
_COLOURS = 8  # in the template's palette; further runs get a computed colour


class _Picture(NamedTuple):
    """The charts of one quantity: one over tokens and one over steps."""

    title: str
    unit: str
    fields: tuple[tuple[str, str], ...]  # fields of metrics.jsonl, each with the kind of its curves (model/chart.py)
    from_zero: bool = False  # whether the y axis begins at 0
    scale: float = 1  # values are multiplied by this before they are shown
    suffix: str = ""  # after each value


PICTURES = (
    _Picture("Loss", "nats a token; held-out loss as points", (("loss", "mean"), ("validation_loss", "dots"))),
    _Picture("Bits a byte", "of the held-out text", (("bits_per_byte", "dots"),)),
    _Picture("Tokens a second", "", (("tokens_per_second", "mean"),), from_zero=True),
    _Picture("MFU", "share of the device's peak", (("mfu", "mean"),), from_zero=True, scale=100, suffix="%"),
    _Picture("Learning rate", "", (("lr", "line"),), from_zero=True),
    _Picture("Gradient norm", "before clipping", (("grad_norm", "mean"),)),
    _Picture("Peak memory", "", (("memory_bytes", "line"),), from_zero=True, scale=2**-30, suffix=" GiB"),
)


def write_page(runs: Sequence[History], path: Path) -> None:
    """Write the page to `path`, atomically, and the folders above it if they do not exist."""
    text = page(runs)
    make_folder(path.parent)
    write_whole(path, text.encode())


def page(runs: Sequence[History]) -> str:
    """The HTML of the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("model", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["setting"] = _setting
    return environment.get_template("plot.html.j2").render(
        runs=runs,
        title=" · ".join(run.name for run in runs) if len(runs) <= _TITLE else f"{len(runs)} runs",
        rows=figure_rows([figures(run) for run in runs]),
        pictures=[charts for picture in PICTURES if (charts := draw(runs, picture))],
        differing=differing(runs),
        settings=settings(runs),
        samples=[samples(run) for run in runs],
        notes=notes(runs),
        names=[run.name for run in runs],
        box={"left": LEFT, "inner": INNER[0], "height": INNER[1], "width": WIDTH},
        hues=[round(number * 137.5) % 360 for number in range(_COLOURS, len(runs))],
    )


# --- curves ----------------------------------------------------------------------------------------------------


def draw(runs: Sequence[History], picture: _Picture) -> dict[str, Any] | None:
    """What the template needs of a picture: title, unit, suffix, and the charts; None if no run has a value for it."""

    def format_y(value: float) -> str:
        return short(value) + picture.suffix

    over: dict[str, Chart] = {}
    for axis in ("tokens", "steps"):
        curves = [
            Curve(
                number,
                run.name,
                run.tokens_N if axis == "tokens" else run.step_N,
                run.columns[field] * picture.scale,
                kind,
            )
            for field, kind in picture.fields
            for number, run in enumerate(runs)
        ]
        marks = crosses(runs, axis) if picture.fields[0][0] == "loss" else ()
        drawn = chart(picture.title, curves, axis, format_y, from_zero=picture.from_zero, marks=marks)
        if drawn:
            over[axis] = drawn
    return {"title": picture.title, "unit": picture.unit, "suffix": picture.suffix, "over": over} if over else None


def crosses(runs: Sequence[History], axis: str) -> list[tuple[int, float, str]]:
    """The marks of skipped updates, up to _CROSSES of each run: number of the run, x on `axis`, and a text."""
    marks = []
    for number, run in enumerate(runs):
        tokens = dict(zip(run.step_N.tolist(), run.tokens_N.tolist(), strict=True)) if run.skipped else {}
        for step, reason in run.skipped[:_CROSSES]:
            x = tokens[step] if axis == "tokens" else float(step)
            if not math.isnan(x):
                marks.append((number, x, f"{run.name}: update {step:,} skipped, {reason}"))
    return marks


# --- the table and the samples ---------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A row of the page's table: one figure of all runs."""

    name: str
    cells: list[str]  # one for each run
    best: set[int]  # numbers of the runs with the best value, if the runs differ


def figure_rows(runs: Sequence[Figures]) -> list[_Row]:
    """The rows of the page's table; a figure that no run has is left out."""
    texts: list[tuple[str, Callable[[Figures], str]]] = [
        ("parameters", lambda run: _count(run.parameters)),
        ("shape of preset", lambda run: run.preset or ""),
        ("tokens seen", lambda run: short(run.tokens) if run.tokens is not None else ""),
        ("steps", lambda run: f"{run.step:,}" + (f" of {run.steps:,}" if run.steps else "")),
        ("training loss, last step", lambda run: _loss(run.loss)),
        ("training loss, mean of 100 steps", lambda run: _loss(run.recent_loss)),
        ("held-out loss, last", lambda run: _loss(run.validation_loss)),
        ("held-out loss, best", lambda run: _loss(run.best_validation_loss)),
        ("at step", lambda run: _count(run.best_validation_step)),
        ("bits a byte, last", lambda run: _loss(run.bits_per_byte)),
        ("tokens a second, median", lambda run: _count(run.tokens_per_second)),
        ("MFU, median", lambda run: f"{run.mfu:.1%}" if run.mfu is not None else ""),
        ("peak memory", lambda run: f"{run.memory_bytes / 2**30:.1f} GiB" if run.memory_bytes is not None else ""),
        ("skipped updates", _skipped),
    ]
    return [_Row(name, cells, _best(name, cells)) for name, text in texts if any(cells := [text(run) for run in runs])]


def _best(name: str, cells: Sequence[str]) -> set[int]:
    """The numbers of the runs with the lowest held-out loss or bits a byte, as printed, if the runs differ."""
    known = {cell for cell in cells if cell}
    if len(known) < 2 or not name.startswith(("held-out", "bits")):
        return set()
    return {number for number, cell in enumerate(cells) if cell and float(cell) == min(map(float, known))}


def _setting(value: Any) -> str:
    """A setting as the page shows it."""
    if isinstance(value, float):
        return f"{value:.10g}"  # 0.009, not 0.009000000000000001
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _skipped(run: Figures) -> str:
    if len(run.reasons) == 1:
        return f"{run.skipped:,} ({next(iter(run.reasons))})"
    reasons = [f"{count:,} {reason}" for reason, count in run.reasons.items()]
    return f"{run.skipped:,}" + (f" ({', '.join(reasons[:4])}{', …' if len(reasons) > 4 else ''})" if reasons else "")


def samples(run: History) -> dict[str, Any]:
    """What the template needs of a run's samples: those of some steps, and the number of steps that have samples.

    The steps are closer together at the beginning, where samples change most from step to step.
    """
    last = len(run.samples) - 1
    picked = {0, *(round(last * (number / (_SAMPLES - 1)) ** 2) for number in range(_SAMPLES))} if run.samples else ()
    shown = [
        {
            "step": f"{sample.step:,}",
            "tokens": "" if math.isnan(sample.tokens) else short(sample.tokens),
            "texts": [text if len(text) <= _LONGEST else text[:_LONGEST] + " …" for text in sample.texts],
        }
        for sample in (run.samples[index] for index in sorted(picked))
    ]
    return {"shown": shown, "all": len(run.samples)}


def notes(runs: Sequence[History]) -> list[str]:
    """Sentences for the page about data that is missing from the runs' files."""
    lines = []
    for run in runs:
        if not len(run.step_N):
            lines.append(f"{run.name}: no step is recorded yet.")
        if run.unreadable:
            lines.append(f"{run.name}: {run.unreadable:,} lines of metrics.jsonl cannot be read and are left out.")
        if len(run.step_N) and math.isnan(run.tokens_N[-1]):
            lines.append(f"{run.name}: its number of tokens is not known, so that it has curves over steps only.")
        if not section(run.config, "model"):
            lines.append(f"{run.name}: no config.json with the model's shape, so its settings and size are not known.")
    return lines


def summary(runs: Sequence[History], path: Path) -> Mapping[str, Any]:
    """The object that `model plot --json` prints; `path` is the page."""
    return {"page": str(path), "runs": [figures(run)._asdict() for run in runs], "differing": differing(runs)}
