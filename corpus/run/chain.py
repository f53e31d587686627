"""Neighbouring per-document stages, run fused over one shard, with every row accounted for.

In: batches of PAGES or DOCUMENTS, each row with its ordinal (its place in the shard). Out: what the last stage
keeps, the dropped rows in input order, and the accounts by stage. HTML is worked on a page at a time, because
that is where pages hang; text in batches. A batch in which something hangs is run again row by row. None of this
shows in the result: rows are independent, and dropped rows are put back in input order at the end.
"""

from __future__ import annotations

import importlib
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.engine.base import Attempt, Quarantine, TimeLimit
from corpus.schema import DROPPED, Counted, Drop, Outcome, dropped_rows

BATCH = 64  # rows of text that go through a stage together
_ERRORS = 1000  # rows of a shard at which a stage may fail, before the stage is at fault
_FEW = 10  # rows that it may fail at if it comes through at none


class Step(NamedTuple):
    """A stage with its settings: `module` has `process(batch, config)`, which returns an Outcome or Counted."""

    stage: str
    module: str
    config: Any
    alone: bool = False  # one row at a time

    def process(self, batch: pa.RecordBatch) -> Outcome | Counted:
        result: Outcome | Counted = importlib.import_module(self.module).process(batch, self.config)
        return result


class Rows(NamedTuple):
    """A batch and the ordinals of its rows."""

    ordinals: list[int]
    batch: pa.RecordBatch

    def part(self, start: int, rows: int) -> Rows:
        return Rows(self.ordinals[start : start + rows], self.batch.slice(start, rows))


@dataclass
class Account:
    """One stage's line of the funnel."""

    stage: str
    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)  # what else the stage counted

    def to_json(self) -> dict[str, Any]:
        dropped = dict(sorted(self.dropped.items()))
        return {"stage": self.stage, "read": self.read, "kept": self.kept, "dropped": dropped, **self.sums}


class Chain:
    """The stages of a pass over one shard; `accounts`, `dropped` and `audits` are whole when `run` is exhausted."""

    def __init__(self, steps: Iterable[Step], attempt: Attempt, seconds: float) -> None:
        self.steps = list(steps)
        self.attempt = attempt
        self.seconds = seconds
        self.accounts = [Account(step.stage) for step in self.steps]
        self.audits: list[pa.RecordBatch] = []  # what a stage shows for review, in input order
        self._dropped: list[tuple[list[int], pa.RecordBatch]] = []
        self._errors: dict[int, tuple[int, Exception]] = {}  # by stage: how many, and the first

    def warm_up(self, nothing: pa.RecordBatch) -> None:
        """Send an empty batch through: models are loaded and kernels compiled before any row's time is running."""
        for step in self.steps:
            nothing = step.process(nothing).kept

    def run(self, source: Iterable[Rows]) -> Iterator[pa.RecordBatch]:
        """What the last stage keeps of the source, in input order."""
        alone = next((i for i, step in enumerate(self.steps) if not step.alone), len(self.steps))
        survivors = (kept for rows in source if (kept := self._through(0, alone, rows)))
        for rows in _gathered(survivors):
            kept = self._through(alone, len(self.steps), rows)
            if kept:
                yield kept.batch
        self._check_stages(_FEW)

    def _check_stages(self, errors: int) -> None:
        """Raise a row's error after all, if the stage itself is at fault: at more than `errors` rows, and at all of
        them or very many.
        """
        for index, (count, first) in self._errors.items():
            if count > errors and (count > _ERRORS or count == self.accounts[index].read):
                raise first

    def drop(self, ordinal: int, row: pa.RecordBatch) -> None:
        """Take a DROPPED row from outside the chain (a record that could not be read)."""
        self._dropped.append(([ordinal], row))

    def dropped(self) -> pa.Table:
        """All DROPPED rows in input order."""
        ordinals = [ordinal for part, _ in self._dropped for ordinal in part]
        table = pa.Table.from_batches([batch for _, batch in self._dropped], DROPPED)
        return table.take(pa.array(sorted(range(len(ordinals)), key=ordinals.__getitem__), pa.int64()))

    def _through(self, first: int, last: int, rows: Rows | None) -> Rows | None:
        for index in range(first, last):
            if rows is None:
                break
            self.accounts[index].read += len(rows.ordinals)
            rows = self._step(index, rows)
            self.accounts[index].kept += len(rows.ordinals) if rows else 0
        return rows

    def _step(self, index: int, rows: Rows) -> Rows | None:
        step = self.steps[index]
        remaining = self._without_quarantined(index, rows)
        if remaining is None:
            return None
        count = len(remaining.ordinals)
        if count == 1 or not self.attempt.careful:
            try:
                return self._guarded(index, remaining)
            except TimeLimit as over:
                limit = f"{self.seconds:g}"
                if count == 1:
                    self._give_up(index, remaining, Quarantine(step.stage, "timeout", limit), over)
                    return None
            except _RowError as error:
                if count == 1:
                    number, first = self._errors.get(index, (0, error.cause))
                    self._errors[index] = number + 1, first
                    self._check_stages(_ERRORS)
                    why = Quarantine(step.stage, "error", _in_one_line(error.cause))
                    self._give_up(index, remaining, why, error.cause)
                    return None
        return _joined([self._step(index, remaining.part(start, 1)) for start in range(count)])

    def _guarded(self, index: int, rows: Rows) -> Rows | None:
        step = self.steps[index]
        with self.attempt.guard(step.stage, rows.ordinals[0], len(rows.ordinals), self.seconds):
            try:
                result = step.process(rows.batch)
            except Exception as error:
                if isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError):
                    raise  # the settings or the machine: no row's fault
                raise _RowError(error) from error  # a bug, which some row has brought to light
        if result.kept.num_rows + result.dropped.num_rows != len(rows.ordinals):
            raise RuntimeError(
                f"stage {step.stage} read {len(rows.ordinals)} rows, kept {result.kept.num_rows} "
                f"and dropped {result.dropped.num_rows}"
            )
        if isinstance(result, Counted):
            self.accounts[index].sums.update(result.sums)
            self.audits += [result.audit] if result.audit else []
        kept, dropped = _split(rows, result)
        if dropped:
            self._dropped.append((dropped, result.dropped))
            self.accounts[index].dropped.update(result.dropped.column("rule").to_pylist())
        return Rows(kept, result.kept) if kept else None

    def _without_quarantined(self, index: int, rows: Rows) -> Rows | None:
        stage = self.steps[index].stage
        bad = {
            position: self.attempt.quarantine[ordinal]
            for position, ordinal in enumerate(rows.ordinals)
            if ordinal in self.attempt.quarantine and self.attempt.quarantine[ordinal].stage == stage
        }
        if not bad:
            return rows
        for position, why in bad.items():
            self._note(index, rows.part(position, 1), why)
        good = [position for position in range(len(rows.ordinals)) if position not in bad]
        if not good:
            return None
        return Rows([rows.ordinals[position] for position in good], rows.batch.take(pa.array(good)))

    def _give_up(self, index: int, row: Rows, why: Quarantine, error: BaseException) -> None:
        """Set a row aside that this process survived."""
        self._note(index, row, why)
        self.attempt.note(row.ordinals[0], why, "".join(traceback.format_exception(error)))

    def _note(self, index: int, rows: Rows, why: Quarantine) -> None:
        drop = Drop(f"{why.stage}.{why.kind}", why.detail, _THRESHOLDS.get(why.kind, why.detail))
        self._dropped.append((rows.ordinals, dropped_rows(rows.batch, self.steps[index].stage, {0: drop})))
        self.accounts[index].dropped[drop.rule] += 1


