"""`import model` and its arguments: a mistake is an error that names the argument and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import bpe
import model
from model.cli import main
from model.train import Summary
from tests.support.model_shards import write_bytes

SENTENCE = b"The cat sat on the mat and the dog sat by the door. "
SHAPE: dict[str, Any] = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 2, "head_dim": 16, "mlp_width": 64}
TINY: dict[str, Any] = {**SHAPE, "context": 32, "batch_tokens": 64, "device": "cpu", "sample_every": 0}
Call = Callable[[model.LoadedModel], object]


def shape(**fields: Any) -> model.ModelConfig:
    return model.ModelConfig(**{"vocab_size": 300, "context": 32, **SHAPE, **fields})


def pretrain(**settings: Any) -> Summary:
    return model.pretrain("data", "run", **{**TINY, **settings})


WRONG: list[tuple[Call, type[Exception], str]] = [
    (lambda it: pretrain(norm_eps=-1), ValueError, "norm_eps = -1: should be at least 0"),
    (lambda it: pretrain(rope_theta=0), ValueError, "rope_theta = 0: should be above 0"),
    (lambda it: pretrain(lr=float("inf")), ValueError, "lr = inf: should be a finite number"),
    (lambda it: pretrain(beta1=1.0), ValueError, "beta1 = 1.0: should be below 1"),
    (lambda it: pretrain(sample_prompts="The"), TypeError, "sample_prompts is of type str: pass a list of strings"),
    (lambda it: pretrain(trackers=[5]), TypeError, r"trackers\[0\] is of type int: pass a str"),
    (lambda it: pretrain(tied="no"), TypeError, "tied = 'no': should be True or False"),
    (lambda it: pretrain(compile=1), TypeError, "compile = 1: should be True, False or None"),
    (lambda it: pretrain(preset=5), TypeError, "preset is of type int: pass a str"),
    (lambda it: pretrain(tokenizer=5), TypeError, "tokenizer is of type int: pass a path"),
    (lambda it: pretrain(log=5), TypeError, "log is of type int: pass a function"),
    (lambda it: model.pretrain(None, "run"), TypeError, "data is of type NoneType: pass a path"),
    (lambda it: model.pretrain("data", b"run"), TypeError, "output is of type bytes: pass a path"),
    (lambda it: model.pretrain("data", ""), ValueError, "output is empty: name a"),
    (lambda it: shape(layers=1.5), TypeError, "layers = 1.5: should be a whole number"),
    (lambda it: shape(context=True), TypeError, "context = True: should be a whole number"),
    (lambda it: shape(rope_theta="a"), TypeError, "rope_theta = 'a': should be a number"),
    (lambda it: model.RunOptions(device=5), TypeError, "device is of type int: pass a str"),
    (lambda it: model.from_preset("tiny", 1.5), TypeError, "vocab_size = 1.5: should be a whole number"),
    (lambda it: model.from_preset("tiny", 2**70), ValueError, r"vocab_size = .*: should be below 2 \*\* 63"),
    (lambda it: model.GPT(None), TypeError, "config is of type NoneType: pass a ModelConfig"),
    (lambda it: model.LoadedModel(None, None), TypeError, "gpt is of type NoneType: pass a GPT"),
    (lambda it: model.load_model(None), TypeError, "run is of type NoneType: pass a path"),
    (lambda it: model.load_model("run", device=5), TypeError, "device is of type int: pass a str"),
    (lambda it: model.generate(it, 5), TypeError, "prompt is of type int: pass a str"),
    (lambda it: model.generate(it, device="x"), ValueError, "device = 'x': should be auto, cpu or cuda"),
    (lambda it: model.generate(it, max_tokens=5.5), TypeError, "max_tokens = 5.5: should be a whole number"),
    (lambda it: model.generate(it, temperature="a"), TypeError, "temperature = 'a': should be a number"),
    (lambda it: model.generate(it, seed=None), TypeError, "seed = None: should be a whole number"),
    (lambda it: model.generate(it, stop=None), TypeError, "stop is of type NoneType: pass a list of strings"),
    (lambda it: model.generate(it, stop=[None]), TypeError, r"stop\[0\] is of type NoneType: pass a str"),
    (lambda it: model.generate_many(it, None), TypeError, "prompts is of type NoneType: pass a list"),
    (lambda it: model.generate_many(it, ["a"], count="1"), TypeError, "count = '1': should be a whole number"),
    (lambda it: model.evaluate_model(it, {}), ValueError, "data is empty: name a folder of token shards"),
    (lambda it: model.evaluate_model(it, "data", windows=-1), ValueError, "windows = -1: should be at least 0"),
    (lambda it: model.score_text(it, "a", stride=1.5), TypeError, "stride = 1.5: should be a whole number"),
    (lambda it: model.export_model(it, ""), ValueError, "output is empty: name a"),
    (lambda it: model.import_model("a", 5), TypeError, "output is of type int: pass a path"),
    (lambda it: model.import_model("a", "a"), ValueError, "a: is the input too; name another output"),
    (lambda it: model.write_tokens(["a"], None, "out"), TypeError, "tokenizer is of type NoneType: pass a Tokenizer"),
    (lambda it: model.write_tokens(["a"], it.tokenizer, ""), ValueError, "output is empty: name a"),
    (lambda it: model.write_tokens(5, it.tokenizer, "out"), TypeError, "texts is of type int: pass several texts"),
]


@pytest.fixture(scope="module")
def loaded() -> model.LoadedModel:
    return model.LoadedModel(model.GPT(shape()), bpe.train_tokenizer(["low lower lowest"], 270))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bytes(tmp_path_factory.mktemp("work"), [SENTENCE[shift:] + SENTENCE * 3 for shift in range(30)])


@pytest.mark.parametrize(("call", "kind", "words"), WRONG, ids=[words[:40] for _, _, words in WRONG])
def test_a_wrong_argument_is_named_with_its_fix(
    call: Call,
    kind: type[Exception],
    words: str,
    loaded: model.LoadedModel,
    data: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(data)
    with pytest.raises(kind, match=words) as raised:
        call(loaded)
    assert type(raised.value) is kind
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_other_texts_do_not_replace_the_texts_that_are_there(tmp_path: Path) -> None:
    texts = [f"{number} sheep" for number in range(200)]
    tokenizer = bpe.train_tokenizer(texts, 280)
    tokens = model.write_tokens(texts, tokenizer, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=r"tokens: holds the tokens of other texts; remove it, or choose another"):
        model.write_tokens(["new"], tokenizer, tmp_path)
    assert model.write_tokens(iter(texts), tokenizer, tmp_path) == tokens
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_that_is_done_says_what_it_was(data: Path, tmp_path: Path) -> None:
    settings = {**TINY, "sample_prompts": ["The"], "steps": np.int64(3)}
    done = model.pretrain(data, tmp_path / "run", **settings)
    assert None not in (done.loss, done.validation_loss, done.bits_per_byte)
    lines: list[str] = []
    for steps in (3, 1):
        again = model.pretrain(data, tmp_path / "run", log=lines.append, **{**settings, "steps": steps})
        expected = {"steps": steps, "resumed_from": 3, "tokens_per_second": 0}
        assert again == done._replace(**expected)
    assert "the run has had its 3 steps; give more by steps or tokens to continue it" in lines
    longer = model.pretrain(data, tmp_path / "run", validate_every=0, **{**settings, "steps": 4})
    assert longer.step == 4
    assert longer.loss != done.loss
    assert (longer.validation_loss, longer.bits_per_byte) == (done.validation_loss, done.bits_per_byte)


def test_the_output_is_not_the_input(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "is the input too; name another output"
    shards = sorted(data.iterdir())
    with pytest.raises(ValueError, match=refused):
        model.pretrain(data, f"{data}/", steps=1, **TINY)
    model.pretrain(data, tmp_path / "run", steps=1, **TINY)
    files = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(ValueError, match=refused):
        model.export_model(tmp_path / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for command in (f"pretrain --data {data} -o {data}", "export run -o run", "import run -o run"):
        answer = CliRunner().invoke(main, command.split())
        assert (answer.exit_code, refused in answer.output) == (2, True)
    assert sorted(data.iterdir()) == shards
    assert sorted((tmp_path / "run").rglob("*")) == files


def test_messages_name_arguments_and_no_flags(data: Path, tmp_path: Path) -> None:
    model.pretrain(data, tmp_path / "run", steps=1, **TINY)
    with pytest.raises(ValueError, match=r"ask for the same or choose another output$"):
        model.pretrain(data, tmp_path / "run", steps=1, **{**TINY, "width": 64})
    other = bpe.train_tokenizer(["low lower"], 258)
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"name the right one with tokenizer$"):
        model.pretrain(data, tmp_path / "new", steps=1, tokenizer=tmp_path / "other", **TINY)
