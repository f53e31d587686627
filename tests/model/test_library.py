"""`import model`: its names, their documentation, and that they do what the commands do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import bpe
import model
from model.checkpoint import newest
from model.cli import main
from tests.support.library import check_names, modules_after, run_examples
from tests.support.model_shards import write_bytes
from tests.support.paths import REPOSITORY

SENTENCE = "The naïve cat sat on the mat — and the dog sat by the door. ".encode()
# The smallest model of any shape; a context of 32, two sequences an update.
SHAPE: dict[str, Any] = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 2, "head_dim": 16, "mlp_width": 64}
TINY: dict[str, Any] = {**SHAPE, "context": 32, "batch_tokens": 64, "device": "cpu", "sample_every": 0}
DRAWN: dict[str, Any] = {"max_tokens": 60, "temperature": 3.0, "top_k": 0, "seed": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of shards with its tokenizer beside it; a token is a byte, so that characters come in parts."""
    root = tmp_path_factory.mktemp("work")
    return write_bytes(root, [SENTENCE[shift:] + SENTENCE * 3 for shift in range(30)])


@pytest.fixture(scope="module")
def ended(data: Path) -> Path:
    """A run of 3 steps."""
    model.pretrain(data, data.parent / "ended", steps=3, **TINY)
    return data.parent / "ended"


@pytest.fixture(scope="module")
def loaded(ended: Path) -> model.LoadedModel:
    return model.load_model(ended, device="cpu")


def command(*arguments: object) -> str:
    answer = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def weights(run: Path) -> dict[str, list[float]]:
    checkpoint = newest(run, print)
    assert checkpoint is not None
    return {name: tensor.flatten().tolist() for name, tensor in checkpoint[1]["weights"].items()}


def test_names() -> None:
    check_names("model")


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_examples("model")


def test_the_import_is_light() -> None:
    heavy = {"numpy", "numba", "pyarrow", "torch"}
    assert not modules_after("import model; dir(model); model.ModelConfig, model.PRESETS, model.from_preset") & heavy


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'model' has no attribute 'gpt5'"):
        model.gpt5  # noqa: B018


# --- training ----------------------------------------------------------------------------------------------


def test_training_gives_the_run_of_the_command(data: Path, ended: Path, tmp_path: Path) -> None:
    shape = [part for name, value in SHAPE.items() for part in ("--set", f"{name}={value}")]
    flags = ["--context", 32, "--batch-tokens", 64, "--device", "cpu", "--sample-every", 0, "--json"]
    stdout = command("pretrain", "--data", data, "-o", tmp_path / "run", "--steps", 3, *shape, *flags)
    expected, timed = json.loads(stdout), {"run", "tokens_per_second"}
    summary = model.pretrain(data, tmp_path / "again", steps=3, **TINY)._asdict()
    assert summary.keys() == expected.keys()
    assert {name: summary[name] for name in summary.keys() - timed} == {
        name: expected[name] for name in expected.keys() - timed
    }
    assert weights(tmp_path / "run") == weights(tmp_path / "again") == weights(ended)


