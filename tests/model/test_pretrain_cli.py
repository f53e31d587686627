"""`model pretrain` as a user runs it: options, errors, stopping and resuming."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner, Result

from model.checkpoint import newest
from model.cli import main
from model.commands.pretrain import settings_of, token_count
from tests.support.model_shards import write_bytes
from tests.support.paths import REPOSITORY

SENTENCE = b"The cat sat on the mat, and the dog sat by the door of the old house. "
# The smallest model of any shape; a context of 32, two sequences an update.
SIZES = ("layers=1", "width=32", "heads=2", "kv_heads=2", "head_dim=16", "mlp_width=64")
TINY = ["--context", 32, "--batch-tokens", 64, *(part for size in SIZES for part in ("--set", size))]
QUIET = ["--device", "cpu", "--sample-every", 0, "--validate-every", 0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards with its tokenizer beside it; a token is a byte."""
    root = tmp_path_factory.mktemp("work")
    return write_bytes(root, [SENTENCE[shift:] + SENTENCE * 3 for shift in range(30)])


@pytest.fixture(scope="module")
def ended(data: Path) -> Path:
    """A run of 3 steps, which tests must not change."""
    run = data.parent / "ended"
    assert start(data, run, "--steps", 3).exit_code == 0
    return run


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    """A copy of the run of 3 steps, which a test may change."""
    return Path(shutil.copytree(ended, tmp_path / "run"))


def pretrain(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["pretrain", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def start(data: Path, run: Path, *more: object) -> Result:
    return pretrain("--data", data, "-o", run, *TINY, *QUIET, *more)


def config(run: Path) -> Any:
    return json.loads((run / "config.json").read_text("utf-8"))


def steps(run: Path) -> list[tuple[int, int]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [(row["step"], row["tokens"]) for row in rows]


def refused(result: Result, code: int, message: str) -> None:
    """One line says why, and nothing is on stdout."""
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("model: ")
    assert message in line
    assert result.stdout == ""


# --- how much ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("524288", 524_288),
        ("1e6", 1_000_000),
        ("500M", 500_000_000),
        ("10B", 10_000_000_000),
        ("10b", 10_000_000_000),
        ("1.5B", 1_500_000_000),
        ("64K", 64_000),
        ("1T", 10**12),
        ("1,048,576", 1_048_576),
        ("1_048_576", 1_048_576),
    ],
)
def test_tokens_are_counted_as_people_write_them(text: str, count: int) -> None:
    assert token_count(text) == count


@pytest.mark.parametrize("text", ["", "B", "ten", "10BB", "10MB", "M10", "nan", "inf", "0", "-5", "0.4", "1e-3B4"])
def test_what_is_no_number_of_tokens_is_refused(data: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(click.BadParameter):
        token_count(text)
    refused(start(data, tmp_path / "run", f"--tokens={text}"), 2, f"Invalid value for '--tokens': {text!r}: should be")


@pytest.mark.parametrize(("tokens", "updates"), [("640", 10), ("641", 11), ("1", 1), ("0.64K", 10)])
def test_tokens_become_whole_updates(data: Path, tmp_path: Path, tokens: str, updates: int) -> None:
    assert start(data, tmp_path / "run", "--tokens", tokens).exit_code == 0
    assert steps(tmp_path / "run")[-1] == (updates, 64 * updates)
    assert config(tmp_path / "run")["train"]["steps"] == updates


def test_tokens_are_of_the_whole_run_whatever_its_batches(run: Path) -> None:
    """After 3 updates of 64 tokens: 448 more in updates of 128; the same command again does nothing."""
    for _ in range(2):
        assert pretrain("--resume", run, "--tokens", 640, "--batch-tokens", 128).exit_code == 0
        assert steps(run)[-1] == (7, 192 + 4 * 128)
    assert pretrain("--resume", run, "--tokens", 769).exit_code == 0
    assert steps(run)[-1] == (8, 192 + 5 * 128)
    assert pretrain("--resume", run, "--tokens", 890, "--batch-tokens", 64).exit_code == 0
    assert steps(run)[-1] == (9, 192 + 5 * 128 + 64)


@pytest.mark.parametrize("more", [["--steps", 3], ["--set", "steps=3"]])
def test_tokens_and_steps_are_one_too_many(data: Path, tmp_path: Path, more: list[object]) -> None:
    refused(start(data, tmp_path / "run", "--tokens", 1000, *more), 2, "give steps or --tokens, not both")
    assert not (tmp_path / "run").exists()


# --- settings ----------------------------------------------------------------------------------------------


def test_settings_are_read_by_their_type() -> None:
    shape, training = settings_of(
        ["layers=3", "soft_cap=15", "tied=false", "qk_norm=TRUE", "activation=relu2", "weight_decay=5e-2", "steps=7"]
    )
    assert shape == {"layers": 3, "soft_cap": 15.0, "tied": False, "qk_norm": True, "activation": "relu2"}
    assert training == {"weight_decay": 0.05, "steps": 7}
    assert isinstance(shape["soft_cap"], float)
    assert settings_of(["layers=3", "layers=4"])[0] == {"layers": 4}


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("layer=2", 2, "'layer' should be one of activation, batch_tokens, beta1"),
        ("vocab_size=2", 2, "'vocab_size' should be one of"),
        ("layers", 2, "'' should be a whole number"),
        ("layers=2.5", 2, "'2.5' should be a whole number"),
        ("weight_decay=little", 2, "'little' should be a number"),
        ("tied=yes", 2, "'yes' should be true or false"),
        ("layers=0", 2, "layers = 0: should be at least 1"),
        ("lr=nan", 2, "lr = nan: should be above 0"),
        ("activation=tanh", 2, "activation = 'tanh': should be swiglu, gelu or relu2"),
        ("head_dim=15", 2, "head_dim = 15: should be even"),
        ("kv_heads=3", 2, "kv_heads = 3: should divide heads = 2"),
        ("min_lr_ratio=2", 2, "min_lr_ratio = 2.0: should be between 0 and 1"),
    ],
)
def test_a_bad_setting_is_named(data: Path, tmp_path: Path, setting: str, code: int, message: str) -> None:
    refused(start(data, tmp_path / "run", "--set", setting), code, message)
    assert not (tmp_path / "run").exists()


