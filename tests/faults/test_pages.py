"""A page kills its process: this page alone is dropped, with the cause, and all others are written unchanged.

The real chain runs on small WARC files, with a stage that does the harm: before the extraction, where pages are guarded
one by one, or after it, where texts go through in batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.engine.base import Event, Unit
from corpus.engine.local import LocalEngine
from corpus.run.commit import DROPPED_SCHEMAS, find_output
from corpus.store.files import sha256
from corpus.store.shards import Dataset, ShardWriter
from corpus.store.verify import verify
from tests.faults.chains import MEMORY, SECONDS, Peace, faulty_work, files, record, work
from tests.faults.works import Config

STOPPED = ("timeout", f"{SECONDS:g}", f"{SECONDS:g}")
CAUSES = {  # rule, value, threshold
    "kill": ("crash", "SIGKILL", "exit"),
    "segfault": ("crash", "SIGSEGV", "exit"),
    "exit": ("crash", "exit code 3", "exit"),
    "sleep": STOPPED,
    "regex": STOPPED,
    "hang": STOPPED,
    "stop": STOPPED,
    "raise": ("error", "RuntimeError: asked for", "exception"),
    "hoard": ("memory", f"{MEMORY} MiB", f"{MEMORY} MiB"),
}


def cases(*short: tuple[object, ...], every: Iterable[tuple[object, ...]]) -> list[Any]:
    """Every case; all but the `short` ones are marked as long tests."""
    return [pytest.param(*case, marks=() if case in short else pytest.mark.long) for case in every]


ALONE = [(how, True) for how in CAUSES]
DEADLY = [(how,) for how in CAUSES if how not in ("sleep", "regex", "raise")]  # Python survives these


@pytest.mark.parametrize(
    ("how", "alone"), cases(*ALONE, ("kill", False), every=itertools.product(CAUSES, (True, False)))
)
def test_a_page_that_takes_its_process_along(
    how: str, alone: bool, peace: Peace, engine: LocalEngine, tmp_path: Path
) -> None:
    victim = peace.units[1]
    page = peace.kept(victim, 5)
    events: list[Event] = []
    assert engine.run(work(tmp_path, Config(((page, how),)), alone), peace.units, events.append) == []
    dataset = Dataset(tmp_path)
    assert verify(dataset).problems == ()
    for unit in (peace.units[0], peace.units[2]):
        assert files(dataset, unit) == files(peace.dataset, unit)
    assert files(dataset, victim) == files_without(page, CAUSES[how], peace, victim, tmp_path)
    assert read(dataset, victim) == read(peace.dataset, victim)
    assert [event.unit for event in events if event.kind == "quarantine"] == [victim.key]


@pytest.mark.parametrize("how", cases(("kill",), every=DEADLY))
def test_a_page_whose_process_dies_once_is_kept(how: str, peace: Peace, engine: LocalEngine, tmp_path: Path) -> None:
    """A process is killed from outside while an innocent page is at work: the page stays."""
    flags, output = tmp_path / "flags", tmp_path / "out"
    flags.mkdir()
    config = Config(((peace.kept(peace.units[1], 5), how),), str(flags))
    assert engine.run(work(output, config, True), peace.units, lambda event: None) == []
    assert [path.name for path in flags.iterdir()] == [f"{how}.0"]
    for unit in peace.units:
        assert files(Dataset(output), unit) == files(peace.dataset, unit)


def test_two_pages_of_one_batch(peace: Peace, engine: LocalEngine, tmp_path: Path) -> None:
    victim = peace.units[0]
    faults = ((peace.kept(victim, 2), "kill"), (peace.kept(victim, 3), "exit"))
    assert engine.run(work(tmp_path, Config(faults), False), [victim], lambda event: None) == []
    dropped = Dataset(tmp_path).table(find_output(Dataset(tmp_path), victim.key, "dropped")).to_pylist()
    found = {row["id"]: (row["rule"], row["value"]) for row in dropped if row["stage"] == "faulty"}
    assert found == {faults[0][0]: ("faulty.crash", "SIGKILL"), faults[1][0]: ("faulty.crash", "exit code 3")}


REASONS = {"kill": "SIGKILL", "raise": "asked for", "stop": "stopped"}


@pytest.mark.parametrize(
    ("how", "moment"),
    cases(("kill", "reading"), ("raise", "writing"), every=itertools.product(REASONS, ("reading", "writing"))),
)
def test_a_fault_outside_of_any_row(how: str, moment: str, peace: Peace, engine: LocalEngine, tmp_path: Path) -> None:
    """No page is to blame: the unit is tried again, and fails with the cause after its last attempt."""
    flags, output, victim = tmp_path / "flags", tmp_path / "out", peace.units[1]
    flags.mkdir()
    faulty = faulty_work(output, victim.key, moment, flags, how, times=4)
    (failure,) = engine.run(faulty, peace.units, lambda event: None)
    assert failure.unit == victim.key
    assert REASONS[how] in failure.reason
    assert len(list(flags.iterdir())) == engine.limits.attempts
    assert engine.run(faulty, [victim], lambda event: None) == []  # the fourth time was the last
    dataset = Dataset(output)
    assert verify(dataset).problems == ()
    for unit in peace.units:
        assert files(dataset, unit) == files(peace.dataset, unit)


def read(dataset: Dataset, unit: Unit) -> int:
    return int(record(dataset, unit).counts[0]["read"])


def files_without(
    page: str, cause: tuple[str, str, str], peace: Peace, unit: Unit, folder: Path
) -> list[tuple[str, int, str]]:
    """What `files` must be if one kept document is dropped instead, computed from the tables alone."""
    whole = peace.table(unit.key, "documents")
    documents, dropped = whole.to_pylist(), peace.table(unit.key, "dropped").to_pylist()
    lost = next(row for row in documents if row["id"] == page)
    documents.remove(lost)
    what, value, threshold = cause
    row = {"stage": "faulty", "rule": f"faulty.{what}", "value": value, "threshold": threshold}
    dropped.append({name: lost.get(name) for name in ("id", "url", "file_path", "warc_offset")} | row)
    dropped.sort(key=lambda row: int(row["warc_offset"]))
    made = []
    for kind, rows, schema in (("documents", documents, whole.schema), ("dropped", dropped, DROPPED_SCHEMAS[False])):
        writer = ShardWriter(folder / f"{kind}.parquet", schema)
        for batch in pa.Table.from_pylist(rows, schema).to_batches():
            writer.write(batch)
        writer.close()
        made.append((kind, len(rows), sha256(writer.path)))
    return made
