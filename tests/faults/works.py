"""Stages and works that fail on request. They have a module of their own, because spawned workers import them."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from corpus.engine.base import Attempt, Unit
from corpus.run.work import ChainWork
from corpus.schema import Outcome, outcome
from corpus.store.local import LocalStorage
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter

_HOARD = 3 << 30  # bytes that a hoarder takes if it is not stopped


def misbehave(how: str) -> None:
    """End, block or exhaust this process as `how` asks."""
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "raise":
            raise RuntimeError("asked for")
        case "sleep":
            time.sleep(3600)
        case "regex":  # backtracks practically for ever
            re.match(r"(a|aa)+$", "a" * 200 + "b")
        case "hang":  # a C call that never ends: it holds the interpreter, so no signal handler runs
            all(itertools.repeat(True))
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hoard":
            taken = [bytearray(b"x") * (16 << 20) for _ in range(_HOARD >> 24)]
            time.sleep(3600 if taken else 0)


def happens(flags: str, name: str, times: int) -> bool:
    """Whether a fault that happens `times` times happens now. The count is kept in files, over all processes."""
    for count in range(times):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(Path(flags, f"{name}.{count}"), os.O_CREAT | os.O_EXCL))
            return True
    return False


@dataclass(frozen=True)
class Config:
    """Settings of the stage below: the faults of the pages with these ids; `times` times if `flags` is a folder."""

    faults: tuple[tuple[str, str], ...] = ()
    flags: str = ""
    times: int = 1


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """A stage that keeps every row, unless one has a fault."""
    faults = dict(config.faults)
    for page in batch.column("id").to_pylist():
        if page in faults and (not config.flags or happens(config.flags, faults[page], config.times)):
            misbehave(faults[page])
    return outcome(batch, "faulty", {})


@dataclass(frozen=True)
class FaultyWork(ChainWork):
    """A chain that fails outside of any row's guard, at one moment of the unit `victim`.

    The moments: "reading", after a few records; "writing", before the shard's footer; "publishing", when one file is
    published and the other is not; "published", when all files are published and the record is not; "recorded", when
    the record is there and nothing is cleaned up.
    """

    victim: str = ""
    moment: str = ""
    how: str = "kill"
    flags: str = ""  # a folder, for `happens`
    times: int = 1

    def run(self, unit: Unit, attempt: Attempt) -> None:
        if unit.key != self.victim:
            return super().run(unit, attempt)
        with getattr(self, f"_{self.moment}")():
            return super().run(unit, attempt)

    def _strike(self, *ignored: object) -> None:
        if happens(self.flags, self.moment, self.times):
            misbehave(self.how)

    def _strike_at(self, key: str, folder: str) -> None:
        if key.startswith(folder):
            self._strike()

    def _reading(self) -> contextlib.AbstractContextManager[Any]:
        from corpus.warc import pages as warc

        read_pages = warc.read_pages

        def stopping(*arguments: Any, **more: Any) -> Iterator[Any]:
            pages = read_pages(*arguments, **more)
            yield from itertools.islice(pages, 3)
            self._strike()
            yield from pages

        return mock.patch.object(warc, "read_pages", stopping)

    def _writing(self) -> contextlib.AbstractContextManager[Any]:
        return _before(ShardWriter, "close", self._strike)

    def _publishing(self) -> contextlib.AbstractContextManager[Any]:
        return _before(LocalStorage, "publish", lambda local, key: self._strike_at(key, "dropped/"))

    def _published(self) -> contextlib.AbstractContextManager[Any]:
        return _before(LocalStorage, "create", lambda key, data: self._strike_at(key, "_units/"))

    def _recorded(self) -> contextlib.AbstractContextManager[Any]:
        create = LocalStorage.create

        def recorded(storage: LocalStorage, key: str, data: bytes) -> bool:
            created = create(storage, key, data)
            self._strike()
            return created

        return mock.patch.object(LocalStorage, "create", recorded)


def _before(owner: type, method: str, action: Callable[..., object]) -> contextlib.AbstractContextManager[Any]:
    """Replace a method by one that first calls `action` with its arguments."""
    original = getattr(owner, method)

    def replacement(this: Any, *arguments: Any, **named: Any) -> Any:
        action(*arguments, **named)
        return original(this, *arguments, **named)

    return mock.patch.object(owner, method, replacement)


NUMBERS = pa.schema([("writer", pa.string()), ("row", pa.int64())])


@dataclass(frozen=True)
class SignedWork:
    """A work with a bug: its bytes name their writer, so two attempts at a unit differ.

    With `gate`, a FIFO, it waits before it commits until somebody writes to the FIFO. If others have gone on
    meanwhile, it is a zombie.
    """

    output: str
    writer: str
    gate: str = ""
    dies: bool = False  # after the gate, when its files are published and the record is not

    def run(self, unit: Unit, attempt: Attempt) -> None:
        dataset = Dataset(self.output)
        with dataset.storage.scratch() as folder:
            shard = ShardWriter(folder / "kept.parquet", NUMBERS)
            shard.write(pa.record_batch([[self.writer] * 10, list(range(10))], schema=NUMBERS))
            shard.close()
            written = shard.output(unit.key, "documents")
            if self.gate:
                Path(self.gate).read_bytes()
            if self.dies:
                dataset.storage.publish(shard.path, written.path)
                misbehave("kill")
            counts = {"stage": "signed", "read": 10, "kept": 10, "dropped": {}}
            record = CommitRecord(unit.key, "signed", self.writer, unit.inputs, (written,), (counts,))
            dataset.commit(record, [shard.path])


@dataclass(frozen=True)
class NoWork:
    """A unit does nothing; with `output`, it commits an empty record."""

    output: str = ""
    config_hash: str = ""

    def run(self, unit: Unit, attempt: Attempt) -> None:
        if self.output:
            counts = {"stage": "nothing", "read": 0, "kept": 0, "dropped": {}}
            Dataset(self.output).commit(CommitRecord(unit.key, "nothing", self.config_hash, (), (), (counts,)), [])


class SleepWork:
    """A unit never ends."""

    def run(self, unit: Unit, attempt: Attempt) -> None:
        time.sleep(3600)
