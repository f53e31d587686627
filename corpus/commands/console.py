"""Progress and summaries of passes and downloads, on standard error; and summaries as JSON."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bpe.terminal.progress import Live
from bpe.terminal.text import counted, duration, megabytes, readable_line, say
from corpus.crawl.fetch import Downloaded, Failed, FetchEvent, Finished, Listed, Retry, Skipped
from corpus.engine.base import Event
from corpus.run.chain import Account
from corpus.run.execute import PassSummary
from corpus.run.plan import Pass
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset


class Progress(Live):
    """Progress of one pass."""

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
        with self.showing(*columns):
            if self.bar is not None:
                self._task = self.bar.add_task(self.name, total=None, rate="")
            yield self

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self.todo = event.units
        elif event.kind == "done":
            self._count(event.unit)
        elif event.kind in ("retry", "failed", "quarantine"):
            self.line(f"{event.unit}: {event.kind}: {event.detail}")
        rate = self._rate(event)
        reached = self.done + event.share
        if self.bar is not None:
            self.bar.update(self._task, total=self.todo, completed=reached, rate=rate)
        elif self.due():
            self.line(f"{self.done}/{self.todo} units, {rate}, {self._time_left(reached)}")

    def _count(self, unit: str) -> None:
        record = self.dataset.record(unit)
        if record and record.counts:
            self.read += record.counts[0]["read"]
            self.kept += record.counts[-1]["kept"]
        self.done += 1

    def _rate(self, event: Event) -> str:
        # The rows of committed units come from their records, the rows of units in work from the event.
        read, kept = self.read + event.read, self.kept + event.kept
        seconds = max(time.monotonic() - self.began, 1e-9)
        # Rows wait for others before the last stage judges them: until one is kept or a unit is done, nothing is known.
        share = f", {kept / read:.0%} kept" if read and (kept or self.done) else ""
        return f"{read:,} documents, {read / seconds:,.0f}/s{share}"

    def _time_left(self, reached: float) -> str:
        if not reached:
            return "time left unknown"
        left = (time.monotonic() - self.began) / reached * max(self.todo - reached, 0)
        return f"about {duration(left)} left"


class FetchProgress(Live):
    """Progress of downloads."""

    def __init__(self) -> None:
        super().__init__("fetch")
        self.files: dict[str, tuple[int, int]] = {}
        self._tasks: dict[str, Any] = {}

    @contextlib.contextmanager
    def shown_live(self) -> Iterator[FetchProgress]:
        columns = ("BarColumn", "DownloadColumn", "TransferSpeedColumn", "TimeRemainingColumn")
        with self.showing("{task.description}", *columns):
            yield self

    def on_event(self, event: FetchEvent) -> None:
        match event:
            case Listed():
                self.line(f"{event.chosen:,} of {event.available:,} files wanted")
            case Downloaded():
                self._grown(event)
            case Skipped():
                self.line(f"{event.name}: there already")
            case Retry():
                self.line(f"{event.name}: {event.reason}; next try in {event.wait:.1f} s")
            case Finished():
                self.line(f"{event.name}: {megabytes(event.bytes)}")
            case Failed():
                self.line(f"{event.name}: FAILED: {event.reason}")

    def _grown(self, event: Downloaded) -> None:
        self.files[event.name] = (event.done, event.total or 0)
        if self.bar is not None:
            if event.name not in self._tasks:
                self._tasks[event.name] = self.bar.add_task(readable_line(event.name[-40:]), total=event.total)
            self.bar.update(self._tasks[event.name], completed=event.done)
        elif self.due():
            have, total = (sum(sizes[index] for sizes in self.files.values()) for index in (0, 1))
            self.line(f"{megabytes(have)} of {megabytes(total)} in {counted(len(self.files), 'file')}")


def say_summary(summary: PassSummary) -> None:
    """Say in a line what the pass did now and what had been done before; then name its failures."""
    if not summary.units:
        say(f"{summary.name}: no unit is in the share of this task")
        return
    if not summary.done and not summary.failures:
        done = "its only unit is done" if summary.units == 1 else f"all {summary.units:,} units are done"
        say(f"{summary.name}: nothing to do, {done} in {summary.output}")
        return
    before = f", {summary.skipped} done before" if summary.skipped else ""
    units = counted(summary.units, "unit")
    say(f"{summary.name}: {summary.done} of {units} done{before} -> {summary.output}{_flow(summary)}")
    for failure in summary.failures:
        say(f"{summary.name}: FAILED {failure.unit}: {failure.reason}")


def say_nothing_kept(outputs: Sequence[str]) -> None:
    """Say so if the last of these datasets that holds documents or tokens has none; and where and why they were lost.

    They were lost in the last dataset that read any.
    """
    empty = ""
    for output in reversed(outputs):
        judged = [record.counts for record in Dataset(output).records() if record.counts and _holds_documents(record)]
        if not judged:
            continue
        if any(counts[-1]["kept"] for counts in judged):
            return
        empty = empty or output
        if read := sum(counts[0]["read"] for counts in judged):
            dropped: Counter[str] = Counter()
            for account in itertools.chain.from_iterable(judged):
                dropped.update(account["dropped"])
            rules = ", ".join(f"{rule} {number:,}" for rule, number in dropped.most_common(3))
            lost = f"{counted(read, 'document')} read, dropped most by {rules}; change these settings"
            say(f"NOTHING IS KEPT in {output}: {lost}")
            return
    if empty:
        say(f"NOTHING IS KEPT in {empty}: no document was read; check the input")


def _holds_documents(record: CommitRecord) -> bool:
    return any(output.kind in ("documents", "tokens") for output in record.outputs)


def _flow(summary: PassSummary) -> str:
    texts = {name: text for name, text in summary.sums.items() if not name.endswith("_")}
    read = kept = 0
    sums: Counter[str] = Counter()
    for record in Dataset(summary.output).records():
        read += record.counts[0]["read"] if record.counts else 0
        kept += record.counts[-1]["kept"] if record.counts else 0
        for account in record.counts:
            sums.update({name: account[name] for name in texts if name in account})
    remarks = "".join(f"; {sums[name]:,} {text}" for name, text in texts.items() if sums[name])
    return f" ({read:,} read, {kept:,} kept{remarks})"


def summary_json(summary: PassSummary) -> dict[str, Any]:
    """The summary for --json, with the accounts of the stages."""
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
