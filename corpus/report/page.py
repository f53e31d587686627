"""The funnel, the training curve and the model's samples -> one HTML page that needs no other file.

In: a Funnel and, if there are any, the recipe's text, rows of metrics.jsonl, samples and dropped documents. Out: one
file that holds its style and pictures; a browser fetches nothing else. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corpus.report.curve import loss_curve
from corpus.report.estimate import estimate, estimate_text
from corpus.report.funnel import Funnel, counted, share

_EXAMPLES = 3  # shown of every rule


def page(
    funnel: Funnel,
    *,
    title: str,
    recipe_text: str | None = None,
    training: Sequence[Mapping[str, Any]] | None = None,
    samples: Sequence[str] | None = None,
    examples: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The page's HTML.

    `training`: rows of metrics.jsonl; `samples`: texts that the model printed; `examples`: rows of DROPPED, of which
    the first three of every rule are shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    lost = estimate(funnel)
    environment = Environment(
        loader=PackageLoader("corpus", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, "width": _width, "measure": _measure}
    return environment.get_template("report.html.j2").render(
        title=title,
        funnel=funnel,
        lost=estimate_text(lost) if lost else None,
        counted=counted(funnel),
        share=share,
        drops=funnel.drops,
        dropped=sum(count for _, _, count in funnel.drops),
        examples=_by_rule(examples or (), [rule for _, rule, _ in funnel.drops]),
        curve=loss_curve(training or ()),
        last=_last(training or ()),
        samples=[sample for sample in samples or () if sample.strip()],
        recipe_text=recipe_text,
    )


def _width(part: int, whole: int) -> str:
    """Length of a bar in percent; a part that is not 0 has a bar that can be seen."""
    return "0" if part <= 0 or whole <= 0 else f"{max(100 * part / whole, 0.25):.2f}"


def _measure(value: Any) -> str:
    """A rule's value for people: fractions with four digits, everything else unchanged."""
    text = "" if value is None else str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return text if number.is_integer() else f"{number:.4g}"


def _by_rule(examples: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The first few examples of every rule: first the rules of `order`, then all others."""
    shown: dict[str, list[Mapping[str, Any]]] = {rule: [] for rule in order}
    for example in examples:
        rows = shown.setdefault(str(example["rule"]), [])
        if len(rows) < _EXAMPLES:
            rows.append(example)
    return {rule: rows for rule, rows in shown.items() if rows}


def _last(training: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last value of every metric that training reported."""
    last: dict[str, Any] = {}
    for row in training:
        last |= {name: value for name, value in row.items() if value is not None}
    return last
