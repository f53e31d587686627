"""Training as its user sees it: equal bits however often a run was stopped, and nothing lost to damaged files."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import model.train
from model.checkpoint import checkpoints, is_whole, newest, truncate_metrics
from model.config import RunOptions, Settings, TrainConfig
from model.data import Stream, make_batches, open_stream
from model.gpt import GPT
from model.presets import from_preset
from model.train import Summary, accumulate_gradients, pretrain
from tests.support.model_shards import random_documents, small_model, small_training, write_shard

OPTIONS = RunOptions(device="cpu", log_every=1, validate_every=5, sample_every=0, checkpoint_every=4)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "a.parquet", random_documents(100))
    return open_stream(folder, folder)


def run_training(
    stream: Stream,
    run: Path,
    log: Callable[[str], None] = lambda line: None,
    training: TrainConfig | None = None,
    options: RunOptions = OPTIONS,
) -> Summary:
    return pretrain(stream, run, Settings(small_model(), training or small_training(), options), log)


def stop_at(step: int) -> Callable[[str], None]:
    """A log function that sends SIGTERM to the process when it gets the line of `step`."""

    def log(line: str) -> None:
        if line.split("/")[0].split() == ["step", str(step)]:
            signal.raise_signal(signal.SIGTERM)

    return log


def state_of(run: Path) -> dict[str, Any]:
    found = newest(run, print)
    assert found is not None
    return found[1]


def assert_equal_bits(left: Any, right: Any, where: str = "state") -> None:
    if isinstance(left, Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for name in left:
            assert_equal_bits(left[name], right[name], f"{where}.{name}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for index, (ours, theirs) in enumerate(zip(left, right, strict=True)):
            assert_equal_bits(ours, theirs, f"{where}[{index}]")
    else:
        assert left == right, where


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without the fields that depend on a clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [
        {name: value for name, value in row.items() if name not in ("tokens_per_second", "mfu", "memory_bytes")}
        for row in rows
    ]


@pytest.fixture(scope="module")
def whole_run(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twenty steps without a stop."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    summary = run_training(stream, run)
    assert (summary.step, summary.stopped, summary.skipped) == (20, False, 0)
    return run


def test_loss_falls(whole_run: Path) -> None:
    rows = metrics_of(whole_run)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert [row["step"] for row in rows if "validation_loss" in row] == [5, 10, 15, 20]


def test_ten_steps_a_stop_and_ten_more_equal_twenty(stream: Stream, whole_run: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    summary = run_training(stream, tmp_path / "run", stop_at(10))
    assert (summary.step, summary.stopped) == (10, True)
    assert signal.getsignal(signal.SIGTERM) is before
    assert checkpoints(tmp_path / "run")[0].name == "checkpoint-000010.pt"
    torch.manual_seed(12345)  # the state of the global generator must not matter
    summary = run_training(stream, tmp_path / "run")
    assert (summary.step, summary.resumed_from, summary.stopped) == (20, 10, False)
    ours, theirs = state_of(tmp_path / "run"), state_of(whole_run)
    for part in ("step", "position", "weights", "optimizers", "guard", "rng", "model", "train", "data"):
        assert_equal_bits(ours[part], theirs[part], part)
    assert metrics_of(tmp_path / "run") == metrics_of(whole_run)


def test_stop_at_the_last_step_is_a_finished_run(stream: Stream, tmp_path: Path) -> None:
    assert not run_training(stream, tmp_path, stop_at(20)).stopped
    assert run_training(stream, tmp_path).step == 20


def test_killed_while_writing_leaves_nothing(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-000004.pt.123.partial").write_bytes(b"half")
    options = dataclasses.replace(OPTIONS, checkpoint_every=0)
    run_training(stream, tmp_path, training=small_training(steps=2), options=options)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-000002.pt", "config.json", "metrics.jsonl"]


def test_damaged_newest_checkpoint_falls_back(stream: Stream, whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_training(stream, run)
    latest, before, *_ = checkpoints(run)
    assert [path.name for path in checkpoints(run)] == [f"checkpoint-0000{n}.pt" for n in (20, 16, 12)]
    latest.write_bytes(latest.read_bytes()[:-1000])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "lo')  # a line that the crash cut short
    lines: list[str] = []
    summary = run_training(stream, run, lines.append)
    assert lines[0] == f"{latest}: damaged, falling back to the checkpoint before it"
    assert lines[1] == f"resuming from {before}"
    assert summary.resumed_from == 16
    assert_equal_bits(state_of(run)["weights"], state_of(whole_run)["weights"])
    assert metrics_of(run) == metrics_of(whole_run)


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans())
def test_any_damage_is_noticed(whole_run: Path, place: int, bit: int, cut: bool) -> None:
    whole = checkpoints(whole_run)[0]
    assert is_whole(whole)
    content = bytearray(whole.read_bytes())
    at = place % len(content)
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << bit
    damaged = whole_run / "damaged"
    damaged.write_bytes(content)
    assert not is_whole(damaged)


def test_checkpoint_is_a_plain_pytorch_file(whole_run: Path) -> None:
    path = checkpoints(whole_run)[0]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.comment) == 64
    assert torch.load(path, weights_only=True)["step"] == 20


def test_no_whole_checkpoint_is_an_error_not_a_new_start(stream: Stream, tmp_path: Path) -> None:
    run_training(stream, tmp_path, training=small_training(steps=4))
    for path in checkpoints(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of its 1 checkpoints is whole"):
        run_training(stream, tmp_path, training=small_training(steps=4))


def test_another_micro_batch_changes_nothing_but_rounding(stream: Stream, whole_run: Path, tmp_path: Path) -> None:
    """The windows are equal, but sums are taken in another order: bits may differ, and every loss is within 1e-5."""
    run_training(stream, tmp_path / "run", stop_at(10))
    options = dataclasses.replace(OPTIONS, micro_batch_tokens=2 * 16)
    summary = run_training(stream, tmp_path / "run", options=options)
    assert (summary.step, summary.resumed_from) == (20, 10)
    ours, theirs = metrics_of(tmp_path / "run"), metrics_of(whole_run)
    for mine, whole in zip(ours, theirs, strict=True):
        assert (mine["step"], mine["tokens"], mine["lr"]) == (whole["step"], whole["tokens"], whole["lr"])
        assert mine["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert state_of(tmp_path / "run")["position"] == state_of(whole_run)["position"]


def test_another_batch_size_goes_on_with_the_next_window(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 windows a step, then 4, then 2: every window of the epoch is visited exactly once."""
    seen: list[Tensor] = []

    def watched(module: Any, x_BT: Tensor, *rest: Any) -> Tensor:
        seen.append(x_BT.clone())
        return accumulate_gradients(module, x_BT, *rest)

    monkeypatch.setattr(model.train, "accumulate_gradients", watched)
    lines: list[str] = []
    run_training(stream, tmp_path, training=small_training(steps=5))
    run_training(stream, tmp_path, lines.append, small_training(steps=15, batch_tokens=64, warmup_steps=3))
    assert "from here on train.batch_tokens: 128 becomes 64" in lines
    assert "from here on train.steps: 5 becomes 15" in lines
    summary = run_training(stream, tmp_path, training=small_training(steps=20, batch_tokens=32))
    batches = make_batches(stream, 16, 32, 0)
    windows = len(torch.cat(seen))
    assert windows == 5 * 8 + 10 * 4 + 5 * 2 == summary.tokens // 16
    expected, _ = batches.windows(batches.order(np.arange(windows)))
    assert torch.equal(torch.cat(seen), torch.from_numpy(expected.astype(np.int64)))
    assert [row["tokens"] for row in metrics_of(tmp_path)][-1] == windows * 16


