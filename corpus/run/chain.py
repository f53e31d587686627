"""Neighbouring per-document stages, run fused over one shard, with every row accounted for.

In: batches of PAGES or DOCUMENTS, each row with its ordinal (its place in the shard). Out: the rows that the last stage
keeps, the dropped rows in input order, and an account for each stage. Stages that declare `alone` are given one page at
a time, because a page may hang them; the others are given batches. A batch in which a row hangs is run again row by
row. The result does not depend on that: rows are independent, and dropped rows are put into input order at the end.

A row at which a stage raises an exception is set aside: it is dropped as STAGE.error, and its traceback is reported.
How many rows fail decides whether the stage itself is at fault; then the unit fails. Three kinds of errors never count
as a row's: what the machine has run out of (space, file handles), an OSError or a wrong answer where no row passes the
stage, and a ValueError or OSError of a stage of this package, which names its settings or a file by it.
"""

from __future__ import annotations

import errno
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.engine.base import Attempt, Quarantine, TimeLimit
from corpus.run import own
from corpus.schema import DROPPED, Drop, Outcome, dropped_rows
from corpus.stage import Stage

BATCH = 64  # rows of text that go through a stage together
_ERRORS = 1000  # rows of a shard that may make a stage fail; with more, the stage is at fault
_JOINED = 4096  # rows of DROPPED that are held as one batch
_FEW = 10  # rows that may make a stage fail where no row passes it
# What the machine, and no row, is to blame for.
_MACHINE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "ENOTCONN")
    if hasattr(errno, name)
}


class Step(NamedTuple):
    """A stage with its settings.

    stage   the name under which it is accounted for
    module  the module that has the STAGE; of a user's own rule, the user's module
    """

    stage: str
    module: str
    config: Any

    @property
    def contract(self) -> Stage:
        """The declaration of the stage."""
        return own.declared(self.stage, self.module)

    def process(self, batch: pa.RecordBatch) -> Outcome:
        """The stage's answer for a batch."""
        process = self.contract.process
        if process is None:
            raise ValueError(f"stage {self.stage}: {self.module} declares no process, so it cannot judge row by row")
        answer = process(batch, self.config)
        if not isinstance(answer, Outcome):
            raise own.WrongAnswer(f"stage {self.stage}: process answered {type(answer).__name__}; should be an Outcome")
        return answer

    def counted(self, batch: pa.RecordBatch) -> Mapping[str, int]:
        """What the stage counts in rows that all stages of a pass have kept."""
        count = self.contract.count_kept
        return count(batch, self.config) if count else {}


def sums_of(steps: Iterable[Step]) -> dict[str, str]:
    """What the sums of these stages mean, by name."""
    return {name: text for step in steps for name, text in step.contract.sums.items()}


class Rows(NamedTuple):
    """A batch and the ordinals of its rows."""

    ordinals: list[int]
    batch: pa.RecordBatch

    def part(self, start: int, rows: int) -> Rows:
        return Rows(self.ordinals[start : start + rows], self.batch.slice(start, rows))


@dataclass
class Account:
    """One stage's line of the funnel: rows read, rows kept, rows dropped by rule, and the stage's own sums."""

    stage: str
    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)  # by name, as in Outcome.sums and Stage.count_kept

    def to_json(self) -> dict[str, Any]:
        dropped = dict(sorted(self.dropped.items()))
        return {"stage": self.stage, "read": self.read, "kept": self.kept, "dropped": dropped, **self.sums}


class _Dropped:
    """DROPPED rows until their unit ends, without their texts unless these are kept.

    Small batches are joined, because a batch of one row takes ten times the memory of its row.
    """

    def __init__(self, keep_text: bool) -> None:
        self._keep_text = keep_text
        self._ordinals: list[NDArray[np.int64]] = []
        self._batches: list[pa.RecordBatch] = []
        self._small = self._small_rows = 0  # batches at the end of the lists that are not joined yet; their rows

    def add(self, ordinals: list[int], rows: pa.RecordBatch) -> None:
        if not self._keep_text:
            rows = rows.set_column(DROPPED.names.index("text"), DROPPED.field("text"), pa.nulls(len(rows), pa.string()))
        self._ordinals.append(np.array(ordinals, np.int64))
        self._batches.append(rows)
        self._small, self._small_rows = self._small + 1, self._small_rows + len(ordinals)
        if self._small_rows >= _JOINED:
            self._ordinals[-self._small :] = [np.concatenate(self._ordinals[-self._small :])]
            self._batches[-self._small :] = [pa.concat_batches(self._batches[-self._small :])]
            self._small = self._small_rows = 0

    def in_order(self) -> pa.Table:
        """All rows in the order of their ordinals."""
        ordinals = np.concatenate([np.zeros(0, np.int64), *self._ordinals])
        return pa.Table.from_batches(self._batches, DROPPED).take(pa.array(np.argsort(ordinals, kind="stable")))


