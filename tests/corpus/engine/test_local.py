"""Units on this machine: a row that hangs, crashes or hoards memory is quarantined, and all other rows are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.engine.base import Event, Failure, Limits, Unit, Work
from corpus.engine.local import LocalEngine
from tests.faults.driver import is_gone
from tests.support.works import PidWork, RowsWork

LIMITS = Limits(grace=0.5, poll=0.02, memory=600)


def run(
    work: Work, units: list[Unit], workers: int, on_event: Callable[[Event], None], limits: Limits = LIMITS
) -> list[Failure]:
    with LocalEngine(workers, limits) as engine:
        return engine.run(work, units, on_event)


def units(count: int) -> list[Unit]:
    return [Unit(f"u{index}", ()) for index in range(count)]


def results(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("workers", [1, 3])
def test_all_units_run(tmp_path: Path, workers: int) -> None:
    events: list[Event] = []
    assert run(RowsWork(str(tmp_path), 6), units(5), workers, events.append) == []
    assert results(tmp_path) == {f"u{i}": "[0, 1, 2, 3, 4, 5] {}" for i in range(5)}
    assert sorted(event.unit for event in events if event.kind == "done") == [f"u{i}" for i in range(5)]
    assert all(0 <= event.share <= workers for event in events)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exit", "crash exit code 3"),
        ("segv", "crash SIGSEGV"),
        ("kill", "crash SIGKILL"),
        ("hang", "timeout 1"),
        ("stop", "timeout 1"),
        ("hoard", "memory 600 MiB"),
    ],
)
def test_a_row_that_takes_its_process_along_is_quarantined(tmp_path: Path, how: str, why: str) -> None:
    # The hoarder gets so much time that its memory is noticed before its time is over.
    work = RowsWork(str(tmp_path), 6, (("u1", 2, how), ("u1", 5, how)), seconds=30.0 if how == "hoard" else 1.0)
    assert run(work, units(3), 2, lambda event: None) == []
    assert results(tmp_path) == {
        "u0": "[0, 1, 2, 3, 4, 5] {}",
        "u1": f"[0, 1, 3, 4] {{2: 'stage {why}', 5: 'stage {why}'}}",
        "u2": "[0, 1, 2, 3, 4, 5] {}",
    }


def test_a_row_that_sleeps_is_stopped_within_its_process(tmp_path: Path) -> None:
    events: list[Event] = []
    assert run(RowsWork(str(tmp_path), 3, (("u0", 1, "sleep"),), batch=1), units(1), 1, events.append) == []
    assert results(tmp_path) == {"u0": "[0, -1, 2] {}"}
    assert not [event for event in events if event.kind == "quarantine"]


def test_an_error_is_tried_three_times_and_fails_its_unit_alone(tmp_path: Path) -> None:
    events: list[Event] = []
    (failure,) = run(RowsWork(str(tmp_path), 3, (("u1", 0, "raise"),)), units(3), 1, events.append)
    assert failure.unit == "u1"
    assert failure.reason.startswith("RuntimeError: asked for (")
    assert [event.unit for event in events if event.kind == "retry"] == ["u1", "u1"]
    assert sorted(results(tmp_path)) == ["u0", "u2"]


def test_bad_input_is_not_tried_again(tmp_path: Path) -> None:
    events: list[Event] = []
    (failure,) = run(RowsWork(str(tmp_path), 3, (("u0", 0, "value"),)), units(1), 1, events.append)
    assert failure.reason == "asked for"
    assert [event.kind for event in events if event.kind != "tick"] == ["failed"]


@pytest.mark.parametrize("how", ["kill", "segv", "stop"])
def test_a_row_is_not_blamed_for_one_loss(tmp_path: Path, how: str) -> None:
    output = tmp_path / "out"
    output.mkdir()
    events: list[Event] = []
    assert run(RowsWork(str(output), 6, (("u0", 2, f"once-{how}"),)), units(2), 2, events.append) == []
    assert results(output) == {f"u{i}": "[0, 1, 2, 3, 4, 5] {}" for i in range(2)}
    assert not [event for event in events if event.kind == "quarantine"]


def test_a_row_that_was_stopped_with_its_process_is_not_over_its_limit(tmp_path: Path) -> None:
    events: list[Event] = []
    limits = Limits(grace=5.0, poll=0.02)
    assert run(RowsWork(str(tmp_path), 3, (("u0", 1, "pause"),), batch=1), units(1), 1, events.append, limits) == []
    assert results(tmp_path) == {"u0": "[0, 1, 2] {}"}
    assert not [event for event in events if event.kind != "tick" and event.kind != "done"]


def test_a_disk_that_cannot_be_written_ends_the_run_at_once(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(OSError, match="u1: No space left on device"):
        run(RowsWork(str(tmp_path), 2, (("u1", -1, "full"),)), units(3), 1, events.append)
    assert sorted(results(tmp_path)) == ["u0"]
    assert not [event for event in events if event.kind == "retry"]


def test_where_a_page_hangs_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    assert run(RowsWork(str(tmp_path), 2, (("u0", 1, "hang"),), batch=1), units(1), 1, events.append) == []
    (quarantine,) = [event for event in events if event.kind == "quarantine"]
    assert (quarantine.unit, quarantine.row) == ("u0", 1)
    assert quarantine.detail == "row 1: timeout in stage (1)"
    assert "in misbehave" in quarantine.trace
    assert [event.detail for event in events if event.kind == "retry"] == ["row 1: timeout in stage (1)"]


def test_where_a_page_segfaults_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    assert run(RowsWork(str(tmp_path), 2, (("u0", 1, "segv"),), batch=1), units(1), 1, events.append) == []
    (quarantine,) = [event for event in events if event.kind == "quarantine"]
    assert "Segmentation fault" in quarantine.trace
    assert "in misbehave" in quarantine.trace


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("kill", "its process ended (SIGKILL)"),
        ("exit", "its process ended (exit code 3)"),
        ("stop", "its process was stopped by a signal"),
        ("hang", "its process gave no sign of life for 2 s"),
        ("sleep", "the unit took more than 4 s"),
    ],
)
def test_what_happens_outside_of_any_row_fails_the_unit_alone(tmp_path: Path, how: str, why: str) -> None:
    limits = Limits(grace=0.5, poll=0.02, attempts=2, heartbeat=2.0, unit=4.0)
    events: list[Event] = []
    (failure,) = run(RowsWork(str(tmp_path), 2, (("u1", -1, how),)), units(3), 2, events.append, limits)
    assert (failure.unit, failure.reason) == ("u1", why)
    assert [event.detail for event in events if event.kind == "retry"] == [why]
    assert sorted(results(tmp_path)) == ["u0", "u2"]


def test_workers_stay_for_the_next_run(tmp_path: Path) -> None:
    with LocalEngine(1, LIMITS) as engine:
        for key in ("u0", "u1"):
            assert engine.run(PidWork(str(tmp_path)), [Unit(key, ())], lambda event: None) == []
    assert len(set(results(tmp_path).values())) == 1


def test_a_worker_whose_memory_has_grown_is_replaced(tmp_path: Path) -> None:
    limits = Limits(recycle=300)
    assert run(PidWork(str(tmp_path), hoard=100), units(12), 1, lambda event: None, limits) == []
    assert 3 <= len(set(results(tmp_path).values())) <= 6


SCRIPT = """
import sys
from corpus.engine.base import Interrupted, Unit
from corpus.engine.local import LocalEngine
from tests.support.works import RowsWork
def tell(event):
    if event.kind == "done":
        print("done", flush=True)
if __name__ == "__main__":
    work = RowsWork(sys.argv[1], 1, (("u1", 0, "sleep"),), seconds=60)
    try:
        with LocalEngine(1) as engine:
            engine.run(work, [Unit("u0", ()), Unit("u1", ())], tell)
    except Interrupted:
        sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_supervisor(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    output = tmp_path / "out"
    output.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    driver = subprocess.Popen(
        [sys.executable, str(script), str(output)],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    with driver:
        assert driver.stdout
        assert driver.stdout.readline() == b"done\n"
        os.kill(driver.pid, how)
        assert driver.wait(20) == (-9 if how is signal.SIGKILL else 130)
    assert is_gone(driver.pid)
    assert results(output) == {"u0": "[0] {}"}
