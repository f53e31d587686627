"""Two processes (gloo) and one that adds up gradients: equal models, and either resumes a run.

torchrun starts the processes in two of the tests. In the others we set the variables that it sets, in forks of a
process that has imported PyTorch.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import checkpoints, newest
from tests.support.model_processes import model, run_together
from tests.support.model_shards import random_documents, write_shard

STEPS = ["--steps", "8", "--context", "64", "--batch-tokens", "512", "--micro-batch-tokens", "256"]
QUIET = ["--device", "cpu", "--validate-every", "4", "--sample-every", "0", "--log-every", "1"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
TORCHRUN += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--no-python"]
MODEL = str(Path(sys.executable).with_name("model"))


# Copies give the same bits. The norm of shards is summed in another order, and single weights whose gradient is almost
# nothing feel it, because Adam's step is of one size whatever the gradient's: 1.5e-6 of a matrix's norm was seen.
SHARDS = 3e-6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel") / "tokens"
    write_shard(folder / "a.parquet", random_documents(200))
    return folder


def train(processes: int, data: Path, run: Path, *more: str, launcher: list[str] | None = None) -> dict[str, Any]:
    """Train with so many processes, started by `launcher` if there is one; returns the summary."""
    arguments = ["pretrain", "--data", str(data), "-o", str(run), *STEPS, *QUIET, *more, "--json"]
    if launcher:
        started = subprocess.run(
            [*launcher, MODEL, *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        assert started.returncode == 0, started.stderr
        output = started.stdout
    else:
        output = run_together(processes, model, (arguments,), run.with_name(f"{run.name}.printed"))
    # Only the first process prints.
    summary: dict[str, Any] = json.loads(output)
    return summary


def state_of(run: Path) -> dict[str, Any]:
    found = newest(run, print)
    assert found is not None
    return found[1]


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], most: float) -> None:
    """The positions are equal; weights and moments differ by at most this share of their norms."""
    assert ours["position"] == theirs["position"]
    assert ours["weights"].keys() == theirs["weights"].keys()
    for name, weight in ours["weights"].items():
        assert (weight - theirs["weights"][name]).norm() <= most * weight.norm(), name
    for mine, other in zip(ours["optimizers"], theirs["optimizers"], strict=True):
        for index, values in mine["state"].items():
            for name, value in values.items():
                assert (value - other["state"][index][name]).norm() <= 10 * most * value.norm(), (index, name)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_processes_equal_one_that_accumulates(data: Path, tmp_path: Path, optimizer: str) -> None:
    more = ["--optimizer", optimizer, "--doc-mask"]
    one = train(1, data, tmp_path / "one", *more)
    for sharding, most in (("none", 0.0), ("full", SHARDS)):
        launcher = TORCHRUN if (optimizer, sharding) == ("adamw", "none") else None
        two = train(2, data, tmp_path / sharding, *more, "--sharding", sharding, launcher=launcher)
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-6)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], abs=1e-6)
        if optimizer == "muon" and sharding == "none":
            most = 1e-6  # the processes share out the stacks
        assert_close(state_of(tmp_path / sharding), state_of(tmp_path / "one"), most)


def test_one_goes_on_where_two_stopped_and_two_where_one_did(data: Path, tmp_path: Path) -> None:
    train(1, data, tmp_path / "one")
    kinds: list[tuple[int, list[str]]] = [(2, ["--sharding", "full"]), (1, []), (2, ["--sharding", "none"])]
    for (first, before), (second, after) in zip(kinds, [*kinds[1:], kinds[0]], strict=True):
        run = tmp_path / f"{kinds.index((first, before))}"
        train(first, data, run, *before, "--checkpoint-every", "3")
        for late in checkpoints(run)[:2]:  # of steps 8 and 6
            late.unlink()
        summary = train(second, data, run, *after)
        assert summary["resumed_from"] == 3
        assert_close(state_of(run), state_of(tmp_path / "one"), SHARDS)
        rows = (run / "metrics.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(row)["step"] for row in rows] == list(range(1, 9))


def test_a_signal_to_one_process_stops_all_after_the_same_step(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["--steps", "100000", "--log-every", "1"]
    command = [*TORCHRUN, MODEL, "pretrain", "--data", str(data), "-o", str(run), *STEPS, *QUIET, *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("step") and " 3/" in line:
                process.send_signal(signal.SIGTERM)
    errors = "".join(lines)
    assert "stopped after step" in errors
    state = state_of(run)
    assert state["step"] >= 3
    assert state["position"] == state["step"] * 8
    assert all(torch.isfinite(weight).all() for weight in state["weights"].values())
