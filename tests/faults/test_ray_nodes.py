"""Nodes and links are lost while units run: every unit is done exactly once, with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.engine.base import Event, Unit
from corpus.engine.local import LocalEngine
from corpus.engine.ray import RayEngine
from corpus.store.shards import Dataset
from tests.faults import ray_cluster
from tests.faults.driver import Task, await_that, is_gone
from tests.faults.ray_cluster import Cable, Node
from tests.faults.ray_works import FullDiskWork, ShardWork
from tests.support.command import command
from tests.support.paths import REPOSITORY

pytest.importorskip("ray")

UNITS = 12


class Run:
    """A process of `ray_driver` on a cluster, and the events that it printed."""

    def __init__(self, folder: Path, cluster: Node, silence: float, within: str | None = None) -> None:
        self.output, self.notes = folder / "out", folder / "notes"
        self.notes.mkdir()
        self.lines: list[dict[str, Any]] = []
        arguments = (cluster.address, str(self.output), str(self.notes), str(UNITS), str(silence))
        self.process = subprocess.Popen(
            [*ray_cluster.inside(within), sys.executable, "-m", "tests.faults.ray_driver", *arguments],
            cwd=REPOSITORY,
            env=ray_cluster.ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], bool]) -> None:
        """Read its events until a condition holds."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if condition():
                return
        raise AssertionError("the run ended before that")

    def finish(self) -> None:
        assert self.process.stdout
        self.lines += map(json.loads, self.process.stdout)
        assert self.process.wait(60) == 0

    def on(self, node: Node) -> list[str]:
        """Units of which an attempt has begun on this node."""
        notes = [path.name.split() for path in self.notes.iterdir()]
        return sorted(unit for unit, session, _ in notes if int(session) == node.process.pid)

    def told(self, kind: str) -> list[str]:
        return sorted(line["unit"] for line in self.lines if line["kind"] == kind)

    def result(self) -> list[tuple[Any, ...]]:
        return [(record.unit, record.counts, record.outputs) for record in Dataset(self.output).records()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The bytes that every run must write, made on this machine alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    work = ShardWork(str(folder / "out"), str(folder), rows=5, seconds=0.0)
    work.begin()
    with LocalEngine(1) as engine:
        assert engine.run(work, [Unit(f"u{index:02d}", ()) for index in range(UNITS)], lambda event: None) == []
    return [(record.unit, record.counts, record.outputs) for record in Dataset(folder / "out").records()]


@pytest.fixture
def connected() -> Iterator[tuple[Cable, Node, Node]]:
    """Two nodes, each in a network of its own, and the cable between them."""
    with (
        ray_cluster.cable() as cable,
        ray_cluster.head("10.77.7.1", 1, within=cable.left) as left,
        ray_cluster.joined(left, "10.77.7.2", 1, within=cable.right) as right,
    ):
        yield cable, left, right


def check(run: Run, undisturbed: list[tuple[Any, ...]]) -> None:
    """All units are done, each was reported once, and what is committed equals an undisturbed run."""
    assert run.told("done") == [f"u{index:02d}" for index in range(UNITS)]
    assert run.told("failed") == []
    assert run.result() == undisturbed
    named = {output.path for record in Dataset(run.output).records() for output in record.outputs}
    assert {str(path.relative_to(run.output)) for path in run.output.glob("data/*")} == named


def test_a_node_is_killed(tmp_path: Path, undisturbed: list[tuple[Any, ...]]) -> None:
    with ray_cluster.head("127.0.0.2", 1) as left, ray_cluster.joined(left, "127.0.0.3", 1) as right:
        run = Run(tmp_path, left, silence=60.0)
        try:
            run.until(lambda: len(run.on(right)) > 1)
            at_work = set(run.on(right)) - set(run.told("done"))
            os.kill(right.raylet(), signal.SIGKILL)
            run.finish()
        finally:
            run.end()
    assert set(run.told("retry")) <= at_work  # a unit that had just ended is not done again
    check(run, undisturbed)


def test_what_one_node_cannot_do_another_does(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    todo = [Unit(f"u{index}", ()) for index in range(6)]
    events: list[Event] = []
    with ray_cluster.head("127.0.0.2", 1) as left, ray_cluster.joined(left, "127.0.0.3", 1) as right:
        sessions = [node.process.pid for node in (left, right)]
        with ray_cluster.environment(left), RayEngine(None) as engine:
            assert engine.run(FullDiskWork(str(output), sessions[1:]), todo, events.append) == []
            with pytest.raises(OSError, match=r"No space left on device; .* \(node 127\.0\.0\.[23]\)$"):
                engine.run(FullDiskWork(str(output), sessions), todo, lambda event: None)
    assert sorted(path.stem for path in output.iterdir()) == [f"u{index}" for index in range(6)]
    moved = [event.unit for event in events if event.kind == "retry" and event.detail.endswith("(node 127.0.0.3)")]
    assert moved
    assert len(moved) == len(set(moved))


@pytest.mark.parametrize(
    ("silence", "comes_back"),
    [(5.0, True), pytest.param(5.0, False, marks=pytest.mark.long), pytest.param(60.0, True, marks=pytest.mark.long)],
)
def test_a_link_is_lost(
    tmp_path: Path,
    undisturbed: list[tuple[Any, ...]],
    connected: tuple[Cable, Node, Node],
    silence: float,
    comes_back: bool,
) -> None:
    cable, left, right = connected
    run = Run(tmp_path, left, silence, within=cable.left)
    try:
        run.until(lambda: len(run.on(right)) > 1)
        cable.pull()
        run.until(lambda: run.told("retry") != [])
        if comes_back:
            cable.plug()  # the units on the lost node have gone on all the time, and may commit now
        run.finish()
    finally:
        cable.plug()
        run.end()
    # Each unit was given up once, because of the first silence, and not later.
    (lost,) = run.told("retry")
    assert lost in run.on(right)
    check(run, undisturbed)


@pytest.fixture
def single() -> Iterator[Node]:
    """A cluster of one node with two processors; RAY_ADDRESS names it."""
    with ray_cluster.head("127.0.0.2", 2) as node, ray_cluster.environment(node):
        yield node


@pytest.mark.parametrize("crawled", ["small", pytest.param("large", marks=pytest.mark.long)])
def test_a_cluster_writes_the_bytes_of_one_machine(
    single: Node, tmp_path: Path, request: pytest.FixtureRequest, crawled: str
) -> None:
    task: Task = request.getfixturevalue(crawled)
    command("corpus", *task.line(tmp_path, 2, "--engine", "ray"))
    task.check(tmp_path)


def test_a_killed_driver_is_resumed(single: Node, small: Task, tmp_path: Path) -> None:
    driver = small.start(tmp_path, 2, "--engine", "ray", stderr=subprocess.DEVNULL)
    assert await_that(lambda: list(tmp_path.glob("*/_units/*.json")))
    driver.kill()
    driver.wait()
    assert is_gone(driver.pid)
    command("corpus", *small.line(tmp_path, 2, "--engine", "ray"))
    small.check(tmp_path)
