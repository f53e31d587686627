"""The `model` command as a user runs it, from shards to samples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from model.cli import main
from tests.support.model_shards import random_documents, write_bytes, write_shard

END_OF_TEXT = 256
SENTENCE = b"The cat sat on the mat, and the dog sat by the door of the old house. "


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards with its tokenizer beside it; a token is a byte."""
    root = tmp_path_factory.mktemp("work")
    return write_bytes(root, [SENTENCE[shift:] + SENTENCE * 3 for shift in range(30)])


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def pretrain_arguments(data: Path, run: Path, *more: object) -> list[str]:
    fixed = ["pretrain", "--data", data, "-o", run, "--context", 32, "--batch-tokens", 64, "--device", "cpu"]
    return [str(argument) for argument in (*fixed, "--log-every", 1, *more)]


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    run = data.parent / "runs/trained"
    result = run_command(*pretrain_arguments(data, run, "--steps", 5, "--sample-every", 5, "--json"))
    assert result.exit_code == 0, result.output
    return run


def test_pretrain_reports_and_leaves_a_run(data: Path) -> None:
    run = data.parent / "runs/first"
    arguments = pretrain_arguments(data, run, "--steps", 5, "--sample-every", 5, "--json")
    result = run_command(*arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["step"] == summary["steps"] == 5
    assert summary["tokens"] == 5 * 64
    assert summary["validation_loss"] > 0
    assert summary["bits_per_byte"] > 0
    assert "step 5/5  loss " in result.stderr
    assert any(f"step 5: {quote}The" in result.stderr for quote in "'\"")  # quoted by Python's repr
    names = {path.name for path in run.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "checkpoint-000005.pt", "tokenizer"}
    assert json.loads((run / "config.json").read_text())["train"]["steps"] == 5
    again = json.loads(run_command(*arguments).stdout)
    assert (again["step"], again["resumed_from"]) == (5, 5)


def test_sample_gives_text_again_and_again(trained: Path) -> None:
    arguments = ["sample", trained, "--prompt", "The", "-n", 2, "--max-tokens", 20]
    result = run_command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["prompt"] == "The"
    assert len(answer["samples"]) == 2
    assert all(sample["ended"] or sample["tokens"] == 20 for sample in answer["samples"])
    assert json.loads(run_command(*arguments, "--json").stdout) == answer
    plain = run_command(*arguments).stdout
    assert plain == "\n---\n".join(f"The{sample['text']}\n" for sample in answer["samples"])
    assert run_command("sample", trained, "--max-tokens", 5, "--temperature", 0).exit_code == 0


def test_eval_scores_held_out_documents_or_all(data: Path, trained: Path, tmp_path: Path) -> None:
    result = run_command("eval", trained, "--data", data, "--json")
    assert result.exit_code == 0, result.output
    [scores] = json.loads(result.stdout)["data"]
    last = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()][-1]
    assert scores["part"] == "held-out"
    assert scores["loss"] == pytest.approx(last["validation_loss"], abs=1e-5)
    assert scores["bits_per_byte"] == pytest.approx(last["bits_per_byte"], abs=1e-5)
    saved = json.loads((data.parent / "tokenizer/vocab.json").read_text())
    write_shard(tmp_path / "a.parquet", [list(SENTENCE * 2)], 257, END_OF_TEXT, saved["hash"])
    result = run_command("eval", trained, "--data", f"other={tmp_path}")
    tokens = 2 * len(SENTENCE)
    assert result.stdout.splitlines()[1].split()[:4] == ["other", "all", str(tokens + 1), str(tokens)]


