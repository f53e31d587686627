"""What the `corpus` command shows: progress, summaries and errors, all on stderr; data and --json on stdout."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from corpus.crawl.fetch import Downloaded, Failed, FetchEvent, Finished, Listed, Retry, Skipped
from corpus.engine.base import Event
from corpus.run.chain import Account
from corpus.run.execute import PassSummary
from corpus.run.plan import Pass
from corpus.stage import sums_meanings
from corpus.store.shards import Dataset

_EVERY = 10.0  # seconds between plain progress lines


def say(text: str) -> None:
    """A line for the person, not for the program behind the pipe."""
    click.echo(text, err=True)


class _Live:
    """What is shown while something runs: a rich bar on a terminal, lines under `name` where there is none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown = time.monotonic()
        self._bar: Any = None

    @contextlib.contextmanager
    def _showing(self, *columns: str) -> Iterator[None]:
        if not sys.stderr.isatty():
            yield
            return
        from rich import progress
        from rich.console import Console

        made = [progress.TextColumn(c) if "{" in c else getattr(progress, c)() for c in columns]
        self._bar = progress.Progress(*made, console=Console(stderr=True))
        with self._bar:
            yield

    def _due(self) -> bool:
        """Whether it is time for another plain line."""
        if time.monotonic() - self.shown <= _EVERY:
            return False
        self.shown = time.monotonic()
        return True

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"{self.name}: {text}", markup=False, highlight=False)
        else:
            say(f"{self.name}: {text}")


class Progress(_Live):
    """A pass as it runs."""

    def __init__(self, plan: Pass) -> None:
        super().__init__(plan.name)
        self.todo = 0
        self.began = time.monotonic()
        self.read = self.kept = self.done = 0  # of committed units
        self.dataset = Dataset(plan.output)
        self._task: Any = None

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[Progress]:
        columns = (
            "{task.description}",
            "BarColumn",
            "TaskProgressColumn",
            "{task.fields[rate]}",
            "TimeRemainingColumn",
        )
        with self._showing(*columns):
            if self._bar is not None:
                self._task = self._bar.add_task(self.name, total=None, rate="")
            yield self

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self.todo = event.units
        elif event.kind == "done":
            self._count(event.unit)
        elif event.kind in ("retry", "failed", "quarantine"):
            self._line(f"{event.unit}: {event.kind}: {event.detail}")
        rate = self._rate(event)
        reached = self.done + event.share
        if self._bar is not None:
            self._bar.update(self._task, total=self.todo, completed=reached, rate=rate)
        elif self._due():
            self._line(f"{self.done}/{self.todo} units, {rate}, {self._time_left(reached)}")

    def _count(self, unit: str) -> None:
        record = self.dataset.record(unit)
        if record and record.counts:
            self.read += record.counts[0]["read"]
            self.kept += record.counts[-1]["kept"]
        self.done += 1

    def _rate(self, event: Event) -> str:
        # Rows of units in work are live figures; those of committed units come from their records.
        read, kept = self.read + event.read, self.kept + event.kept
        seconds = max(time.monotonic() - self.began, 1e-9)
        share = f"{kept / read:.0%}" if read else "-"
        return f"{read:,} documents, {read / seconds:,.0f}/s, {share} kept"

    def _time_left(self, reached: float) -> str:
        if not reached:
            return "time left unknown"
        left = (time.monotonic() - self.began) / reached * max(self.todo - reached, 0)
        return f"about {left:,.0f} s left"


class FetchProgress(_Live):
    """Downloads as they run."""

    def __init__(self) -> None:
        super().__init__("fetch")
        self.files: dict[str, tuple[int, int]] = {}
        self._tasks: dict[str, Any] = {}

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[FetchProgress]:
        columns = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
        with self._showing("{task.description}", *columns):
            yield self

    def on_event(self, event: FetchEvent) -> None:
        match event:
            case Listed():
                self._line(f"{event.chosen:,} of {event.available:,} files wanted")
            case Downloaded():
                self._grown(event)
            case Skipped():
                self._line(f"{event.name}: there already")
            case Retry():
                self._line(f"{event.name}: {event.reason}; next try in {event.wait:.1f} s")
            case Finished():
                self._line(f"{event.name}: {event.bytes / 1e6:,.1f} MB")
            case Failed():
                self._line(f"{event.name}: FAILED: {event.reason}")

    def _grown(self, event: Downloaded) -> None:
        self.files[event.name] = (event.done, event.total or 0)
        if self._bar is not None:
            if event.name not in self._tasks:
                self._tasks[event.name] = self._bar.add_task(event.name[-40:], total=event.total)
            self._bar.update(self._tasks[event.name], completed=event.done)
        elif self._due():
            have, total = (sum(sizes[index] for sizes in self.files.values()) for index in (0, 1))
            self._line(f"{have / 1e6:,.0f} of {total / 1e6:,.0f} MB of {len(self.files)} files")


def say_summary(summary: PassSummary) -> None:
    """A line a pass: what was done, what had been done before."""
    if not summary.units:
        say(f"{summary.name}: no unit is this task's")
        return
    if not summary.done and not summary.failures:
        say(f"{summary.name}: nothing to do, all {summary.units} units are done in {summary.output}")
        return
    before = f", {summary.skipped} done before" if summary.skipped else ""
    say(f"{summary.name}: {summary.done} of {summary.units} units done{before} -> {summary.output}{_flow(summary)}")
    for failure in summary.failures:
        say(f"{summary.name}: FAILED {failure.unit}: {failure.reason}")


def _flow(summary: PassSummary) -> str:
    texts = {name: text for name, text in sums_meanings().items() if not name.endswith("_")}
    read = kept = 0
    sums: Counter[str] = Counter()
    for record in Dataset(summary.output).records():
        read += record.counts[0]["read"] if record.counts else 0
        kept += record.counts[-1]["kept"] if record.counts else 0
        for account in record.counts:
            sums.update({name: account[name] for name in texts if name in account})
    counted = "".join(f"; {sums[name]:,} {text}" for name, text in texts.items() if sums[name])
    return f" ({read:,} read, {kept:,} kept{counted})"


def summary_json(summary: PassSummary) -> dict[str, Any]:
    """The summary for --json, accounts included."""
    totals: dict[str, Account] = {}
    for record in Dataset(summary.output).records():
        for account in record.counts:
            total = totals.setdefault(account["stage"], Account(account["stage"]))
            total.read += account["read"]
            total.kept += account["kept"]
            total.dropped.update(account["dropped"])
    return {
        "pass": summary.name,
        "output": summary.output,
        "units": summary.units,
        "skipped": summary.skipped,
        "done": summary.done,
        "failed": {failure.unit: failure.reason for failure in summary.failures},
        "stages": [total.to_json() for total in totals.values()],
    }