def test_an_option_of_its_own_wins_over_a_setting(data: Path, tmp_path: Path) -> None:
    more = ["--set", "lr=0.5", "--lr", 0.001, "--set", "context=8", "--steps", 1]
    assert start(data, tmp_path / "run", *more).exit_code == 0
    assert config(tmp_path / "run")["train"]["lr"] == 0.001
    assert config(tmp_path / "run")["model"]["context"] == 32


def test_shapes_masks_and_optimizers_together(data: Path, tmp_path: Path) -> None:
    """Settings of a block other than the defaults; each of them runs another part of the code."""
    more = ["--doc-mask", "--optimizer", "muon", "--schedule", "wsd", "--set", "activation=relu2", "--set", "window=8"]
    more += ["--set", "full_every=2", "--set", "soft_cap=15", "--set", "tied=false", "--set", "layers=3"]
    result = start(data, tmp_path / "run", *more, "--steps", 30, "--validate-every", 30, "--seed", 1, "--json")
    assert result.exit_code == 0, result.output
    made = config(tmp_path / "run")
    assert (made["model"]["window"], made["model"]["activation"], made["model"]["tied"]) == (8, "relu2", False)
    assert (made["train"]["doc_mask"], made["train"]["optimizer"], made["train"]["schedule"]) == (True, "muon", "wsd")
    summary = json.loads(result.stdout)
    assert summary["loss"] < 4.5  # of log(257) = 5.5
    assert summary["skipped"] == 0
    # `model eval` takes the document mask from the run, so that its scores are equal.
    scored = CliRunner().invoke(main, ["eval", str(tmp_path / "run"), "--data", str(data), "--json"])
    assert json.loads(scored.stdout)["total"]["loss"] == pytest.approx(summary["validation_loss"], abs=1e-5)