def test_killed_training_goes_on_to_the_same_bits(stream: Stream, tmp_path: Path) -> None:
    """The command is killed (SIGKILL) twice; the end has the bits of a run that was not interrupted."""
    data = tmp_path / "tokens"
    write_shard(data / "a.parquet", random_documents(200))
    settings = ["--steps", "40", "--batch-tokens", "512", "--checkpoint-every", "3", "--context", "64", "--seed", "1"]
    watched = ["--validate-every", "0", "--sample-every", "0", "--log-every", "1"]
    for run, kills in (("whole", []), ("killed", [7, 20])):
        command = [sys.executable, "-m", "model", "pretrain", "--data", data, "-o", tmp_path / run, *settings, *watched]
        for step in kills:
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            assert any(line.startswith(f"step {step:>2}/40") for line in process.stderr)
            process.kill()
            process.communicate()
        subprocess.run(command, check=True, capture_output=True)
    ours, theirs = state_of(tmp_path / "killed"), state_of(tmp_path / "whole")
    assert ours["step"] == 40
    assert_equal_bits(ours, theirs)
    assert metrics_of(tmp_path / "killed") == metrics_of(tmp_path / "whole")


def test_other_configuration_or_data_is_refused(stream: Stream, whole_run: Path) -> None:
    with pytest.raises(
        ValueError, match=r"holds another run \(train\.beta1: 0\.9, not 0\.8; train\.lr: 0\.003, not 0\.004\)"
    ):
        run_training(stream, whole_run, training=small_training(lr=4e-3, beta1=0.8, steps=30))
    other = dataclasses.replace(stream, fingerprint="f" * 64)
    with pytest.raises(ValueError, match=r"data\.fingerprint"):
        run_training(other, whole_run)


def test_accumulated_gradients_equal_one_batch(stream: Stream) -> None:
    x_BT, y_BT = torch.randint(0, 100, (2, 8, 16), generator=torch.Generator().manual_seed(0))
    gradients = []
    for micro_batch in (8, 4, 2, 1):
        gpt = GPT(small_model(), seed=1)
        loss = accumulate_gradients(gpt, x_BT, y_BT, micro_batch)
        assert abs(float(loss) - float(gpt(x_BT, y_BT).detach())) < 1e-6
        gradients.append([weight.grad for weight in gpt.parameters()])
    for parts in gradients[1:]:
        for whole, part in zip(gradients[0], parts, strict=True):
            assert whole is not None
            assert part is not None
            assert (whole - part).abs().max() < 1e-6