def test_training_is_silent_and_continues(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    model.pretrain(data, tmp_path / "run", steps=2, **TINY)
    assert capfd.readouterr() == ("", "")
    summary = model.pretrain(data, str(tmp_path / "run"), steps=4, log=lines.append, **TINY)
    assert (summary.resumed_from, summary.step) == (2, 4)
    assert any(line.startswith("resuming from") for line in lines)
    assert capfd.readouterr() == ("", "")


def test_the_command_resumes_what_python_began(data: Path, tmp_path: Path) -> None:
    settings = {**TINY, "tied": False, "lr": 1e-3, "keep_checkpoints": 1}
    model.pretrain(data, tmp_path / "run", steps=2, tokenizer=data.parent / "tokenizer", **settings)
    summary = json.loads(command("pretrain", "--resume", tmp_path / "run", "--steps", 3, "--json"))
    assert (summary["resumed_from"], summary["step"]) == (2, 3)
    assert [path.name for path in (tmp_path / "run").glob("*.pt")] == ["checkpoint-000003.pt"]


def test_ctrl_c_leaves_a_checkpoint_and_the_handlers(data: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        run = tmp_path / number.name

        def interrupt(line: str, number: int = number) -> None:
            if line.startswith("step  2/50"):
                os.kill(os.getpid(), number)

        with pytest.raises(KeyboardInterrupt, match=r"stopped after step [23] of 50; the same call"):
            model.pretrain(data, run, steps=50, log=interrupt, log_every=1, **TINY)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        checkpoint = newest(run, print)
        assert checkpoint is not None
        assert checkpoint[1]["step"] in (2, 3)


def test_training_in_another_thread(data: Path, ended: Path, tmp_path: Path) -> None:
    summaries: list[Any] = []
    thread = threading.Thread(target=lambda: summaries.append(model.pretrain(data, tmp_path / "run", steps=3, **TINY)))
    thread.start()
    thread.join()
    assert summaries[0].step == 3
    assert weights(tmp_path / "run") == weights(ended)


def test_a_script_is_interrupted_in_good_order(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import model\n"
        f"model.pretrain({str(data)!r}, 'run', steps=10**6, log=lambda line: print(line, flush=True), **{TINY!r})\n"
        "print('never')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT  # as Python ends after KeyboardInterrupt
    assert "KeyboardInterrupt: stopped after step" in stderr
    assert "never" not in stdout
    assert newest(tmp_path / "run", print) is not None


def test_texts_become_training_data(tmp_path: Path) -> None:
    texts = [f"{number} sheep and {number + 1} goats \ud83d" for number in range(100)]
    tokenizer = bpe.train_tokenizer(texts, 280)
    tokens = model.write_tokens(iter(texts), tokenizer, tmp_path)
    assert tokens == model.write_tokens(texts, tokenizer, tmp_path)
    summary = model.pretrain(tokens, tmp_path / "run", tokens=128, validation_fraction=0.2, **TINY)
    assert summary.step == 2
    assert summary.bits_per_byte is not None
    (tokens / "other.parquet").write_bytes((tokens / "part-00000.parquet").read_bytes())
    with pytest.raises(FileExistsError, match="holds other shards"):
        model.write_tokens(texts, tokenizer, tmp_path)
    (tokens / "other.parquet").unlink()
    with pytest.raises(FileExistsError, match="holds another tokenizer"):
        model.write_tokens(texts, bpe.train_tokenizer(texts, 270), tmp_path)


def test_wrong_settings_are_named(data: Path, ended: Path, tmp_path: Path) -> None:
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (TypeError, "stepz = 3: no such setting; there are activation, ", {"stepz": 3}),
        (TypeError, "vocab_size = 3: no such setting", {"vocab_size": 3}),
        (TypeError, "steps = '3': should be a whole number", {"steps": "3"}),
        (TypeError, "lr = '1e-3': should be a number", {"lr": "1e-3"}),
        (TypeError, "doc_mask = 1: should be True or False", {"doc_mask": 1}),
        (TypeError, "sample_prompts is of type str: pass a list of strings", {"sample_prompts": "The"}),
        (ValueError, "tokens = 0: should be at least 1", {"tokens": 0}),
        (ValueError, "lr = -1: should be above 0", {"lr": -1}),
        (ValueError, "preset 'huge': should be one of tiny", {"preset": "huge"}),
        (ValueError, "steps and tokens: give one", {"steps": 3, "tokens": 64}),
        (ValueError, "device = 'tpu': should be auto, cpu or cuda", {"device": "tpu"}),
    ]
    for kind, message, settings in wrong:
        with pytest.raises(kind, match=message):
            model.pretrain(data, tmp_path / "run", **{**TINY, **settings})
    assert not (tmp_path / "run").exists()
    with pytest.raises(FileNotFoundError, match="no such directory of TOKENS shards"):
        model.pretrain(tmp_path / "none", tmp_path / "run")
    with pytest.raises(ValueError, match=r"holds another run \(model.width: 32, not 64"):
        model.pretrain(data, ended, steps=3, **{**TINY, "width": 64})
    with pytest.raises(TypeError, match="texts is of type str"):
        model.write_tokens("text", bpe.Tokenizer.load(data.parent / "tokenizer"), tmp_path)
    with pytest.raises(TypeError, match=r"texts\[0\] is of type bytes: pass a str"):
        model.write_tokens([b"text"], bpe.Tokenizer.load(data.parent / "tokenizer"), tmp_path)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="there is no text"):
        model.write_tokens([], bpe.Tokenizer.load(data.parent / "tokenizer"), tmp_path)


# --- use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [[], ["a", "\n"], ["é"]])
def test_texts_are_those_of_the_command(ended: Path, loaded: model.LoadedModel, stop: list[str]) -> None:
    flags = ["--device", "cpu", "--max-tokens", 60, "--temperature", 3.0, "--top-k", 0, "--seed", 5]
    flags += [part for text in stop for part in ("--stop", text)]
    stdout = command("sample", ended, "--prompt", "The", *flags, "-n", 3, "--json")
    expected = [sample["text"] for sample in json.loads(stdout)["samples"]]
    [answers] = model.generate_many(loaded, ["The"], count=3, stop=stop, **DRAWN)
    assert answers == expected
    assert model.generate(loaded, "The", stop=stop, **DRAWN) == expected[0]
    assert model.generate(ended, "The", stop=stop, device="cpu", **DRAWN) == expected[0]
    assert command("sample", ended, "--prompt", "The", *flags) == f"The{expected[0]}\n"


def test_a_stream_is_whole_characters_as_they_are_drawn(loaded: model.LoadedModel) -> None:
    pieces = list(model.generate_stream(loaded, "The", **DRAWN))
    assert "".join(pieces) == model.generate(loaded, "The", **DRAWN)
    assert all(pieces)
    assert len(pieces) > 20
    stream = model.generate_stream(loaded, "The", max_tokens=10**6, top_k=0)
    next(stream)
    assert torch.is_grad_enabled()  # between two pieces, too
    stream.close()  # type: ignore[attr-defined]


def test_half_a_character_is_held_back(loaded: model.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.using.generate_tokens", lambda *_: iter("é—x".encode() + b"\xe2\x80"))
    assert list(model.generate_stream(loaded)) == ["é", "—", "x", "\ufffd"]


def test_scores_are_those_of_the_command(ended: Path, loaded: model.LoadedModel, data: Path) -> None:
    total = json.loads(command("eval", ended, "--data", data, "--stride", 8, "--device", "cpu", "--json"))["total"]
    scores = model.evaluate_model(loaded, data, stride=8)
    assert scores._asdict() == {name: value for name, value in total.items() if name not in ("name", "part")}
    several = model.evaluate_model(ended, {"a": data, "b": data}, windows=2, device="cpu")
    assert several.tokens == 2 * 2 * 32
    text = model.score_text(loaded, "The naïve cat")
    assert (text.bytes, text.tokens) == (14, 14)
    assert text.bits_per_byte is not None


def test_models_of_transformers(ended: Path, loaded: model.LoadedModel, tmp_path: Path) -> None:
    command("export", ended, "-o", tmp_path / "theirs")
    for file in model.export_model(loaded, tmp_path / "ours"):
        assert file.read_bytes() == (tmp_path / "theirs" / file.name).read_bytes()
    imported = model.import_model(tmp_path / "ours", tmp_path / "run")
    assert imported.architecture == "Qwen3ForCausalLM"
    assert model.generate(tmp_path / "run", "The", device="cpu", **DRAWN) == model.generate(loaded, "The", **DRAWN)


def test_wrong_arguments_are_named(loaded: model.LoadedModel, tmp_path: Path) -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="prompt is of type int: pass a str"):
        model.generate(loaded, wrong)
    with pytest.raises(ValueError, match="temperature = -1: should be at least 0"):
        model.generate_stream(loaded, temperature=-1)
    with pytest.raises(TypeError, match="stop is of type str: pass a list of strings"):
        model.generate(loaded, stop=".")
    with pytest.raises(TypeError, match="prompts is of type str: pass a list of strings"):
        model.generate_many(loaded, "The")
    with pytest.raises(ValueError, match="count = 0: should be at least 1"):
        model.generate_many(loaded, ["The"], count=0)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        model.generate(tmp_path, "The")
    with pytest.raises(ValueError, match="holds no tokenizer"):
        model.generate_stream(model.LoadedModel(loaded.gpt, None))
    with pytest.raises(ValueError, match="no tokens to score"):
        model.score_text(loaded, "")
    with pytest.raises(ValueError, match="in no run directory"):
        model.evaluate_model(model.LoadedModel(loaded.gpt, loaded.tokenizer), tmp_path)
    with pytest.raises(ValueError, match="dtype = 'int8': should be one of float32, bfloat16"):
        model.export_model(loaded, tmp_path / "out", dtype="int8")