@pytest.mark.parametrize("preset", ["gpt2-124m", "gpt2-1558m", "124m", "1558m"])
def test_large_presets_keep_their_kind_when_made_small(data: Path, tmp_path: Path, preset: str) -> None:
    result = start(data, tmp_path / "run", "--preset", preset, "--steps", 2)
    assert result.exit_code == 0, result.output
    model = config(tmp_path / "run")["model"]
    kind = [model[name] for name in ("positions", "norm", "activation", "qk_norm", "bias", "tied")]
    gpt2 = preset.startswith("gpt2")
    assert kind == (
        ["learned", "layer", "gelu", False, True, True] if gpt2 else ["rope", "rms", "swiglu", True, False, True]
    )


# --- one run, and on -------------------------------------------------------------------------------------


def test_json_is_one_line_and_the_rest_is_elsewhere(data: Path, tmp_path: Path) -> None:
    result = start(data, tmp_path / "run", "--steps", 2, "--json")
    [line] = result.stdout.splitlines()
    summary = json.loads(line)
    assert summary["step"] == summary["steps"] == 2
    assert summary["tokens"] == 128
    assert summary["stopped"] is False
    assert summary["validation_loss"] is None
    assert "step 2/2" in result.stderr
    assert start(data, tmp_path / "run", "--steps", 2).stdout == ""


