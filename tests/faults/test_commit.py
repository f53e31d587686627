"""A unit is committed once, whatever happens meanwhile, and even if others try too."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from corpus.engine.base import Failure, Limits, Unit
from corpus.engine.local import LocalEngine
from corpus.store.shards import Dataset
from corpus.store.verify import verify
from tests.faults.chains import Peace, faulty_work, files
from tests.faults.driver import Task, await_that, left_behind
from tests.faults.works import SignedWork
from tests.support.command import answer, command

UNITS = [Unit(f"u{number:02d}", ()) for number in range(20)]
CALM = Limits(poll=0.02)


@pytest.mark.parametrize("moment", ["writing", "publishing", "published", "recorded"])
def test_a_crash_on_the_way_from_data_to_record(moment: str, peace: Peace, engine: LocalEngine, tmp_path: Path) -> None:
    flags, output, victim = tmp_path / "flags", tmp_path / "out", peace.units[1]
    flags.mkdir()
    faulty = faulty_work(output, victim.key, moment, flags)
    assert engine.run(faulty, peace.units, lambda event: None) == []
    assert len(list(flags.iterdir())) == 1
    dataset = Dataset(output)
    dataset.begin({})  # as the next run does
    assert verify(dataset).problems == ()
    assert left_behind(output) == []
    for unit in peace.units:
        assert files(dataset, unit) == files(peace.dataset, unit)


def test_two_drivers_on_one_output(small: Task, tmp_path: Path) -> None:
    output = tmp_path / "out"
    drivers = [small.start(output, 1), small.start(output, 1)]
    for driver in drivers:
        _, errors = driver.communicate(timeout=120)
        assert driver.returncode == 0, errors
    small.check(output)


def test_of_two_attempts_with_different_bytes_one_wins(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    dataset.begin({})
    failures: list[Failure] = []

    def write(name: str) -> None:
        with LocalEngine(2, CALM) as engine:
            failures.extend(engine.run(SignedWork(str(tmp_path), name), UNITS, lambda event: None))

    writers = [threading.Thread(target=write, args=(name,)) for name in ("left", "right")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert verify(dataset).problems == ()
    assert dataset.units() == [unit.key for unit in UNITS]
    for record in dataset.records():
        (output,) = record.outputs
        assert dataset.table(output).column("writer").to_pylist() == [record.config] * 10
    assert left_behind(tmp_path) == []  # the second one has removed its file


@pytest.mark.parametrize("dies", [False, True])
def test_a_zombie_that_publishes_after_the_winner(dies: bool, tmp_path: Path) -> None:
    """A zombie: an attempt that was stopped while another attempt committed, and then goes on."""
    output, gate = tmp_path / "out", tmp_path / "gate"
    os.mkfifo(gate)
    unit = UNITS[:1]
    dataset = Dataset(output)
    dataset.begin({})
    failures: list[Failure] = []
    zombie = LocalEngine(1, Limits(poll=0.02, attempts=1))
    late = SignedWork(str(output), "zombie", str(gate), dies)
    run = threading.Thread(target=lambda: failures.extend(zombie.run(late, unit, lambda event: None)))
    run.start()
    assert await_that(lambda: list(output.glob("_tmp/*/kept.parquet")))
    with LocalEngine(1, CALM) as engine:
        assert engine.run(SignedWork(str(output), "winner"), unit, lambda event: None) == []
    before = files(dataset, unit[0])
    gate.write_text("go on")
    run.join()
    zombie.close()
    assert [failure.reason for failure in failures] == (["its process ended (SIGKILL)"] if dies else [])
    assert files(dataset, unit[0]) == before
    (shard,) = dataset.files("documents")
    assert dataset.table(shard).column("writer").to_pylist() == ["winner"] * 10
    assert verify(dataset).problems == ()
    beside = [path for path in (output / "data").iterdir() if path.name != Path(shard.path).name]
    assert len(beside) == dies
    assert answer("corpus", "gc", output, "--min-age", "0")["files"] == [str(path) for path in beside]
    command("corpus", "verify", output)
    assert left_behind(output) == []
