"""Training as its user sees it: the same bits however often it was stopped, and nothing lost to damage."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import model.train
from model.checkpoint import checkpoints, is_whole, newest, truncate_metrics
from model.config import RunOptions, TrainConfig
from model.data import Stream, open_stream
from model.evaluate import evaluate
from model.gpt import GPT
from model.guard import Guard
from model.optim import learning_rate, make_optimizer
from model.presets import from_preset
from model.train import Summary, accumulate_gradients, pretrain
from tests.model.shards import random_documents, small_model, small_training, write_shard

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
    return pretrain(stream, run, small_model(), training or small_training(), options, log)


def stop_at(step: int) -> Callable[[str], None]:
    """A log that receives SIGTERM when it hears of `step`."""

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
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "tokens_per_second"} for row in rows]


@pytest.fixture(scope="module")
def whole_run(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps without a stop."""
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
    torch.manual_seed(12345)  # what the process did before must not matter
    summary = run_training(stream, tmp_path / "run")
    assert (summary.step, summary.resumed_from, summary.stopped) == (20, 10, False)
    ours, theirs = state_of(tmp_path / "run"), state_of(whole_run)
    for part in ("step", "weights", "optimizer", "guard", "model", "train", "data"):
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
        file.write('{"step": 21, "lo')  # cut short by the same accident
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


def test_other_configuration_or_data_is_refused(stream: Stream, whole_run: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.lr: 0\.003, not 0\.004; train\.steps: 20, not 30"):
        run_training(stream, whole_run, training=small_training(lr=4e-3, steps=30))
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
    """Gradients of steps start .. stop_after are not numbers."""
    calls = 0

    def poisoned(loss_of: Any, x_BT: Tensor, y_BT: Tensor, micro_batch: int) -> Tensor:
        nonlocal calls
        calls += 1
        loss = accumulate_gradients(loss_of, x_BT, y_BT, micro_batch)
        if start <= calls <= stop_after:
            loss_of.norm.weight.grad[0] = math.nan  # type: ignore[attr-defined]
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
        assert_equal_bits(states[step]["optimizer"]["state"], states[4]["optimizer"]["state"])
    assert not torch.equal(states[7]["weights"]["norm.weight"], states[6]["weights"]["norm.weight"])
    assert all(weight.isfinite().all() for weight in states[8]["weights"].values())
    assert [row["step"] for row in metrics_of(tmp_path) if row.get("skipped")] == [5, 6]
    assert sum("update skipped" in line for line in lines) == 2


def test_ten_bad_updates_in_a_row_stop_the_run(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, start=3, stop_after=math.inf)
    with pytest.raises(FloatingPointError, match="step 12: 10 updates in a row"):
        run_training(stream, tmp_path)


def test_guard_counts_in_a_row() -> None:
    guard = Guard()
    for step in range(9):
        assert not guard.admits(step, math.inf, 1.0)
    assert guard.admits(9, 1.0, 1.0)
    assert not guard.admits(10, 1.0, math.nan)
    assert (guard.skipped, guard.in_a_row) == (10, 1)


def test_metrics_are_cut_at_the_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    truncate_metrics(path, 3)
    assert not path.exists()
    path.write_text('{"step": 2}\n{"step": 3}\n{"step": 4}\n{"step"')
    truncate_metrics(path, 3)
    assert path.read_text() == '{"step": 2}\n{"step": 3}\n'


def test_decay_on_matrices_only() -> None:
    gpt = GPT(small_model())
    decayed, plain = make_optimizer(gpt, small_training(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0
    assert {weight.dim() for weight in decayed["params"]} == {2}
    assert {weight.dim() for weight in plain["params"]} == {1}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(gpt.parameters()))


@given(steps=st.integers(1, 500), warmup=st.integers(0, 50), schedule=st.sampled_from(["cosine", "wsd"]))
def test_learning_rate_rises_to_its_peak_and_never_rises_again(steps: int, warmup: int, schedule: str) -> None:
    config = TrainConfig(steps, 64, lr=1.0, warmup_steps=warmup, schedule=schedule)
    rates = [learning_rate(step, config) for step in range(steps)]
    warm, rest = rates[:warmup], rates[warmup:]
    assert all(left < right for left, right in itertools.pairwise(warm))
    assert all(left >= right for left, right in itertools.pairwise(rest))
    assert all(0 < rate <= 1 for rate in rates)
    assert all(rate >= 0.1 for rate in rest)


def test_learning_rate_values() -> None:
    cosine = TrainConfig(100, 64, lr=2.0, warmup_steps=10)
    assert [learning_rate(step, cosine) for step in (0, 4, 9, 10)] == [0.2, 1.0, 2.0, 2.0]
    assert learning_rate(55, cosine) == pytest.approx(1.1)  # halfway between 2.0 and its tenth
    assert learning_rate(100, cosine) == pytest.approx(0.2)
    wsd = dataclasses.replace(cosine, schedule="wsd", min_lr_ratio=0.0)
    assert [learning_rate(step, wsd) for step in (10, 80, 90, 95)] == [2.0, 2.0, 1.0, 0.5]


def test_presets_take_changes_and_name_what_is_wrong() -> None:
    gpt, training = from_preset("tiny", 1000, {"context": 64}, {"steps": 5, "lr": None})
    assert (gpt.context, gpt.vocab_size, gpt.padded_vocab_size) == (64, 1000, 1024)
    assert (training.steps, training.warmup_steps) == (5, 1)
    with pytest.raises(ValueError, match="batch_tokens = 1000: should be a multiple of the context, 768 or 1024"):
        from_preset("tiny", 1000, training={"batch_tokens": 1000})
    with pytest.raises(ValueError, match="lr = -1: should be above 0"):
        from_preset("tiny", 1000, training={"lr": -1})
    with pytest.raises(ValueError, match="preset 'huge': should be one of tiny"):
        from_preset("huge", 1000)


def test_bits_per_byte_equals_a_count_by_hand(stream: Stream) -> None:
    from model.data import make_batches

    gpt = GPT(small_model(), seed=2)
    batches = make_batches(stream, 16, 128, 0.1, 0)
    lengths_V = torch.arange(100).numpy() % 5  # ids divisible by 5 stand for no text
    windows_N = batches.validation(7)
    scores = evaluate(gpt, batches, windows_N, 3, lengths_V)
    nats, text_nats, text_bytes, tokens = 0.0, 0.0, 0, 0
    for window in windows_N:
        x_T, y_T = (stream.ids_N[window * 16 + shift : window * 16 + 16 + shift].tolist() for shift in (0, 1))
        with torch.no_grad():
            log_p = gpt.logits(torch.tensor([x_T])).double().log_softmax(-1)[0]
        for position, target in enumerate(y_T):
            nats -= float(log_p[position, target])
            tokens += 1
            if target % 5:
                text_nats -= float(log_p[position, target])
                text_bytes += target % 5
    assert scores.tokens == tokens == 7 * 16
    assert scores.bytes == text_bytes
    assert scores.loss == pytest.approx(nats / tokens, abs=1e-6)
    assert scores.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert scores.bits_per_byte == pytest.approx(text_nats / math.log(2) / text_bytes, abs=1e-6)
    assert evaluate(gpt, batches, windows_N, 7).bits_per_byte is None


@pytest.mark.gpu
def test_cuda_run_stops_and_resumes(stream: Stream, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, device="cuda", compile=False)
    assert run_training(stream, tmp_path, stop_at(10), options=options).step == 10
    summary = run_training(stream, tmp_path, options=options)
    assert (summary.resumed_from, summary.step) == (10, 20)
    rows = metrics_of(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