def test_resume_needs_nothing_else(data: Path, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--resume works from another folder than the one in which the run was started."""
    result = pretrain("--resume", run)
    assert result.exit_code == 0, result.output
    assert "the run has had its 3 steps; give more by --steps or --tokens" in result.stderr
    monkeypatch.chdir(data.parent)
    assert start(Path("tokens"), tmp_path / "relative", "--steps", 2).exit_code == 0
    monkeypatch.chdir(tmp_path)
    for more in (["--steps", 4], ["--tokens", 64 * 5]):
        result = pretrain("--resume", "relative", *more)
        assert result.exit_code == 0, result.output
    assert steps(tmp_path / "relative") == [(step, 64 * step) for step in range(1, 6)]


def test_resumed_with_another_batch_it_goes_on_with_the_next_tokens(run: Path) -> None:
    result = pretrain("--resume", run, "--batch-tokens", 128, "--steps", 5, "--json")
    assert result.exit_code == 0, result.output
    assert "from here on train.batch_tokens: 64 becomes 128" in result.stderr
    assert "from here on train.steps: 3 becomes 5" in result.stderr
    assert json.loads(result.stdout)["resumed_from"] == 3
    assert steps(run) == [(1, 64), (2, 128), (3, 192), (4, 320), (5, 448)]
    assert pretrain("--resume", run, "--steps", 6).exit_code == 0  # the changed settings are stored
    assert steps(run)[-1] == (6, 576)


def test_the_same_command_is_a_resume_too(data: Path, run: Path) -> None:
    result = start(data, run, "--steps", 4)
    assert "resuming from" in result.stderr
    assert [step for step, _ in steps(run)] == [1, 2, 3, 4]


def test_settings_given_on_resuming_join_those_of_the_run(run: Path) -> None:
    result = pretrain("--resume", run, "--set", "weight_decay=0.2", "--steps", 4)
    refused_lines = [line for line in result.stderr.splitlines() if line.startswith("model: ")]
    assert refused_lines == [
        f"model: {run}: holds another run (train.weight_decay: 0.1, not 0.2); ask for the same or choose another -o"
    ]
    assert pretrain("--resume", run, "--set", "weight_decay=0.1", "--steps", 4).exit_code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--lr", 0.5], "train.lr: 0.004, not 0.5"),
        (["--seed", 1], "train.seed: 0, not 1"),
        (["--set", "layers=2"], "model.layers: 1, not 2"),
        (["--doc-mask"], "train.doc_mask: False, not True"),
        (["--set", "validation_fraction=0.5"], "data.fingerprint: "),
    ],
)
def test_what_may_not_change_is_named(run: Path, change: list[object], message: str) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    refused(pretrain("--resume", run, *change), 1, message)
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no run to resume (no config.json); start one with --data and -o"),
        ("{", "config.json: damaged ("),
        ("[]", "config.json: damaged ("),
        ("{}", "not started by `model pretrain`; to begin with its weights give --from, --data and -o"),
    ],
)
def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, "utf-8")
    refused(pretrain("--resume", tmp_path), 1, message)


def test_from_begins_with_the_weights_of_another_run(data: Path, ended: Path, tmp_path: Path) -> None:
    """The new run has the shape too, and an update with a tiny learning rate hardly changes the weights."""
    more = ["--steps", 1, "--lr", 1e-12, "--batch-tokens", 64]
    result = pretrain("--from", ended, "--data", data, "-o", tmp_path / "run", *QUIET, *more)
    assert result.exit_code == 0, result.output
    assert config(tmp_path / "run")["model"] == config(ended)["model"]
    theirs, ours = newest(ended, print), newest(tmp_path / "run", print)
    assert theirs is not None
    assert ours is not None
    for name, weight in theirs[1]["weights"].items():
        torch.testing.assert_close(ours[1]["weights"][name], weight, rtol=0, atol=1e-9)
    assert ours[1]["step"] == 1
    # If the data has no tokenizer beside it, the new run gets the tokenizer of the first run.
    moved = shutil.copytree(data, tmp_path / "apart/tokens")
    begun = pretrain("--from", ended, "--data", moved, "-o", tmp_path / "apart/run", *QUIET, "--steps", 1)
    assert begun.exit_code == 0, begun.output
    assert "no tokenizer" not in begun.stderr
    assert (tmp_path / "apart/run/tokenizer").is_dir()
    other = pretrain("--from", ended, "--data", data, "-o", tmp_path / "other", "--set", "layers=2", *QUIET)
    refused(other, 1, f"{ended}: its weights are of another shape (layers: 1, not 2)")
    refused(pretrain("--from", tmp_path / "none", "--data", data, "-o", tmp_path / "x"), 1, "holds no checkpoint")


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give --data and -o for a run, or --resume for one that was started before"),
        (["--data", "{data}"], 2, "give --data and -o for a run"),
        (["-o", "{tmp}/run"], 2, "give --data and -o for a run"),
        (["--resume", "{ended}", "-o", "{tmp}/run"], 2, "give -o or --resume, not both"),
        (["--data", "{data}", "-o", "{tmp}/run", "--preset", "huge"], 2, "'huge' is not one of 'tiny', 'nano'"),
        (["--data", "{data}", "-o", "{tmp}/run", "--track", "mlflow"], 2, "'mlflow' is not one of"),
        (["--data", "{data}", "-o", "{tmp}/run", "--steps", "many"], 2, "'many' is not a valid integer"),
        (["--data", "{data}", "-o", "{tmp}/run", "--steps", "0"], 2, "steps = 0: should be at least 1"),
        (["--data", "{data}", "-o", "{tmp}/run", "--context", "0"], 2, "context = 0: should be at least 1"),
        (["--data", "{data}", "-o", "{tmp}/run", "--batch-tokens", "1000"], 2, "the context, 768 or 1024"),
        (["--data", "{data}", "-o", "{tmp}/run", "--micro-batch-tokens", "-1"], 2, "micro_batch_tokens = -1: should"),
        (["--data", "{data}", "-o", "{tmp}/run", "--keep", "0"], 2, "keep_checkpoints = 0: should be at least 1"),
        (["--data", "{data}", "-o", "{tmp}/run", "--device", "tpu"], 2, "should be auto, cpu or cuda"),
        (["--data", "{tmp}/none", "-o", "{tmp}/run"], 1, "none: no such directory of TOKENS shards"),
        (["--data", "{tmp}", "-o", "{tmp}/run"], 1, "holds no TOKENS shards; make them with `corpus tokenize`"),
        (["--data", "{out}", "-o", "{tmp}/run"], 1, "holds more than TOKENS shards; those are in {out}/tokens"),
        (["--data", "{data}", "-o", "{tmp}/run", "--tokenizer", "{tmp}/none"], 1, "none"),
    ],
)
def test_errors_are_one_line(
    data: Path, ended: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    out = data.parent / "out"
    (out / "tokens/_units").mkdir(parents=True, exist_ok=True)
    places = {"data": str(data), "ended": str(ended), "tmp": str(tmp_path), "out": str(out)}
    result = pretrain(*(argument.format(**places) for argument in arguments))
    refused(result, code, message.format(**places))
    assert not list(tmp_path.glob("run/*.pt"))


def test_a_tracker_without_its_package_is_reported_before_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = start(data, tmp_path / "run", "--steps", 2, "--track", "wandb")
    refused(result, 1, "tracker wandb: its package cannot be imported")
    assert result.stderr.endswith("pip install wandb\n")
    assert not (tmp_path / "run/metrics.jsonl").exists()
    assert start(data, tmp_path / "run", "--steps", 2).exit_code == 0  # the directory can be used by another attempt


def test_a_run_that_diverges_ends_with_1(data: Path, tmp_path: Path) -> None:
    more = ["--lr", 1e30, "--warmup-steps", 0, "--set", "clip_norm=0", "--steps", 20, "--checkpoint-every", 1]
    result = start(data, tmp_path / "run", *more)
    assert result.exit_code == 1, result.output
    assert re.search(r"^model: step \d+: 3 updates in a row were refused, this one for .*nan", result.stderr, re.M)
    assert "Traceback" not in result.stderr


# --- processes ---------------------------------------------------------------------------------------------


def interrupted(arguments: list[object], send: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a `model pretrain`; `send` is called with its process at the third step."""
    command = [sys.executable, "-m", "model", "pretrain", *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, text=True, cwd=REPOSITORY, env=threads, **pipes) as process:
        try:
            assert process.stderr is not None
            seen = []
            for line in process.stderr:
                seen.append(line)
                if line.split("/")[0].split() == ["step", "3"]:
                    send(process)
                    break
            out, rest = process.communicate(timeout=120)
            return process.returncode, out, "".join(seen) + rest
        finally:
            process.kill()


def test_ctrl_c_ends_after_the_step_with_130_and_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    arguments = ["--data", data, "-o", tmp_path / "run", *TINY, *QUIET, "--log-every", 1, "--steps", 100_000, "--json"]
    code, out, err = interrupted(arguments, lambda process: process.send_signal(signal.SIGINT))
    assert code == 130
    assert "Traceback" not in err
    summary = json.loads(out)
    step = summary["step"]
    assert summary["stopped"] is True
    assert 3 <= step < 100_000
    assert err.splitlines()[-1] == f"stopped after step {step}; the same command continues from there"
    assert [path.name for path in (tmp_path / "run").glob("*.pt")] == [f"checkpoint-{step:06d}.pt"]
    assert steps(tmp_path / "run")[-1] == (step, 64 * step)
    result = pretrain("--resume", tmp_path / "run", "--steps", step + 2, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["resumed_from"] == step
    assert steps(tmp_path / "run") == [(number, 64 * number) for number in range(1, step + 3)]


def test_make_pretrain_says_what_the_makefile_promises() -> None:
    # The tests may themselves be run by make, which hands its own variables on.
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    def command(*variables: str) -> str:
        asked = ["make", "-n", "pretrain", *variables]
        done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True, env=clean)
        return done.stdout.splitlines()[-1]

    assert command("DATA=x") == ".venv/bin/model pretrain --data x --preset gpt2-124m -o runs/gpt2-124m"
    assert command() == ".venv/bin/model pretrain --data out/tokens --preset gpt2-124m -o runs/gpt2-124m"
    assert command("DATA=x", "PRESET=350m", "RUN=r", "VENV=v") == "v/bin/model pretrain --data x --preset 350m -o r"
