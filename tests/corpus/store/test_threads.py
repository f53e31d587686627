"""No thread of Arrow's reads a Python stream: a thread that holds one when the interpreter ends aborts the process."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.dedup.results import _read_rows
from corpus.schema import DOCUMENTS, DROPPED
from corpus.store.local import LocalStorage
from corpus.store.records import CommitRecord, Input
from corpus.store.shards import Dataset, ShardWriter
from corpus.store.verify import verify


def commit(folder: Path) -> None:
    """A dataset of two kinds of shards, several row groups long, with its manifest."""
    dataset = Dataset(folder)
    digest = dataset.begin({})
    outputs, paths = [], []
    with dataset.storage.scratch() as scratch:
        for kind, schema in (("documents", DOCUMENTS), ("dropped", DROPPED)):
            rows = [{"id": str(number), "rule": "s.rule", "stage": "s"} for number in range(3000)]
            writer = ShardWriter(scratch / kind, schema)
            writer.write(pa.RecordBatch.from_pylist(rows, schema=schema))
            writer.close()
            outputs.append(writer.output("u", kind))
            paths.append(writer.path)
        counts = ({"stage": "s", "read": 6000, "kept": 3000, "dropped": {"s.rule": 3000}},)
        dataset.commit(CommitRecord("u", "s", digest, (Input("a", 1, "e"),), tuple(outputs), counts), paths)
    dataset.compact()


def test_only_our_own_threads_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path)
    readers: set[type[threading.Thread]] = set()

    class Bytes(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            readers.add(type(threading.current_thread()))
            return super().read(size)

    class File(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            readers.add(type(threading.current_thread()))
            return super().read(size)

    monkeypatch.setattr(LocalStorage, "open", lambda self, key: File(io.FileIO(Path(self.root, key))))
    monkeypatch.setattr(io, "BytesIO", Bytes)
    dataset = Dataset(tmp_path)
    [record] = dataset.records()
    assert len(list(dataset.rows())) == 3000
    assert len(list(dataset.rows("documents", ["id"]))) == 3000
    assert [dataset.table(output).num_rows for output in record.outputs] == [3000, 3000]
    assert len(list(_read_rows(str(tmp_path / record.outputs[0].path), [1, 2500], ["id"]))) == 2
    list(verify(dataset))
    assert threading._DummyThread not in readers  # that is how Python sees a thread that it did not start
