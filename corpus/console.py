"""What the `corpus` command shows: progress, summaries and errors, all on stderr; data and --json on stdout."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from corpus.crawl.fetch import Event as FetchEvent
from corpus.crawl.fetch import Failed, Finished, Listed, Retry, Skipped
from corpus.crawl.fetch import Progress as Downloaded
from corpus.engine import Event
from corpus.pipeline import Pass, PassSummary
from corpus.shards import Dataset

_EVERY = 10.0  # seconds between plain progress lines


def say(text: str) -> None:
    """A line for the person, not for the program behind the pipe."""
    click.echo(text, err=True)


class Progress:
    """A pass as it runs: a bar on a terminal, a line every few seconds where there is none."""

    def __init__(self, plan: Pass) -> None:
        self.name = plan.name
        self.todo = 0
        self.began = time.monotonic()
        self.shown = self.began
        self.read = self.kept = self.done = 0  # of committed units
        self.dataset = Dataset(plan.output)
        self._bar: Any = None
        self._task: Any = None

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[Progress]:
        if not sys.stderr.isatty():
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with self._bar:
            self._task = self._bar.add_task(self.name, total=None, rate="")
            yield self

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self.todo = event.units
        elif event.kind == "done":
            self._count(event.unit)
        elif event.kind in ("retry", "failed", "quarantine"):
            self._line(f"{self.name}: {event.unit}: {event.kind}: {event.detail}")
        rate = self._rate(event)
        reached = self.done + event.share
        if self._bar is not None:
            self._bar.update(self._task, total=self.todo, completed=reached, rate=rate)
        elif time.monotonic() - self.shown > _EVERY:
            self.shown = time.monotonic()
            say(f"{self.name}: {self.done}/{self.todo} units, {rate}, {self._time_left(reached)}")

    def _count(self, unit: str) -> None:
        record = self.dataset.record(unit)
        if record and record.counts:
            self.read += record.counts[0]["read"]
            self.kept += record.counts[-1]["kept"]
        self.done += 1

    def _rate(self, event: Event) -> str:
        # Rows of units in work are live figures; those of committed units come from their records.
        read = self.read + (event.read if event.kind == "tick" else 0)
        kept = self.kept + (event.kept if event.kind == "tick" else 0)
        seconds = max(time.monotonic() - self.began, 1e-9)
        share = f"{kept / read:.0%}" if read else "-"
        return f"{read:,} documents, {read / seconds:,.0f}/s, {share} kept"

    def _time_left(self, reached: float) -> str:
        if not reached:
            return "time left unknown"
        left = (time.monotonic() - self.began) / reached * max(self.todo - reached, 0)
        return f"about {left:,.0f} s left"

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)


class FetchProgress:
    """Downloads as they run: bars, or a line a file and one every few seconds."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, int]] = {}
        self.shown = time.monotonic()
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[FetchProgress]:
        if not sys.stderr.isatty():
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with self._bar:
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
        elif time.monotonic() - self.shown > _EVERY:
            self.shown = time.monotonic()
            have, total = (sum(sizes[index] for sizes in self.files.values()) for index in (0, 1))
            self._line(f"{have / 1e6:,.0f} of {total / 1e6:,.0f} MB of {len(self.files)} files")

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(f"fetch: {text}", markup=False, highlight=False)
        else:
            say(f"fetch: {text}")


def say_summary(summary: PassSummary) -> None:
    """A line a pass: what was done, what had been done before."""
    if not summary.done and not summary.failures:
        say(f"{summary.name}: nothing to do, all {summary.units} units are done in {summary.output}")
        return
    before = f", {summary.skipped} done before" if summary.skipped else ""
    say(f"{summary.name}: {summary.done} of {summary.units} units done{before} -> {summary.output}{_flow(summary)}")
    for failure in summary.failures:
        say(f"{summary.name}: FAILED {failure.unit}: {failure.reason}")


def _flow(summary: PassSummary) -> str:
    read = kept = 0
    for record in Dataset(summary.output).records():
        read += record.counts[0]["read"] if record.counts else 0
        kept += record.counts[-1]["kept"] if record.counts else 0
    return f" ({read:,} read, {kept:,} kept)"


def summary_json(summary: PassSummary) -> dict[str, Any]:
    """The summary for --json, accounts included."""
    totals: dict[str, dict[str, Any]] = {}
    for record in Dataset(summary.output).records():
        for account in record.counts:
            total = totals.setdefault(
                account["stage"], {"stage": account["stage"], "read": 0, "kept": 0, "dropped": {}}
            )
            total["read"] += account["read"]
            total["kept"] += account["kept"]
            for rule, count in account["dropped"].items():
                total["dropped"][rule] = total["dropped"].get(rule, 0) + count
    return {
        "pass": summary.name,
        "output": summary.output,
        "units": summary.units,
        "skipped": summary.skipped,
        "done": summary.done,
        "failed": {failure.unit: failure.reason for failure in summary.failures},
        "stages": list(totals.values()),
    }
