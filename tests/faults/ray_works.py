"""Works for the cluster: they do something to the node that they run on, or write down which node it is."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from corpus.engine.base import Attempt, Unit
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset, ShardWriter


@dataclass(frozen=True)
class SignalWork:
    """The unit `victim` sends a signal to its supervisor, which is Ray's process, in its first `times` attempts."""

    folder: str
    victim: str
    signal: signal.Signals
    times: int

    def run(self, unit: Unit, attempt: Attempt) -> None:
        flags = Path(self.folder + ".flags")
        flags.mkdir(exist_ok=True)
        if unit.key == self.victim and (tried := len(list(flags.iterdir()))) < self.times:
            (flags / str(tried)).touch()
            os.kill(os.getppid(), self.signal)
            signal.pause()
        Path(self.folder, f"{unit.key}.txt").write_text("done")


@dataclass(frozen=True)
class FileWork:
    """Copies its input into the folder; both paths may be relative."""

    folder: str
    path: str
    memory: int = 0  # MiB

    def run(self, unit: Unit, attempt: Attempt) -> None:
        Path(self.folder, f"{unit.key}.txt").write_text(Path(self.path).read_text())


@dataclass(frozen=True)
class FullDiskWork:
    """The nodes with these sessions have no space left. The other nodes wait until one of them has failed."""

    folder: str
    full: list[int]

    def run(self, unit: Unit, attempt: Attempt) -> None:
        shown = Path(self.folder + ".full")
        if os.getsid(0) in self.full:
            shown.touch()
            raise OSError(errno.ENOSPC, "No space left on device")
        while not shown.exists():
            time.sleep(0.05)
        Path(self.folder, f"{unit.key}.txt").write_text("done")


@dataclass(frozen=True)
class ShardWork:
    """Commits a shard, with the same bytes in each attempt; it is slow, and notes on which node each attempt ran."""

    output: str
    notes: str
    rows: int
    seconds: float  # a row

    def begin(self) -> str:
        return Dataset(self.output).begin({"rows": self.rows})

    def run(self, unit: Unit, attempt: Attempt) -> None:
        dataset = Dataset(self.output)
        Path(self.notes, f"{unit.key} {os.getsid(0)} {os.getpid()}").touch()
        schema = pa.schema({"row": pa.int64(), "unit": pa.string()})
        with dataset.storage.scratch() as folder:
            shard = ShardWriter(folder / "shard.parquet", schema)
            for row in range(self.rows):
                with attempt.guard("stage", row, 1, 60.0):
                    time.sleep(self.seconds)
                shard.write(pa.RecordBatch.from_pydict({"row": [row], "unit": [unit.key]}, schema))
                attempt.progress(row, row, row / self.rows)
            shard.close()
            counts = ({"stage": "stage", "read": self.rows, "kept": self.rows, "dropped": {}},)
            record = CommitRecord(unit.key, "stage", self.begin(), (), (shard.output(unit.key, "documents"),), counts)
            dataset.commit(record, [shard.path])
