"""Commit records -> the funnel: how many documents every stage read and kept, and which rule dropped the others.

In: (dataset name, commit record) pairs, records as plain JSON. Out: a `Funnel` of stage lines summed over units, as
text for a terminal and as JSON for a program.

Only records whose outputs are documents or tokens have lines in the funnel. The other passes (signatures, scores,
vocabularies, ...) read the documents again without judging them; their units and seconds count, their accounts do not.

The account is audited once more here, over everything that was committed: read = kept + dropped in every stage, and
every stage reads what the stage before it kept. A funnel that does not add up is shown as it is, with the places where
it leaks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bpe.terminal.text import readable_line
from corpus.stage import sums_meanings

_JUDGED = frozenset({"documents", "tokens"})  # kinds of output of the passes that keep or drop documents
_SKIPPED = {"skipped_": "records without a page"}  # sums of the reader of WARC files, which is no stage
_FIELDS = frozenset({"stage", "read", "kept", "dropped"})


@dataclass(frozen=True)
class Line:
    """A stage, summed over units. `sums` holds its other counts, such as tokens or characters."""

    dataset: str
    stage: str
    read: int  # documents
    kept: int
    dropped: Mapping[str, int]  # rule -> documents, largest number first
    sums: Mapping[str, int]


@dataclass(frozen=True)
class Funnel:
    """The stages in their order; `errors` names every place where the account does not add up."""

    lines: tuple[Line, ...]
    units: int
    seconds: float  # of work, summed over units; not the time on the clock
    errors: tuple[str, ...]

    @property
    def read(self) -> int:
        return self.lines[0].read if self.lines else 0

    @property
    def kept(self) -> int:
        return self.lines[-1].kept if self.lines else 0

    @property
    def tokens(self) -> int | None:
        """Tokens of the last stage that counted them; None if none did."""
        counts = [line.sums["tokens"] for line in self.lines if "tokens" in line.sums]
        return counts[-1] if counts else None

    @property
    def drops(self) -> list[tuple[str, str, int]]:
        """(stage, rule, documents) of every rule that dropped documents, largest number first."""
        drops = [(line.stage, rule, count) for line in self.lines for rule, count in line.dropped.items()]
        return sorted(drops, key=lambda drop: (-drop[2], drop[1]))


@dataclass
class _Sums:
    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


def funnel(records: Iterable[tuple[str, dict[str, Any]]]) -> Funnel:
    """Sum `records` into a Funnel: datasets in the order given, stages in the order of their first appearance.

    Raises ValueError naming a record that has no counts. An account that does not add up becomes an error of the
    Funnel, so that it can be shown beside the figures.
    """
    sums: dict[str, dict[str, _Sums]] = {}
    units: Counter[tuple[str, str]] = Counter()
    seconds = 0.0
    for dataset, record in records:
        unit = str(record.get("unit"))
        if "counts" not in record:
            raise ValueError(f"record {unit} of {dataset} has no counts: is it a commit record?")
        judged = any(output["kind"] in _JUDGED for output in record["outputs"])
        seconds += float(record.get("seconds", 0.0))
        units[dataset, unit] += 1
        stages = sums.setdefault(dataset, {})
        for count in record["counts"] if judged else ():
            _add(stages.setdefault(count["stage"], _Sums()), count)
    lines = tuple(
        Line(dataset, stage, total.read, total.kept, _most_first(total.dropped), dict(sorted(total.others.items())))
        for dataset, stages in sums.items()
        for stage, total in stages.items()
    )
    twice = [f"{dataset}: unit {unit} is counted {n} times" for (dataset, unit), n in units.items() if n > 1]
    return Funnel(lines, sum(units.values()), round(seconds, 3), (*twice, *_leaks(lines)))


def funnel_json(funnel: Funnel) -> dict[str, Any]:
    """The funnel for programs. New keys may come; these keys stay."""
    return {
        "format": 1,
        "read": funnel.read,
        "kept": funnel.kept,
        "tokens": funnel.tokens,
        "units": funnel.units,
        "seconds": funnel.seconds,
        "stages": [
            {
                "dataset": line.dataset,
                "stage": line.stage,
                "read": line.read,
                "kept": line.kept,
                "dropped": dict(line.dropped),
                "sums": dict(line.sums),
            }
            for line in funnel.lines
        ],
        "errors": list(funnel.errors),
    }


def funnel_text(funnel: Funnel, color: bool) -> str:
    """The funnel as a table: a line a stage, and under it a line a rule with what it dropped.

    The names in it come from the dataset, and are shown without characters that a terminal obeys.
    """
    rows = [("stage, rule", "read", "kept", "dropped", "share")]
    for line in funnel.lines:
        dropped = sum(line.dropped.values())
        rows.append(
            (
                readable_line(line.stage),
                f"{line.read:,}",
                f"{line.kept:,}",
                f"{dropped:,}",
                f"{share(line.kept, line.read)} kept",
            )
        )
        rows += [
            (f"  {readable_line(rule)}", "", "", f"{count:,}", f"{share(count, line.read)}     ")
            for rule, count in line.dropped.items()
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    styles = ["dim" if row[0].startswith("  ") else "bold" for row in rows]
    table = [_styled(_row(row, widths), style, color) for row, style in zip(rows, styles, strict=True)]
    if funnel.errors:
        errors = [f"THE ACCOUNT DOES NOT ADD UP: {readable_line(error)}" for error in funnel.errors]
        verdict = [_styled(error, "red", color) for error in errors]
    else:
        verdict = ["the account adds up: read = kept + dropped in every stage"]
    return "\n".join([*table, "", summary(funnel), *map(readable_line, counted(funnel)), *verdict, ""])


def counted(funnel: Funnel) -> list[str]:
    """Lines such as `masked, scrub: 1,204 email, 55 ip`: what stages counted besides documents, largest first."""
    families = _SKIPPED | {name: text for name, text in sums_meanings().items() if name.endswith("_")}
    lines = []
    for line in funnel.lines:
        for prefix, what in families.items():
            sums = {name.removeprefix(prefix): n for name, n in line.sums.items() if name.startswith(prefix) and n}
            if sums:
                ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
                lines.append(f"{what}, {line.stage}: " + ", ".join(f"{count:,} {name}" for name, count in ordered))
    return lines


def summary(funnel: Funnel) -> str:
    """One sentence: what went in and what came out."""
    tokens = f", {funnel.tokens:,} tokens" if funnel.tokens is not None else ""
    units = "1 unit" if funnel.units == 1 else f"{funnel.units:,} units"
    return f"{funnel.kept:,} of {funnel.read:,} kept ({share(funnel.kept, funnel.read)}){tokens}, {units} of work"


def share(part: int, whole: int) -> str:
    """`12.3%`. A small part is never shown as 0%, and a part that is not the whole never as 100%."""
    if whole <= 0:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "<0.1%"
    if 99.95 <= percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%"


def _add(total: _Sums, count: Mapping[str, Any]) -> None:
    total.read += count["read"]
    total.kept += count["kept"]
    total.dropped.update(count["dropped"])
    total.others.update({name: value for name, value in count.items() if name not in _FIELDS and type(value) is int})


def _most_first(dropped: Counter[str]) -> dict[str, int]:
    return dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0])))


def _leaks(lines: tuple[Line, ...]) -> list[str]:
    errors = []
    for line in lines:
        dropped = sum(line.dropped.values())
        if line.read != line.kept + dropped:
            errors.append(f"{line.stage} read {line.read:,} but kept {line.kept:,} and dropped {dropped:,}")
    for before, after in itertools.pairwise(lines):
        written = before.kept + before.sums.get("copies", 0)  # a mixture writes some documents more than once
        if written != after.read:
            errors.append(f"{before.stage} kept {written:,} but {after.stage} read {after.read:,}")
    return errors


def _row(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers]).rstrip()


def _styled(text: str, style: str, color: bool) -> str:
    codes = {"bold": "1", "dim": "2", "red": "1;31"}  # ECMA-48, 8.3.117
    return f"\x1b[{codes[style]}m{text}\x1b[0m" if color else text
