"""Checkpoints and metrics that are not what they should be: one line, and the run can be resumed."""

from __future__ import annotations

import math
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from model.checkpoint import MISFITS, checkpoints, load_model, newest, save, seal
from model.cli import main
from model.config import ModelConfig
from model.device import check_memory
from model.gpt import GPT
from model.guard import Guard
from tests.support.model_shards import random_documents, write_shard

TINY = ["--context", 16, "--batch-tokens", 64, "--device", "cpu", "--sample-every", 0, "--validate-every", 0]
SMALL = ["--set", "layers=1", "--set", "width=16", "--set", "head_dim=8", "--set", "mlp_width=16"]


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("work")
    write_shard(root / "tokens/a.parquet", random_documents(40))
    more = ["--steps", 4, "--checkpoint-every", 2]
    result = run_command("pretrain", "--data", root / "tokens", "-o", root / "run", *TINY, *SMALL, *more)
    assert result.exit_code == 0, result.output
    return root / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 1, result.output
    assert not isinstance(result.exception, AttributeError | KeyError | TypeError | RuntimeError)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("model: ")
    for part in parts:
        assert part in line


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_equal_states_are_equal_bytes(trained: Path, tmp_path: Path, optimizer: str) -> None:
    """A run that was resumed has the bytes of one that was not, under any names."""
    more = ["--data", trained.parent / "tokens", *TINY, *SMALL, "--optimizer", optimizer, "--checkpoint-every", 2]
    for name in ("first", "second"):
        assert run_command("pretrain", "-o", tmp_path / name, *more, "--steps", 4).exit_code == 0
    checkpoints(tmp_path / "second")[0].unlink()
    assert run_command("pretrain", "-o", tmp_path / "second", *more, "--steps", 4).exit_code == 0
    ours, theirs = (checkpoints(tmp_path / name)[0].read_bytes() for name in ("first", "second"))
    assert ours == theirs


def test_bytes_do_not_depend_on_which_equal_objects_are_one(tmp_path: Path) -> None:
    word, other = "".join(["sha", "red"]), "".join(["sha", "red"])
    numbers = [1, 2]
    files = []
    for name, state in (
        ("a", {"x": [word, word], "y": numbers, "z": numbers}),
        ("b", {"x": [word, other], "y": [1, 2], "z": [1, 2]}),
    ):
        (tmp_path / name).mkdir()
        files.append(save(tmp_path / name, 1, state, keep=1).read_bytes())
    assert files[0] == files[1]


def sealed(path: Path, content: Any) -> None:
    torch.save(content, path)
    seal(path)