# What a quarantined row's value stands against; of a limit that was passed, the limit is all that is known.
_THRESHOLDS = {"crash": "exit", "error": "exception"}


class _RowError(Exception):
    """A stage failed at the rows that it was given."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _split(rows: Rows, result: Outcome | Counted) -> tuple[list[int], list[int]]:
    """Which ordinals were kept and which dropped: both sides keep the input's order, so one walk tells."""
    if result.dropped.num_rows == 0:
        return rows.ordinals, []
    if result.kept.num_rows == 0:
        return [], rows.ordinals
    shared = set(rows.batch.schema.names) & set(result.kept.schema.names)
    names = [name for name in ("id", "url", "warc_offset") if name in shared]
    keys = list(zip(*(rows.batch.column(name).to_pylist() for name in names), strict=True))
    kept_keys = list(zip(*(result.kept.column(name).to_pylist() for name in names), strict=True))
    kept: list[int] = []
    dropped: list[int] = []
    for ordinal, key in zip(rows.ordinals, keys, strict=True):
        if len(kept) < len(kept_keys) and kept_keys[len(kept)] == key:
            kept.append(ordinal)
        else:
            dropped.append(ordinal)
    if len(kept) != len(kept_keys):
        raise RuntimeError("a stage changed the order of its rows")
    return kept, dropped


def _gathered(parts: Iterable[Rows]) -> Iterator[Rows]:
    """Join small batches until there are BATCH rows."""
    pending: list[Rows] = []
    count = 0
    for rows in parts:
        pending.append(rows)
        count += len(rows.ordinals)
        if count >= BATCH and (joined := _joined(pending)):
            yield joined
            pending, count = [], 0
    if joined := _joined(pending):
        yield joined


def _joined(parts: Iterable[Rows | None]) -> Rows | None:
    present = [rows for rows in parts if rows]
    if not present:
        return None
    if len(present) == 1:
        return present[0]
    return Rows(
        [ordinal for rows in present for ordinal in rows.ordinals],
        pa.concat_batches([rows.batch for rows in present]),
    )
