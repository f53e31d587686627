"""Input of another shape: one line names the file; what can be known before PyTorch is imported comes first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from model.cli import main
from model.config import as_dict
from model.gpt import GPT
from model.hf import export
from tests.support.model_shards import random_documents, small_model, write_shard

HUGE = (10**9, 10**30, 10**400)


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("hf")
    export(GPT(small_model()), target, None, None)
    return target


def named(result: Result, file: Path) -> None:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert len(result.stderr) < 2000
    assert result.stderr.startswith(f"model: {file}")


def test_any_value_in_config_json_is_read_or_named(folder: Path, tmp_path: Path) -> None:
    config = folder / "config.json"
    right = config.read_text("utf-8")
    try:
        for field in json.loads(right):
            for value in (*HUGE, [], {}, [[]], {"a": 1}, "x", 1.5, -1, None):
                config.write_text(json.dumps({**json.loads(right), field: value}), "utf-8")
                result = run_command("import", folder, "-o", tmp_path / f"{field}-{str(value)[:40]}")
                assert result.exception is None or isinstance(result.exception, SystemExit), (field, value)
        for text in ("[" * 100_000, "[]", "7", "\0" * 9):
            config.write_text(text, "utf-8")
            named(run_command("import", folder, "-o", tmp_path / "run"), config)
    finally:
        config.write_text(right, "utf-8")


@pytest.mark.parametrize("command", [[1], {"data": [1]}, {"data": "x", "steps": "7"}, {"data": "x", "settings": {}}, 3])
def test_stored_options_of_another_shape_are_named(tmp_path: Path, command: Any) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": as_dict(small_model()), "command": command}), "utf-8")
    named(run_command("pretrain", "--resume", tmp_path), config)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pretrain", "--data", "{tmp}/none", "-o", "{tmp}/run"], 1),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--lr", "-1"], 2),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--keep", "0"], 2),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--seed", "9" * 30], 2),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--device", "cpu:x"], 2),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--context", "64", "--batch-tokens", "65"], 2),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--from", "{tmp}/none"], 1),
        (["pretrain", "--data", "{tmp}", "-o", "{tmp}/run", "--tokenizer", "{tmp}/none"], 1),
        (["sample", "{tmp}/none"], 1),
        (["eval", "{tmp}/none", "--data", "{tmp}"], 1),
        (["export", "{tmp}/none", "-o", "{tmp}/hf"], 1),
        (["import", "{tmp}/none", "-o", "{tmp}/run"], 1),
        (["import", "{tmp}/none", "-o", "{tmp}/run", "--context", "0"], 2),
    ],
)
def test_cheap_checks_come_before_pytorch(tmp_path: Path, arguments: list[str], code: int) -> None:
    write_shard(tmp_path / "a.parquet", random_documents(40))
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    script = "import sys; from model.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