def in_section(name: str, **values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The change that sets values in a section of a state."""
    return lambda state: {**state, name: {**state[name], **values}}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: [1, 2],
        lambda state: {},
        lambda state: {**state, "weights": [1]},
        lambda state: {**state, "weights": {}},
        lambda state: {**state, "model": {**state["model"], "layers": 10**9}},
        lambda state: {**state, "model": {**state["model"], "width": 10**30}},
        lambda state: {**state, "model": {**state["model"], "layers": "1"}},
        lambda state: {**state, "model": {**state["model"], "colour": "red"}},
        lambda state: {**state, "data": None},
        lambda state: {**state, "step": True},
        lambda state: {**state, "step": -1},
        lambda state: {**state, "train": [1]},
        *(in_section("model", kv_heads=True), in_section("model", norm_eps="x" * 10**5)),
        *(in_section("model", rope_theta=10**400), in_section("model", norm_eps=math.nan)),
        *(in_section("model", activation={"a": 1}), in_section("model", bias=0)),
        *(in_section("train", batch_tokens=None), in_section("train", doc_mask=torch.zeros(9, 9))),
        *(in_section("data", end_of_text="x"), in_section("data", end_of_text=10**6)),
        in_section("data", tokenizer_hash=[1]),
        lambda state: {**state, "train": {"steps": 3}},
    ],
)
def test_a_sealed_file_that_is_no_checkpoint_is_named(run: Path, tmp_path: Path, change: Any) -> None:
    state = newest(run, print)
    assert state is not None
    path = checkpoints(run)[0]
    sealed(path, change(state[1]))
    result = run_command("export", run, "-o", tmp_path / "hf")
    one_line(result, str(path), "no checkpoint of this program", "remove it")
    assert len(result.stderr.splitlines()[-1]) < 600
    path.unlink()
    assert run_command("export", run, "-o", tmp_path / "hf").exit_code == 0


@pytest.mark.parametrize("changes", [{"width": 4096}, {"vocab_size": 10**6}, {"head_dim": 4}, {"tied": False}])
def test_shapes_are_compared_before_memory_is_asked_for(
    run: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(config: ModelConfig) -> GPT:
        assert torch.empty(0).is_meta
        return GPT(config)

    state = newest(run, print)
    assert state is not None
    sealed(checkpoints(run)[0], in_section("model", **changes)(state[1]))
    monkeypatch.setattr("model.gpt.GPT", without_memory)
    with pytest.raises(ValueError, match=r"its weights have no .* of the shape"):
        load_model(run, torch.device("cpu"), print)


def test_a_context_must_fit_the_limit_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = ModelConfig(300, context=10**6, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    check_memory(shape)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2 * 10**8, 2 * 10**8))
    with pytest.raises(ValueError, match=r"context = 1000000: the model needs 0\.3 GB of memory, there are 0\.2"):
        check_memory(shape)


@pytest.mark.parametrize("name", ["position", "train", "optimizers", "guard", "rng"])
@pytest.mark.parametrize("value", [7.5, [{}], {}, True])
def test_training_does_not_resume_from_another_state(run: Path, name: str, value: Any) -> None:
    state = newest(run, print)
    assert state is not None
    path = checkpoints(run)[0]
    sealed(path, {**state[1], name: value})
    result = run_command("pretrain", "--resume", run, "--steps", 5)
    one_line(result, str(run))
    path.unlink()
    assert run_command("pretrain", "--resume", run, "--steps", 5).exit_code == 0


def test_the_difference_of_runs_is_a_short_line(run: Path) -> None:
    state = newest(run, print)
    assert state is not None
    changes = {"fingerprint": "a\nb" * 10**5, **{f"{number}" * 10**4: "x" * 10**4 for number in range(20)}}
    sealed(checkpoints(run)[0], in_section("data", **changes)(state[1]))
    result = run_command("pretrain", "--resume", run, "--steps", 5)
    one_line(result, str(run), "holds another run (data.000")
    assert len(result.stderr) < 2000
    sealed(checkpoints(run)[0], in_section("data", fingerprint=changes["fingerprint"])(state[1]))
    one_line(run_command("pretrain", "--resume", run, "--steps", 5), "holds another run (data.fingerprint: a\\nb")


@pytest.mark.parametrize("guard", [{}, {"skipped": "x"}, {"in_a_row": None}, {"losses": 1}, {"norms": ["x"]}])
def test_a_guard_is_not_restored_from_another_state(guard: dict[str, Any]) -> None:
    with pytest.raises(MISFITS):
        Guard(6.0).restore({**Guard(6.0).state(), **guard} if guard else guard)


@pytest.mark.parametrize("value", [torch.zeros(3, 3), torch.zeros(()), "x", None, [1.0]])
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
def test_an_optimizer_is_not_restored_from_another_state(run: Path, name: str, value: Any) -> None:
    state = newest(run, print)
    assert state is not None
    path = checkpoints(run)[0]
    state[1]["optimizers"][0]["state"][1][name] = value
    sealed(path, state[1])
    one_line(run_command("pretrain", "--resume", run, "--steps", 5), str(path), "no checkpoint of this program")


def test_bytes_that_are_no_archive_are_named(run: Path) -> None:
    path = checkpoints(run)[0]
    path.write_bytes(b"not an archive" + bytes(2))
    seal(path)
    with pytest.raises(ValueError, match="no checkpoint of this program"):
        load_model(run, torch.device("cpu"), print)


@pytest.mark.parametrize("line", [bytes(300), b"{}", b"[" * 100_000, b"[1]", b'{"step": "3"}', b'{"step": 4, "x'])
def test_a_line_that_is_no_row_is_left_out(run: Path, line: bytes) -> None:
    metrics = run / "metrics.jsonl"
    rows = metrics.read_bytes()
    metrics.write_bytes(rows + line + b"\n")
    result = run_command("pretrain", "--resume", run, "--tokens", 320)
    assert result.exit_code == 0, result.output
    assert f"{metrics}: 1 of 5 lines are no row of a step and are left out" in result.stderr
    assert metrics.read_bytes().startswith(rows)
    assert len(metrics.read_bytes().splitlines()) == 5


def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(run: Path) -> None:
    """The files of a process may not be larger than half a checkpoint; the system says so as it does of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (checkpoints(run)[0].stat().st_size // 2, before[1]))
    try:
        result = run_command("pretrain", "--resume", run, "--steps", 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    one_line(result, f"{run}: cannot be written (", "); free some space; the same command continues")
    assert not list(run.glob(".*"))
    result = run_command("pretrain", "--resume", run, "--steps", 6)
    assert result.exit_code == 0, result.output
    assert "resuming from" in result.stderr