def test_export_writes_a_model_directory(trained: Path, tmp_path: Path) -> None:
    result = run_command("export", trained, "-o", tmp_path / "hf", "--json")
    assert result.exit_code == 0, result.output
    written = {Path(path).name for path in json.loads(result.stdout)["files"]}
    assert written == {path.name for path in (tmp_path / "hf").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= written
    assert json.loads((tmp_path / "hf/config.json").read_text())["eos_token_id"] == END_OF_TEXT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "{tmp}/none"], "holds no checkpoint"),
        (["eval", "{run}", "--data", "{tmp}/none"], "no such directory of TOKENS shards"),
        (["eval", "{run}", "--data", "{other}"], "made by tokenizer aaaaaaaaaaaa"),
        (["sample", "{run}", "--top-p", "2"], "top_p = 2.0: should be above 0 and at most 1"),
        (["sample", "{run}", "--device", "tpu"], "device = 'tpu': should be auto, cpu or cuda"),
        (["pretrain", "--data", "{data}", "-o", "{tmp}/x", "--lr", "0"], "lr = 0.0: should be above 0"),
        (["pretrain", "--data", "{other}", "-o", "{tmp}/x", "--tokenizer", "{tok}"], "its hash is"),
        (["pretrain", "--data", "{data}", "-o", "{run}", "--lr", "0.5"], "train.lr: 0.004, not 0.5"),
        (["pretrain", "--data", "{data}", "-o", "{tmp}/x", "--context", "8192"], "tokens to train on"),
    ],
)
def test_errors_are_one_line(data: Path, trained: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    other = write_shard(tmp_path / "other/a.parquet", random_documents(50)).parent
    places: dict[str, Any] = {"tmp": tmp_path, "run": trained, "other": other, "data": data}
    places["tok"] = data.parent / "tokenizer"
    given = [argument.format(**places) for argument in arguments]
    if "8192" in given:
        given += ["--batch-tokens", "8192"]
    result = run_command(*given)
    assert result.exit_code == (2 if "should be" in message else 1), result.output  # a value out of bounds is usage
    assert message in result.stderr
    [line] = [line for line in result.stderr.splitlines() if line.startswith("model: ")]
    assert result.stderr.splitlines()[-1] == line
    assert result.stdout == ""


def test_run_without_a_tokenizer_trains_but_cannot_sample(tmp_path: Path) -> None:
    write_shard(tmp_path / "tokens/a.parquet", random_documents(50))
    result = run_command(*pretrain_arguments(tmp_path / "tokens", tmp_path / "run", "--steps", 2))
    assert result.exit_code == 0, result.output
    assert "no tokenizer given" in result.stderr
    result = run_command("sample", tmp_path / "run")
    assert result.exit_code == 1
    assert "holds no tokenizer" in result.stderr


def test_wrong_usage_is_2_and_version_is_printed() -> None:
    assert run_command("pretrain", "--data", "x").exit_code == 2
    assert run_command("pretrain", "--data", "x", "-o", "y", "--preset", "huge").exit_code == 2
    assert run_command("--version").stdout.startswith("model, version ")
    for command in ([], ["pretrain"], ["sample"], ["eval"], ["export"]):
        assert "Examples:\n" in run_command(*command, "--help").stdout


def test_help_does_not_import_torch() -> None:
    code = "import sys, model.cli; sys.exit(bool({'torch', 'numba', 'pyarrow'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_terminated_process_continues_to_the_same_bits(data: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[str]:
        more = ["--steps", 20, "--sample-every", 0, "--validate-every", 7, "--checkpoint-every", 50]
        return pretrain_arguments(data, tmp_path / name, *more)

    command = [sys.executable, "-m", "model", *arguments("stopped")]
    # With as many threads as in this process, because the order of sums depends on their number.
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=threads) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("/")[0].split() == ["step", "3"]:
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        assert process.wait() == 130
    assert "the same command continues from there" in rest
    [stopped] = (tmp_path / "stopped").glob("*.pt")
    assert 3 <= int(stopped.stem[-6:]) < 20
    for name in ("stopped", "whole"):
        assert run_command(*arguments(name)).exit_code == 0
    ours, theirs = (
        torch.load(tmp_path / name / "checkpoint-000020.pt", weights_only=True) for name in ("stopped", "whole")
    )
    for name, weight in theirs["weights"].items():
        assert torch.equal(ours["weights"][name], weight)
    for number, moments in theirs["optimizers"][0]["state"].items():
        for name, value in moments.items():
            assert torch.equal(ours["optimizers"][0]["state"][number][name], value)
