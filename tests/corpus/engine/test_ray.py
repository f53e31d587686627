"""Units on a Ray cluster of one node: the same ends as on one machine, lost nodes, and errors in one line."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import corpus.engine.ray as engine_ray
from corpus.engine.base import Engine, Event, Failure, Limits, Unit, Work
from corpus.engine.local import LocalEngine
from corpus.engine.node import Assignment
from corpus.engine.ray import RayEngine
from tests.faults import ray_cluster
from tests.faults.driver import await_that, workers_of
from tests.faults.ray_works import FileWork, ShardWork, SignalWork
from tests.support.paths import REPOSITORY
from tests.support.works import RowsWork

ray = pytest.importorskip("ray")

LIMITS = Limits(grace=0.5, poll=0.02, memory=600, silence=3.0)


@pytest.fixture(scope="module")
def node() -> Iterator[ray_cluster.Node]:
    """A cluster of one node with two processors, and the environment to talk to it."""
    with ray_cluster.head("127.0.0.2", 2) as node, ray_cluster.environment(node):
        yield node


@pytest.fixture(scope="module")
def engine(node: ray_cluster.Node) -> Iterator[RayEngine]:
    with RayEngine(None, LIMITS) as engine:
        yield engine


def units(*keys: str) -> list[Unit]:
    return [Unit(key, ()) for key in keys]


def results(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(folder.iterdir())}


def told(engine: Engine, work: Work, todo: list[Unit]) -> tuple[list[Failure], list[Event]]:
    """Run; also returns the events for the user."""
    events: list[Event] = []
    failures = engine.run(work, todo, events.append)
    return failures, [event for event in events if event.kind != "tick"]


def test_all_units_run(engine: RayEngine, tmp_path: Path) -> None:
    events: list[Event] = []
    todo = units(*(f"u{index}" for index in range(20)))
    assert engine.run(RowsWork(str(tmp_path), 6), todo, events.append) == []
    assert results(tmp_path) == {unit.key: "[0, 1, 2, 3, 4, 5] {}" for unit in todo}
    assert sorted(event.unit for event in events if event.kind == "done") == sorted(unit.key for unit in todo)
    assert [event.done for event in events if event.kind == "done"] == list(range(1, 21))


@pytest.mark.parametrize(
    ("faults", "seconds", "failed"),
    [
        (("exit", "segv", "kill", "once-kill", "hang", "stop", "sleep"), 1.0, []),
        (("hoard",), 30.0, []),  # so much time that its memory is noticed first
        (("raise", "value"), 1.0, ["raise", "value"]),
    ],
)
def test_faults_end_as_on_one_machine(
    engine: RayEngine, tmp_path: Path, faults: tuple[str, ...], seconds: float, failed: list[str]
) -> None:
    todo = units(*faults, "outside", "good")
    behaviour = (*((how, 2, how) for how in faults), ("outside", -1, "exit"))
    seen = {}
    with LocalEngine(2, LIMITS) as local:
        engines: dict[str, Engine] = {"local": local, "ray": engine}
        for name, either in engines.items():
            output = tmp_path / name
            output.mkdir()
            failures, events = told(either, RowsWork(str(output), 4, behaviour, seconds), todo)
            reasons = {failure.unit: failure.reason.removesuffix(" (node 127.0.0.2)") for failure in failures}
            said = sorted((e.kind, e.unit, e.detail.removesuffix(" (node 127.0.0.2)"), bool(e.trace)) for e in events)
            seen[name] = results(output), reasons, said
    assert seen["ray"] == seen["local"]
    assert sorted(seen["ray"][1]) == sorted(["outside", *failed])
    assert sorted(seen["ray"][0]) == sorted({*faults, "good"} - set(failed))


def test_bad_input_is_not_tried_again_and_names_node_and_path(engine: RayEngine, tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing.warc")
    (failure,), events = told(engine, FileWork(str(tmp_path), missing), units("u0"))
    assert failure.reason.startswith(f"{missing}: No such file or directory; check the name")
    assert failure.reason.endswith("(node 127.0.0.2)")
    assert [event.kind for event in events] == ["failed"]


def test_relative_paths_start_from_the_drivers_folder(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "input").write_text("here")
    monkeypatch.chdir(tmp_path)
    assert engine.run(FileWork("out", "input"), units("u0"), lambda event: None) == []
    assert results(tmp_path / "out") == {"u0": "here"}


def test_a_unit_that_wants_more_memory_than_there_is_runs_all_the_same(engine: RayEngine, tmp_path: Path) -> None:
    work = FileWork(str(tmp_path), __file__, memory=1 << 30)
    assert engine.run(work, units("u0", "u1"), lambda event: None) == []
    assert sorted(results(tmp_path)) == ["u0", "u1"]


@pytest.mark.parametrize(("times", "failed"), [(1, []), (99, ["u1"])])
def test_a_unit_that_ends_rays_process_is_tried_three_times(
    engine: RayEngine, tmp_path: Path, times: int, failed: list[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    failures, events = told(engine, SignalWork(str(output), "u1", signal.SIGKILL, times), units("u0", "u1", "u2"))
    assert [failure.unit for failure in failures] == failed
    assert [event.unit for event in events if event.kind == "retry"] == ["u1"] * min(times, 2)
    assert sorted(results(output)) == [key for key in ("u0", "u1", "u2") if key not in failed]


def test_a_unit_that_falls_silent_is_given_up_and_done_again(engine: RayEngine, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    failures, events = told(engine, SignalWork(str(output), "u1", signal.SIGSTOP, 1), units("u0", "u1", "u2"))
    assert failures == []
    assert sorted(results(output)) == ["u0", "u1", "u2"]
    retries = [(event.unit, event.detail) for event in events if event.kind == "retry"]
    assert retries == [("u1", "node 127.0.0.2 has been silent for 3 s")]


def test_a_unit_that_falls_silent_everywhere_fails(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    monkeypatch.setattr(engine, "limits", Limits(attempts=1, silence=2.0))
    failures, _ = told(engine, SignalWork(str(output), "u1", signal.SIGSTOP, 99), units("u0", "u1"))
    assert failures == [Failure("u1", "its nodes are lost: node 127.0.0.2 has been silent for 2 s")]
    assert sorted(results(output)) == ["u0"]


def test_a_lost_board_is_no_loss(engine: RayEngine, tmp_path: Path) -> None:
    events: list[Event] = []

    def on_event(event: Event) -> None:
        if event.read and not any(earlier.read for earlier in events):
            ray.kill(engine.board, no_restart=False)
        events.append(event)

    notes = tmp_path / "notes"
    notes.mkdir()
    work = ShardWork(str(tmp_path / "out"), str(notes), rows=int(3 * LIMITS.silence), seconds=1.0)
    work.begin()
    assert engine.run(work, units("u0"), on_event) == []
    assert [event.kind for event in events if event.kind != "tick"] == ["done"]
    assert any(event.read for event in events)
    assert len(list(notes.iterdir())) == 1


def test_a_node_with_other_code_is_named(engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_ray, "Assignment", functools.partial(Assignment, version="0.0.1"))
    with pytest.raises(ValueError, match=r"node 127\.0\.0\.2 has corpus .*, the driver 0\.0\.1; install one version"):
        engine.run(RowsWork(str(tmp_path), 1), units("u0"), lambda event: None)
    assert results(tmp_path) == {}


def test_a_node_without_our_code_is_said_in_one_line(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "only_here.py"
    module.write_text("def run_unit(*arguments): pass")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    monkeypatch.setattr(engine, "task", ray.remote(only_here.run_unit))
    with pytest.raises(ValueError, match=r"cannot be loaded on a node .* \(ModuleNotFoundError: .*'only_here'\)$"):
        engine.run(RowsWork(str(tmp_path), 1), units("u0"), lambda event: None)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("", "set RAY_ADDRESS to a running Ray cluster"),
        ("local", "set RAY_ADDRESS to a running Ray cluster"),
        ("ray://127.0.0.1:10001", "RAY_ADDRESS=ray://127.0.0.1:10001: give host:port"),
        ("http://127.0.0.1:8265", "RAY_ADDRESS=http://127.0.0.1:8265: give host:port"),
        ("127.0.0.2:1", "no Ray cluster at RAY_ADDRESS=127.0.0.2:1 (.*refused.*); is it running?"),
        ("127.0.0.2:port", "no Ray cluster at RAY_ADDRESS=127.0.0.2:port (.*); is it running?"),
    ],
)
def test_an_address_without_a_cluster_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, address: str, line: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match=line.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        RayEngine(None)


def test_without_ray_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"the engine ray needs Ray: pip install '\.\[ray\]'"):
        RayEngine("auto")


def refuse(error: Exception) -> Callable[..., None]:
    def init(**arguments: object) -> None:
        raise error

    return init


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.1\n"),
            "Ray: 2.1; use the cluster's",
        ),
        (ray.exceptions.AuthenticationError("InvalidAuthToken"), "it demands a token; .*RAY_AUTH_MODE=token"),
        (ConnectionError("No raylet\nhere"), "No raylet here; run this on one of its nodes, or as a Ray job"),
    ],
)
def test_a_cluster_that_does_not_take_us_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.setattr(ray, "init", refuse(error))
    with pytest.raises(ValueError, match=line) as caught:
        RayEngine("auto")
    assert "\n" not in str(caught.value)


SCRIPT = """
import sys
from corpus.engine.base import Interrupted, Unit
from corpus.engine.ray import RayEngine
from tests.support.works import RowsWork
def tell(event):
    if event.read:
        print("at work", file=sys.__stdout__, flush=True)
work = RowsWork(sys.argv[1], 3, (("u0", 2, "sleep"), ("u1", 2, "sleep")), seconds=300, batch=1)
try:
    with RayEngine(None) as engine:
        engine.run(work, [Unit("u0", ()), Unit("u1", ()), Unit("u2", ())], tell)
except Interrupted:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_runs_on_the_cluster_ends_with_the_driver(
    node: ray_cluster.Node, tmp_path: Path, how: signal.Signals
) -> None:
    before = set(workers_of(node.process.pid))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    output = tmp_path / "out"
    output.mkdir()
    with subprocess.Popen(
        [sys.executable, str(script), str(output)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
    ) as driver:
        assert driver.stdout
        assert driver.stdout.readline() == b"at work\n"
        assert set(workers_of(node.process.pid)) - before
        os.kill(driver.pid, how)
        driver.stdout.read()
        assert driver.wait(30) == (-9 if how is signal.SIGKILL else 130)
    assert await_that(lambda: set(workers_of(node.process.pid)) <= before)
    assert results(output) == {}
