"""`model sample` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from model.cli import main
from tests.support.model_shards import write_bytes

RIDDLE = b"Input: cat\nOutput: mat \xc3\xa4\n\n"


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt a little of one riddle; a token is a byte, and the context is 64."""
    root = tmp_path_factory.mktemp("work")
    tokens = write_bytes(root, [RIDDLE[shift:] + RIDDLE * 6 for shift in range(24)])
    fixed = ["pretrain", "--data", tokens, "-o", root / "run", "--context", 64, "--batch-tokens", 256]
    result = run_command(*fixed, "--device", "cpu", "--steps", 60, "--sample-every", 0, "--validate-every", 0)
    assert result.exit_code == 0, result.output
    return root / "run"


def sample(trained: Path, *arguments: object) -> Result:
    result = run_command("sample", trained, "--device", "cpu", *arguments)
    assert result.exit_code == 0, result.output
    return result


def test_a_stream_says_what_json_says(trained: Path) -> None:
    """Also if random bytes are drawn, which are not whole characters."""
    for temperature in (0, 1, 20):
        arguments = ["--prompt", "Input", "--temperature", temperature, "--top-k", 0, "--top-p", 0.95]
        [row] = json.loads(sample(trained, *arguments, "--json").stdout)["samples"]
        assert sample(trained, *arguments).stdout == f"Input{row['text']}\n"
        assert row["tokens"] == 200 or row["ended"]


def test_samples_stop_at_stop_texts(trained: Path) -> None:
    arguments = ["--prompt", "Input: ", "-n", 3, "--temperature", 1.5, "--max-tokens", 80, "--json"]
    free = json.loads(sample(trained, *arguments).stdout)["samples"]
    stopped = json.loads(sample(trained, *arguments, "--stop", "a", "--stop", "Out").stdout)["samples"]
    for whole, cut in zip(free, stopped, strict=True):
        places = [place for stop in ("a", "Out") if (place := whole["text"].find(stop)) >= 0]
        assert cut["text"] == (whole["text"][: min(places)] if places else whole["text"])
        assert cut["ended"] == (whole["ended"] or bool(places))


def test_few_shot_examples_ask_for_a_line(trained: Path, tmp_path: Path) -> None:
    examples = tmp_path / "riddles.jsonl"
    examples.write_text('{"input": "cat", "output": "mat ä"}\n' * 9)
    result = sample(trained, "--few-shot", examples, "--prompt", "cat", "--temperature", 0)
    assert result.stdout.startswith("Input: cat\nOutput:")
    assert result.stdout.count("\n") == 2  # the answer ends at the end of its line
    assert "prompt 1: the first 8 of 9 examples left out, to fit the context" in result.stderr
    answer = json.loads(sample(trained, "--few-shot", examples, "--prompt", "cat", "--temperature", 0, "--json").stdout)
    assert answer["prompt"] == "cat"
    assert f"Input: cat\nOutput:{answer['samples'][0]['text']}\n" == result.stdout
    # The model sees the examples: after other examples the prompt is continued differently.
    texts, free = set(), ("--temperature", 3, "--top-k", 0, "--max-tokens", 20)
    for content in ("cat\n", "Output: mat\n\nInput\n"):
        (tmp_path / "text.txt").write_text(content)
        result = sample(trained, "--few-shot", tmp_path / "text.txt", "--prompt", "O", *free)
        assert result.stdout.startswith("O")
        texts.add(result.stdout)
    assert len(texts) == 2


def test_prompts_of_a_file_are_continued_as_alone(trained: Path, tmp_path: Path) -> None:
    prompts = ["Input", "Output: mat ä, and then", "x", "Input: cat\nOutput"]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    arguments = ["-n", 2, "--max-tokens", 20, "--seed", 5]
    rows = [json.loads(line) for line in sample(trained, "--prompts", path, *arguments, "--json").stdout.splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    for row in rows:
        assert row == json.loads(sample(trained, "--prompt", row["prompt"], *arguments, "--json").stdout)
    plain = sample(trained, "--prompts", path, *arguments).stdout
    assert plain == "\n---\n".join(f"{row['prompt']}{answer['text']}\n" for row in rows for answer in row["samples"])


def test_a_prompt_longer_than_the_context_is_reported(trained: Path) -> None:
    result = sample(trained, "--prompt", "x" * 100, "--max-tokens", 3)
    assert "prompt 1: of its 100 tokens the last 64 are used, the context has no more" in result.stderr
    assert result.stdout.startswith("x" * 100)
    assert result.stderr.count("\n") == 1
    assert sample(trained, "--prompt", "x" * 63, "--max-tokens", 3).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--prompts", "{tmp}/none.txt"], 2, "none.txt' does not exist"),
        (["--few-shot", "{tmp}/none.txt"], 2, "none.txt' does not exist"),
        (["--prompt", "a", "--prompts", "{tmp}/empty.txt"], 2, "give --prompt or --prompts, not both"),
        (["-n", "0"], 2, "Invalid value for '-n'"),
        (["--prompts", "{tmp}/empty.txt"], 1, "empty.txt: holds no prompt; give one a line"),
        (["--few-shot", "{tmp}/empty.txt"], 1, "empty.txt: holds no example"),
        (["--few-shot", "{tmp}/good.jsonl"], 1, "an input is needed; give it by --prompt"),
        (["--max-tokens", "0"], 2, "max_tokens = 0: should be at least 1"),
        (["--stop", ""], 2, "a stop text is empty"),
    ],
)
def test_errors_are_one_line(trained: Path, tmp_path: Path, arguments: list[Any], code: int, message: str) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "good.jsonl").write_text('{"input": "a", "output": "b"}\n')
    result = run_command("sample", trained, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr.splitlines()[-1]
    assert result.stdout == ""
