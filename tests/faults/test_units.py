"""`--units i/n`: tasks that share only the output folder write what one process with many workers writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.driver import Task
from tests.support.command import inside

Way = Callable[[Task, Path], None]
TASKS = [("--units", f"{task}/3") for task in (1, 2, 3)]


def in_turns(task: Task, output: Path) -> None:
    """Run the tasks one after the other, the last one first, until no task has to wait for others."""
    for _ in range(10):  # more rounds than barriers
        answers = [inside("corpus", *task.line(output, 1, *units)).stderr for units in reversed(TASKS)]
        waiting = [[line for line in answer.splitlines() if line.startswith("waiting: ")] for answer in answers]
        assert all(len(lines) <= 1 for lines in waiting), answers
        if not any(waiting):
            return
    raise AssertionError(f"still waiting: {waiting}")


def at_once(task: Task, output: Path) -> None:
    """Run all tasks at the same time; each waits at the barriers."""
    tasks = [task.start(output, 1, *units, "--wait", "10") for units in TASKS]
    for process in tasks:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        assert "waiting: " not in errors


@pytest.mark.parametrize("way", [in_turns, at_once])
def test_three_tasks(way: Way, small: Task, tmp_path: Path) -> None:
    way(small, tmp_path / "out")
    small.check(tmp_path / "out")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", [in_turns, at_once])
def test_three_tasks_on_real_pages(way: Way, large: Task, tmp_path: Path) -> None:
    way(large, tmp_path / "out")
    large.check(tmp_path / "out")


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 3])
def test_the_number_of_workers(workers: int, small: Task, tmp_path: Path) -> None:
    small.finish(tmp_path / "out", workers)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_on_real_pages(workers: int, large: Task, tmp_path: Path) -> None:
    large.finish(tmp_path / "out", workers)


def test_a_task_that_waits_for_others_says_what_is_missing(small: Task, tmp_path: Path) -> None:
    done = inside("corpus", *small.line(tmp_path / "out", 1, "--units", "2/3"))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("waiting: ")]
    assert "2 of 3 units" in line
    assert "SAMPLE-00000" in line