class Chain:
    """The stages of a pass over one shard; `accounts`, `dropped` and `audits` are whole when `run` is exhausted."""

    def __init__(
        self, steps: Iterable[Step], attempt: Attempt, seconds: float, *, keep_dropped_text: bool = True
    ) -> None:
        self.steps = list(steps)
        self.attempt = attempt
        self.seconds = seconds
        self.before: list[Account] = []  # of rows that the reader dropped before any stage saw them
        self.accounts = [Account(step.stage) for step in self.steps]
        self.audits: list[pa.RecordBatch] = []  # rows for review, in input order
        self._dropped = _Dropped(keep_dropped_text)
        self._errors: dict[int, tuple[int, BaseException]] = {}  # by stage: how many rows failed, and the first error

    @property
    def kept(self) -> int:
        """Rows that the last stage has kept so far; without a stage, rows that the reader has."""
        accounts = [*self.before, *self.accounts]
        return accounts[-1].kept if accounts else 0

    def warm_up(self, nothing: pa.RecordBatch) -> None:
        """Send an empty batch through all stages: it loads models and compiles kernels before any row's time runs."""
        for step in self.steps:
            nothing = step.process(nothing).kept

    def run(self, source: Iterable[Rows]) -> Iterator[pa.RecordBatch]:
        """The rows that the last stage keeps, in input order."""
        alone = next((i for i, step in enumerate(self.steps) if not step.contract.alone), len(self.steps))
        survivors = (kept for rows in source if (kept := self._through(0, alone, rows)))
        for rows in _gathered(survivors):
            kept = self._through(alone, len(self.steps), rows)
            if kept:
                yield kept.batch
        self._check_stages(_FEW)

    def _check_stages(self, errors: int) -> None:
        """Raise the first error of a stage that itself seems to be at fault: it failed at more than `errors` rows, and
        either at all rows that it read or at more than _ERRORS.

        Where no row passes it, an OSError (a missing file) or an answer of the wrong form is its own fault even if it
        read few rows.
        """
        for index, (count, first) in self._errors.items():
            read = self.accounts[index].read
            few = 0 if errors == _FEW and isinstance(first, OSError | own.WrongAnswer) else errors
            if count > few and (count > _ERRORS or count == read):
                if isinstance(first, OSError | own.WrongAnswer):
                    raise first
                stage = self.steps[index].stage
                raise ValueError(
                    f"stage {stage} failed at {count:,} of {read:,} rows, at the first with {_in_one_line(first)}"
                ) from first

    def drop(self, ordinals: list[int], rows: pa.RecordBatch) -> None:
        """Add DROPPED rows that a reader made, for records that no stage can be given."""
        self._dropped.add(ordinals, rows)

    def dropped(self) -> pa.Table:
        """All DROPPED rows in input order."""
        return self._dropped.in_order()

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
            except (KeyboardInterrupt, GeneratorExit, TimeLimit):
                raise
            except BaseException as error:  # sys.exit() in a rule, and panics of libraries in Rust, are no Exception
                if not _is_of_a_row(error, step.module):
                    raise
                raise _RowError(error) from error
        if result.kept.num_rows + result.dropped.num_rows != len(rows.ordinals):
            raise RuntimeError(
                f"stage {step.stage} read {len(rows.ordinals)} rows, kept {result.kept.num_rows} "
                f"and dropped {result.dropped.num_rows}"
            )
        self.accounts[index].sums.update(result.sums)
        self.audits += [result.audit] if result.audit else []
        kept, dropped = _sides(step.stage, rows.ordinals, result)
        if dropped:
            self._dropped.add(dropped, result.dropped)
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
        """Drop a row that failed in this process, and report it to the engine."""
        self._note(index, row, why)
        self.attempt.note(row.ordinals[0], why, _storable("".join(traceback.format_exception(error))))

    def _note(self, index: int, rows: Rows, why: Quarantine) -> None:
        drop = Drop(f"{why.stage}.{why.kind}", why.detail, _THRESHOLDS.get(why.kind, why.detail))
        self._dropped.add(rows.ordinals, dropped_rows(rows.batch, self.steps[index].stage, {0: drop}))
        self.accounts[index].dropped[drop.rule] += 1


# The threshold column of a row that crashed or failed; for a limit that was exceeded, the limit itself stands there.
_THRESHOLDS = {"crash": "exit", "error": "exception"}


class _RowError(Exception):
    """A stage raised `cause` for the rows that it was given."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


def _is_of_a_row(error: BaseException, module: str) -> bool:
    """Whether an error of the stage in `module` may be a row's: not the machine's, and not that of settings."""
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return False
    if own.is_own(module) or isinstance(error, UnicodeError):
        return True
    return not isinstance(error, ValueError | OSError)


def _in_one_line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user's, whose text cannot be made
        text = "(its text cannot be shown)"
    return _storable(" ".join(f"{type(error).__name__}: {text}".split())[:200])


def _storable(text: str) -> str:
    """`text` with lone surrogates, which UTF-8 does not have, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sides(stage: str, ordinals: list[int], result: Outcome) -> tuple[list[int], list[int]]:
    """The ordinals of the rows that were kept, and of the rows that were dropped.

    Raises RuntimeError if the stage's Outcome does not say which rows it kept.
    """
    if result.dropped.num_rows == 0:
        return ordinals, []
    mask = [False] * len(ordinals) if result.mask is None else result.mask.tolist()
    kept = [ordinal for ordinal, is_kept in zip(ordinals, mask, strict=True) if is_kept]
    if len(kept) != result.kept.num_rows:
        raise RuntimeError(
            f"stage {stage}: its Outcome keeps {result.kept.num_rows} rows, its mask {len(kept)}; "
            "corpus.schema.outcome makes both"
        )
    return kept, [ordinal for ordinal, is_kept in zip(ordinals, mask, strict=True) if not is_kept]


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