def poison(monkeypatch: pytest.MonkeyPatch, stop_after: float, start: int) -> None:
    """Let the gradients of steps `start` to `stop_after` contain NaN."""
    calls = 0

    def poisoned(module: Any, *batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        loss = accumulate_gradients(module, *batch)
        if start <= calls <= stop_after:
            module.norm.weight.grad[0] = math.nan
        return loss

    monkeypatch.setattr(model.train, "accumulate_gradients", poisoned)


def test_update_that_is_not_finite_is_skipped(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, start=5, stop_after=6)
    options = dataclasses.replace(OPTIONS, checkpoint_every=1, keep_checkpoints=20)
    lines: list[str] = []
    summary = run_training(stream, tmp_path, lines.append, small_training(steps=8), options)
    assert summary.skipped == 2
    states = {int(path.stem[-6:]): torch.load(path, weights_only=True) for path in checkpoints(tmp_path)}
    for step in (5, 6):
        assert_equal_bits(states[step]["weights"], states[4]["weights"])
        assert_equal_bits(states[step]["optimizers"][0]["state"], states[4]["optimizers"][0]["state"])
    assert not torch.equal(states[7]["weights"]["norm.weight"], states[6]["weights"]["norm.weight"])
    assert all(weight.isfinite().all() for weight in states[8]["weights"].values())
    skipped = [row for row in metrics_of(tmp_path) if row.get("skipped")]
    assert [row["step"] for row in skipped] == [5, 6]
    assert all(row["reason"] == "gradient norm nan" for row in skipped)
    assert sum("update skipped" in line for line in lines) == 2


def test_three_bad_updates_in_a_row_stop_the_run(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, start=7, stop_after=math.inf)
    with pytest.raises(FloatingPointError) as caught:
        run_training(stream, tmp_path)
    assert "step 9: 3 updates in a row were refused" in str(caught.value)
    assert f"the last good checkpoint is {tmp_path / 'checkpoint-000008.pt'}" in str(caught.value)
    weights = state_of(tmp_path)["weights"]
    assert all(weight.isfinite().all() for weight in weights.values())
    assert [row["step"] for row in metrics_of(tmp_path)] == list(range(1, 10))


def test_a_spike_is_skipped_and_training_goes_on(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch's gradient is a thousand times too large, when the guard's record is full."""
    calls = 0

    def spiked(module: Any, *batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        loss = accumulate_gradients(module, *batch)
        if calls == 140:
            for weight in module.parameters():
                weight.grad *= 1000
        return loss

    monkeypatch.setattr(model.train, "accumulate_gradients", spiked)
    options = dataclasses.replace(OPTIONS, validate_every=0, checkpoint_every=0)
    summary = run_training(stream, tmp_path, training=small_training(steps=145, batch_tokens=64), options=options)
    assert summary.skipped == 1
    [row] = [row for row in metrics_of(tmp_path) if row.get("skipped")]
    assert row["step"] == 140
    assert "deviations above that of the last 128 steps" in row["reason"]


def test_metrics_are_cut_at_the_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    truncate_metrics(path, 3, print)
    assert not path.exists()
    path.write_text('{"step": 2}\n{"step": 3}\n{"step": 4}\n{"step"')
    truncate_metrics(path, 3, print)
    assert path.read_text() == '{"step": 2}\n{"step": 3}\n'


def test_presets_take_changes_and_name_what_is_wrong() -> None:
    gpt, training = from_preset("tiny", 1000, {"context": 64}, {"steps": 5, "lr": None})
    assert (gpt.context, gpt.vocab_size, gpt.padded_vocab_size) == (64, 1000, 1024)
    assert (training.steps, training.warmup_steps) == (5, 1)
    # A warm-up that was asked for is not cut.
    assert from_preset("tiny", 1000, training={"steps": 5, "warmup_steps": 4})[1].warmup_steps == 4
    with pytest.raises(ValueError, match="batch_tokens = 1000: should be a multiple of the context, 768 or 1024"):
        from_preset("tiny", 1000, training={"batch_tokens": 1000})
    with pytest.raises(ValueError, match="lr = -1: should be above 0"):
        from_preset("tiny", 1000, training={"lr": -1})
    with pytest.raises(ValueError, match="preset 'huge': should be one of tiny"):
        from_preset("huge", 1000)


@pytest.mark.gpu
def test_cuda_run_stops_and_resumes(stream: Stream, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, device="cuda", compile=False)
    assert run_training(stream, tmp_path, stop_at(10), options=options).step == 10
    summary = run_training(stream, tmp_path, options=options)
    assert (summary.resumed_from, summary.step) == (10, 20)
    rows = metrics_of(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
