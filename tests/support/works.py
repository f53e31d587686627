"""Works and stages that misbehave on request. They have a module of their own, because spawned workers import them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from corpus.engine.base import Attempt, Quarantine, TimeLimit, Unit
from corpus.schema import Drop, Outcome, outcome


def misbehave(how: str) -> None:
    """Do what the text says."""
    if how == "exit":
        os._exit(3)
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "pause":  # stopped from outside, and continued after its limit of a second
        subprocess.Popen(["/bin/sh", "-c", f"sleep 1.2; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "sleep":
        time.sleep(60)
    if how == "hang":  # a C call that never ends, so no signal handler runs
        sum(range(10**15))
    if how == "hoard":  # a gigabyte of memory that is really used
        hoard = bytearray(b"x") * (1 << 30)
        time.sleep(60 if hoard else 0)
    if how == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if how == "raise":
        raise RuntimeError("asked for")
    if how == "unicode":
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "asked for")
    if how == "value":
        raise ValueError("asked for")
    if how == "missing":
        Path("nothere").read_text()
    if how == "quit":
        sys.exit("asked for")
    if how == "surrogate":
        raise ValueError("\ud800")
    if how == "unprintable":
        raise Unprintable


class Unprintable(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("asked for")


@dataclass(frozen=True)
class RowsWork:
    """A unit of rows; `behaviour` says what each (unit, row) does, `batch` how many rows are guarded together.

    Row -1 stands for the time before any guard. A behaviour that begins with `once-` happens only once.
    """

    folder: str
    rows: int
    behaviour: tuple[tuple[str, int, str], ...] = ()
    seconds: float = 1.0
    batch: int = 4

    def run(self, unit: Unit, attempt: Attempt) -> None:
        asked = {(key, row): how for key, row, how in self.behaviour}
        size = 1 if attempt.careful else self.batch
        done = []
        self._misbehave(asked, unit, -1)
        for start in range(0, self.rows, size):
            rows = [row for row in range(start, min(start + size, self.rows)) if row not in attempt.quarantine]
            if not rows:
                continue
            try:
                with attempt.guard("stage", rows[0], len(rows), self.seconds):
                    for row in rows:
                        self._misbehave(asked, unit, row)
                done += rows
            except TimeLimit:
                done.append(-1)
            attempt.progress(start, len(done), start / self.rows)
        bad = {row: f"{why.stage} {why.kind} {why.detail}" for row, why in attempt.quarantine.items()}
        Path(self.folder, f"{unit.key}.txt").write_text(f"{done} {bad}")

    def _misbehave(self, asked: dict[tuple[str, int], str], unit: Unit, row: int) -> None:
        how = asked.get((unit.key, row), "")
        if how.startswith("once-"):
            flag = Path(self.folder + f".{unit.key}.{row}")
            if flag.exists():
                return
            flag.touch()
        misbehave(how.removeprefix("once-"))


@dataclass(frozen=True)
class PidWork:
    """Writes the id of its process, and keeps `hoard` MiB for as long as the process lives."""

    folder: str
    hoard: int = 0

    def run(self, unit: Unit, attempt: Attempt) -> None:
        KEPT.append(bytearray(b"x") * (self.hoard << 20))
        Path(self.folder, f"{unit.key}.txt").write_text(str(os.getpid()))


KEPT: list[bytearray] = []


class NotingAttempt:
    """An attempt without an engine, which notes what it is asked; the row `hang` runs into the time limit."""

    number = 1

    def __init__(self, careful: bool = False, quarantine: Mapping[int, Quarantine] | None = None, hang: int = -1):
        self.careful = careful
        self.quarantine = quarantine or {}
        self.hang = hang
        self.guards: list[tuple[int, int]] = []
        self.notes: list[tuple[int, Quarantine, str]] = []

    @contextlib.contextmanager
    def guard(self, stage: str, first: int, rows: int, seconds: float) -> Iterator[None]:
        self.guards.append((first, rows))
        if first <= self.hang < first + rows:
            raise TimeLimit
        yield

    def progress(self, read: int, kept: int, share: float) -> None:
        pass

    def note(self, row: int, why: Quarantine, trace: str) -> None:
        self.notes.append((row, why, trace))


@dataclass(frozen=True)
class Config:
    """Settings of the stage below: texts that begin with `bad` are dropped, others may misbehave."""

    bad: str = "bad"


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """A stage: drops, keeps or does what the text says."""
    texts = batch.column("text").to_pylist()
    for text in texts:
        misbehave(text)
    drops = {row: Drop("works.bad", text, config.bad) for row, text in enumerate(texts) if text.startswith(config.bad)}
    return outcome(batch, "works", drops)


def forgetful(batch: pa.RecordBatch, config: Config) -> Outcome:
    """A stage with a bug: it loses a row."""
    kept = outcome(batch, "works", {}).kept.slice(1)
    return Outcome(kept, outcome(batch, "works", {}).dropped)


def maskless(batch: pa.RecordBatch, config: Config) -> Outcome:
    """A stage with a bug: it drops rows, and does not say which."""
    return outcome(batch, "works", {0: Drop("works.bad", "first", config.bad)})._replace(mask=None)
