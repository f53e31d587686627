"""Runs -> one HTML page that shows them side by side, and needs nothing else.

In: run directories of `model pretrain`, finished or not. Out: one file with its style, pictures and the few lines of
script that show values under the pointer; no address is fetched, and without scripts only those values are missing.
The same runs give the same bytes.

Curves stand over the tokens seen, because runs with batches of different sizes compare only so; over steps on demand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bpe.whole import write_whole
from model.chart import INNER, LEFT, WIDTH, Chart, Curve, chart, short
from model.history import Figures, History, differing, figures, section, settings

_SAMPLES = 24  # steps of a run whose samples are shown
_LONGEST = 2_000  # characters of a sample
_CROSSES = 200  # skipped updates of a run marked in the picture of its loss
_TITLE = 4  # most runs that the page's title names
_COLOURS = 8  # with a place in the template's palette; more are computed


class _Picture(NamedTuple):
    title: str
    unit: str
    fields: tuple[tuple[str, str], ...]  # of metrics.jsonl, and how each is drawn
    from_zero: bool = False
    scale: float = 1  # what a value is multiplied by before it is shown
    suffix: str = ""  # of values shown


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
    """Write the page; it appears whole or not at all."""
    text = page(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def page(runs: Sequence[History]) -> str:
    """The page's HTML."""
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
        rows=table([figures(run) for run in runs]),
        pictures=[picture for spec in PICTURES if (picture := draw(runs, spec))],
        differing=differing(runs),
        settings=settings(runs),
        samples=[samples(run) for run in runs],
        notes=notes(runs),
        names=[run.name for run in runs],
        box={"left": LEFT, "inner": INNER[0], "height": INNER[1], "width": WIDTH},
        hues=[round(number * 137.5) % 360 for number in range(_COLOURS, len(runs))],
    )


# --- curves ----------------------------------------------------------------------------------------------------


def draw(runs: Sequence[History], spec: _Picture) -> dict[str, Any] | None:
    """The picture over tokens and over steps; None if no run has a value for it."""

    def shown(value: float) -> str:
        return short(value) + spec.suffix

    over: dict[str, Chart] = {}
    for axis in ("tokens", "steps"):
        curves = [
            Curve(
                number,
                run.name,
                run.tokens_N if axis == "tokens" else run.step_N,
                run.columns[field] * spec.scale,
                kind,
            )
            for field, kind in spec.fields
            for number, run in enumerate(runs)
        ]
        marks = crosses(runs, axis) if spec.fields[0][0] == "loss" else ()
        drawn = chart(spec.title, curves, axis, shown, from_zero=spec.from_zero, marks=marks)
        if drawn:
            over[axis] = drawn
    return {"title": spec.title, "unit": spec.unit, "suffix": spec.suffix, "over": over} if over else None


def crosses(runs: Sequence[History], axis: str) -> list[tuple[int, float, str]]:
    """(run, x, text) of skipped updates, of each run the first ones."""
    found = []
    for number, run in enumerate(runs):
        tokens = dict(zip(run.step_N.tolist(), run.tokens_N.tolist(), strict=True)) if run.skipped else {}
        for step, reason in run.skipped[:_CROSSES]:
            x = tokens[step] if axis == "tokens" else float(step)
            if not math.isnan(x):
                found.append((number, x, f"{run.name}: update {step:,} skipped, {reason}"))
    return found


# --- the table and the samples ---------------------------------------------------------------------------------


class _Row(NamedTuple):
    name: str
    cells: list[str]
    best: set[int]  # numbers of the runs whose value is the best, if they differ


def table(told: Sequence[Figures]) -> list[_Row]:
    """A row a figure, a column a run; rows of figures that no run has are left out."""
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
    return [_Row(name, cells, _best(name, cells)) for name, text in texts if any(cells := [text(run) for run in told])]


def _best(name: str, cells: Sequence[str]) -> set[int]:
    """Numbers of the runs whose loss or bits, as printed, are the lowest of several."""
    known = {cell for cell in cells if cell}
    if len(known) < 2 or not name.startswith(("held-out", "bits")):
        return set()
    return {number for number, cell in enumerate(cells) if cell and float(cell) == min(map(float, known))}


def _setting(value: Any) -> str:
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
    """What the run wrote at some steps, and at how many it wrote. Closer together at the beginning, where more
    changes from one to the next.
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
    """What a reader should know about the files themselves."""
    found = []
    for run in runs:
        if not len(run.step_N):
            found.append(f"{run.name}: no step is recorded yet.")
        if run.unreadable:
            found.append(f"{run.name}: {run.unreadable:,} lines of metrics.jsonl cannot be read and are left out.")
        if len(run.step_N) and math.isnan(run.tokens_N[-1]):
            found.append(f"{run.name}: neither rows nor config.json tell its tokens, so it has curves over steps only.")
        if not section(run.config, "model"):
            found.append(f"{run.name}: no config.json with the model's shape, so its settings and size are not known.")
    return found


def summary(runs: Sequence[History], path: Path) -> Mapping[str, Any]:
    """What `model plot --json` prints."""
    return {"page": str(path), "runs": [figures(run)._asdict() for run in runs], "differing": differing(runs)}
