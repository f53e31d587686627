"""Trackers: what they receive; a missing package is an error at the start, and a later failure stops nothing."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from model import config, track
from model.track import Trackers

CONFIG = {"model": {"layers": 2}, "train": {"lr": 1e-3}}
ROW = {
    "step": 4,
    "loss": 2.5,
    "lr": None,
    "grad_norm": math.nan,
    "skipped": True,
    "reason": "loss spike",
    "samples": ["The <b>cat</b>\n# sat", "Once"],
}


class Writer:
    """A stand-in for torch.utils.tensorboard.SummaryWriter."""

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step = log_dir, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.texts: list[tuple[str, str, int]] = []
        self.closed = False
        made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def add_text(self, name: str, text: str, step: int) -> None:
        self.texts.append((name, text, step))

    def close(self) -> None:
        self.closed = True


class Run:
    """A stand-in for a run of wandb."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.starting_step = 0
        self.rows: list[tuple[dict[str, Any], int]] = []
        self.exit_code: int | None = None
        self.fails: Exception | None = None
        made.append(self)

    def log(self, row: dict[str, Any], step: int) -> None:
        if self.fails:
            raise self.fails
        self.rows.append((row, step))

    def finish(self, exit_code: int) -> None:
        if self.fails:
            raise self.fails
        self.exit_code = exit_code


made: list[Any] = []


def html(text: str, data_is_not_path: bool) -> str:
    assert data_is_not_path
    return text


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    tensorboard: Any = types.ModuleType("torch.utils.tensorboard")
    tensorboard.SummaryWriter = Writer
    wandb: Any = types.ModuleType("wandb")
    wandb.init, wandb.Html = Run, html
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", tensorboard)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


def test_tensorboard_gets_numbers_and_samples_as_they_are(tmp_path: Path) -> None:
    with Trackers(("tensorboard",), tmp_path, CONFIG, pytest.fail) as trackers:
        trackers.log(ROW)
    [writer] = made
    assert (writer.log_dir, writer.purge_step, writer.closed) == (str(tmp_path / "tensorboard"), 1, True)
    assert writer.scalars == [("loss", 2.5, 4), ("skipped", 1.0, 4)]
    assert [(name, step) for name, _, step in writer.texts] == [("config", 0), ("samples/0", 4), ("samples/1", 4)]
    assert '"layers": 2' in writer.texts[0][1]
    assert writer.texts[1][1] == "    The <b>cat</b>\n    # sat\n"


def test_tensorboard_drops_what_is_trained_again(tmp_path: Path) -> None:
    Trackers(("tensorboard",), tmp_path, CONFIG, pytest.fail, start=100).close()
    [writer] = made
    assert (writer.purge_step, writer.texts) == (101, [])


def test_wandb_gets_numbers_and_samples_as_they_are(tmp_path: Path) -> None:
    run = tmp_path / "first"
    run.mkdir()
    with Trackers(("wandb",), run, CONFIG, pytest.fail) as trackers:
        trackers.log(ROW)
    [tracked] = made
    text = '<pre style="white-space: pre-wrap">The &lt;b&gt;cat&lt;/b&gt;\n# sat</pre>'
    [(row, step)] = tracked.rows
    assert step == 4
    assert {name: row[name] for name in row if name != "samples/1"} == {"loss": 2.5, "skipped": 1.0, "samples/0": text}
    assert tracked.exit_code == 0
    expected = {"project": "pretrain", "name": "first", "config": CONFIG, "resume": "allow", "dir": str(run)}
    assert tracked.settings.items() >= expected.items()


def test_wandb_continues_the_curve_of_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for start in (0, 100):
        Trackers(("wandb",), tmp_path, CONFIG, pytest.fail, start).close()
    first, second = (tracked.settings for tracked in made)
    assert first["id"] == second["id"] == (tmp_path / "wandb-id").read_text().strip()
    assert first["project"] == "mine"
    (tmp_path / "other").mkdir()
    trackers = Trackers(("wandb",), tmp_path / "other", CONFIG, pytest.fail, start=100)
    assert made[-1].settings["id"] != first["id"]
    made[-1].starting_step = 103  # the earlier attempt got further than the checkpoint at 100
    for step in range(101, 105):
        trackers.log({"step": step, "loss": 1.0})
    assert [step for _, step in made[-1].rows] == [103, 104]


def test_an_error_of_training_is_not_hidden_and_marks_the_run(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="loss"), Trackers(("wandb",), tmp_path, CONFIG, pytest.fail):
        raise FloatingPointError("loss is not finite")
    assert made[0].exit_code == 1


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_a_missing_package_is_reported_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    other = {"wandb": "tensorboard", "tensorboard": "wandb"}[name]
    with pytest.raises(ValueError, match=f"tracker {name}: .* pip install {name}$"):
        Trackers((other, name), tmp_path, CONFIG, pytest.fail)
    [opened] = made
    assert getattr(opened, "closed", None) or opened.exit_code == 1


def test_an_unknown_tracker_is_named_before_any_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tracker 'comet': should be tensorboard or wandb"):
        Trackers(("wandb", "comet"), tmp_path, CONFIG, pytest.fail)
    assert made == []


def test_the_names_known_without_the_table_are_those_of_the_table() -> None:
    assert tuple(track.TRACKERS) == config.TRACKERS


def test_a_tracker_that_fails_is_reported_once_and_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    trackers = Trackers(("wandb", "tensorboard", "wandb"), tmp_path, CONFIG, said.append)
    tracked, writer = made
    trackers.log({"step": 1, "loss": 3.0})
    tracked.fails = ConnectionError("no route to host\nand much more")
    for step in (2, 3):
        trackers.log({"step": step, "loss": 3.0})
    trackers.close()
    assert said == ["tracker wandb: no route to host; training goes on without it, metrics.jsonl has everything"]
    assert len(tracked.rows) == 1
    assert [step for _, _, step in writer.scalars] == [1, 2, 3]
    assert writer.closed


@pytest.mark.parametrize("when", ["start", "end"])
def test_nor_does_failing_at_the_start_or_the_end_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def refuse(**settings: Any) -> None:
        raise RuntimeError

    said: list[str] = []
    if when == "start":
        monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with Trackers(("wandb",), tmp_path, CONFIG, said.append) as trackers:
        trackers.log({"step": 1, "loss": 3.0})
        if when == "end":
            made[0].fails = RuntimeError()
    assert said == ["tracker wandb: RuntimeError; training goes on without it, metrics.jsonl has everything"]


def test_no_trackers_are_nothing(tmp_path: Path) -> None:
    with Trackers((), tmp_path, CONFIG, pytest.fail) as trackers:
        trackers.log(ROW)
    assert list(tmp_path.iterdir()) == []


def test_what_tensorboard_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real writer, two attempts give one curve; the second attempt starts at step 3."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, loss in ((0, 5.0), (3, 4.0)):
        with Trackers(("tensorboard",), tmp_path, CONFIG, pytest.fail, start) as trackers:
            for step in range(start + 1, start + 6):
                trackers.log({"step": step, "loss": loss, "samples": ["The cat"]})
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    expected = [(step, 5.0 if step <= 3 else 4.0) for step in range(1, 9)]
    assert [(event.step, event.value) for event in read.Scalars("loss")] == expected
    assert "samples/0/text_summary" in read.Tags()["tensors"]
