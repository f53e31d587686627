"""Models whose texts do not end with `<|endoftext|>`: trained, sampled, scored, imported and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import bpe
from bpe.files import load_vocabulary, save_vocabulary
from bpe.vocabulary import Vocabulary
from model import evaluate_model, export_model, generate, import_model, load_model, pretrain, score_text, write_tokens
from model.checkpoint import load_model as read_model
from model.checkpoint import save
from model.cli import main
from model.config import as_dict
from model.gpt import GPT
from model.hf import export, import_folder
from model.tokenizer import Tokenizer, adopt_tokenizer, run_tokenizer
from tests.support.cases import case
from tests.support.model_shards import small_model, write_shard

BYTES = tuple(bytes([byte]) for byte in range(256))
PLAIN = Vocabulary(BYTES, "gpt2", {"<s>": 256, "</s>": 257})
QUESTION = {"ctx": "The dog", "endings": ["runs.", "is a fish."], "label": 0}
SMALL: dict[str, Any] = {"context": 16, "batch_tokens": 64, "layers": 1, "device": "cpu"}


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    return tmp_path / "questions.jsonl"


def check_commands(run: Path, questions: Path) -> None:
    """The commands that need a run's end of text work."""
    sampled = command("sample", run, "--prompt", "x", "--max-tokens", 3, "--device", "cpu")
    assert sampled.exit_code == 0, sampled.output
    scored = command("eval", run, "--choices", questions, "--device", "cpu", "--json")
    assert scored.exit_code == 0, scored.output
    assert score_text(load_model(run, device="cpu"), "Some text").tokens == 9


def test_training_takes_the_end_of_the_shards(tmp_path: Path, questions: Path) -> None:
    """The tokenizer beside the shards names no end of text: their footers do."""
    save_vocabulary(PLAIN, tmp_path / "tokenizer")
    documents = [list(f"{number} sheep and a goat".encode()) for number in range(40)]
    write_shard(tmp_path / "tokens/a.parquet", documents, 258, 257, PLAIN.hash)
    pretrain(tmp_path / "tokens", tmp_path / "run", steps=2, **SMALL)
    assert load_vocabulary(tmp_path / "run/tokenizer").ending == "</s>"
    check_commands(tmp_path / "run", questions)
    assert isinstance(generate(tmp_path / "run", "one", max_tokens=3, device="cpu"), str)
    assert evaluate_model(tmp_path / "run", tmp_path / "tokens", device="cpu").bits_per_byte
    export_model(tmp_path / "run", tmp_path / "hf")
    assert json.loads((tmp_path / "hf/config.json").read_text())["eos_token_id"] == 257
    assert json.loads((tmp_path / "hf/tokenizer_config.json").read_text())["eos_token"] == "</s>"
    import_model(tmp_path / "hf", tmp_path / "back")
    check_commands(tmp_path / "back", questions)


def test_texts_in_memory(tmp_path: Path) -> None:
    texts = [f"{number} sheep and a goat" for number in range(40)]
    with pytest.raises(ValueError, match=r"has no <\|endoftext\|>, only <a>: name the special token"):
        write_tokens(texts, bpe.train_tokenizer(texts, 260, special_tokens=["<a>"]), tmp_path / "none")
    tokenizer = bpe.train_tokenizer(texts, 260, special_tokens=["<a>", "<b>"], end_of_text="<b>")
    pretrain(write_tokens(texts, tokenizer, tmp_path), tmp_path / "run", steps=2, **SMALL)
    loaded = load_model(tmp_path / "run", device="cpu").tokenizer
    assert loaded is not None
    assert loaded.eot_token == tokenizer.special_tokens["<b>"]


def test_a_tokenizer_that_is_there_is_only_read(tmp_path: Path) -> None:
    """It may be a link to a folder of somebody else's."""
    save_vocabulary(PLAIN, tmp_path / "ours")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/tokenizer").symlink_to(tmp_path / "ours")
    adopted = adopt_tokenizer(tmp_path / "run", tmp_path / "ours", PLAIN.hash, 257)
    assert adopted.vocabulary.ending == "</s>"
    assert load_vocabulary(tmp_path / "ours") == PLAIN
    read = run_tokenizer(tmp_path / "run", {"data": {"end_of_text": 257}})
    assert read is not None
    assert read.vocabulary.ending == "</s>"


def test_a_tokenizer_of_another_run_is_refused(tmp_path: Path) -> None:
    save_vocabulary(PLAIN, tmp_path / "tokenizer")
    assert run_tokenizer(tmp_path, {"model": {"vocab_size": 258}}) is not None
    with pytest.raises(ValueError, match="tokenizer: has ids up to 257, the run's model knows 257; copy the tokenizer"):
        run_tokenizer(tmp_path, {"model": {"vocab_size": 257}})


def test_runs_from_before_tokenizers_had_ends(tmp_path: Path, questions: Path) -> None:
    """Their checkpoints have the id, and their tokenizers name no end."""
    gpt, run = GPT(small_model(vocab_size=258)), tmp_path / "run"
    save_vocabulary(PLAIN, run / "tokenizer")
    data = {"fingerprint": "f", "tokenizer_hash": PLAIN.hash, "end_of_text": 257}
    save(run, 7, {"model": as_dict(gpt.config), "data": data, "weights": gpt.state_dict()}, keep=1)
    check_commands(run, questions)
    assert command("export", run, "-o", tmp_path / "hf").exit_code == 0
    assert json.loads((tmp_path / "hf/tokenizer_config.json").read_text())["eos_token"] == "</s>"


@pytest.mark.parametrize(
    ("ids", "end"), [(257, 257), ([257, 256], 257), ([97, 256], 256), ([], None), (None, None), ("257", None)]
)
def test_import_takes_the_end_of_config_json(ids: object, end: int | None, tmp_path: Path) -> None:
    export(GPT(small_model(vocab_size=258)), tmp_path / "hf", 256, Tokenizer(PLAIN))
    for name in ("tokenizer_config.json", "generation_config.json"):
        (tmp_path / "hf" / name).unlink()
    config = json.loads((tmp_path / "hf/config.json").read_text())
    (tmp_path / "hf/config.json").write_text(json.dumps(config | {"eos_token_id": ids}))
    import_folder(tmp_path / "hf", tmp_path / "run")
    assert read_model(tmp_path / "run", torch.device("cpu"), print)[1]["data"]["end_of_text"] == end
    vocabulary = load_vocabulary(tmp_path / "run/tokenizer")
    assert (None if vocabulary.ending is None else vocabulary.end_of_text) == end


def test_import_without_the_tokenizer_takes_the_first_id_that_the_model_has(tmp_path: Path) -> None:
    export(GPT(small_model(vocab_size=258)), tmp_path / "hf", 256, None)
    config = json.loads((tmp_path / "hf/config.json").read_text())
    (tmp_path / "hf/config.json").write_text(json.dumps(config | {"eos_token_id": [999, 257, 256]}))
    import_folder(tmp_path / "hf", tmp_path / "run")
    assert read_model(tmp_path / "run", torch.device("cpu"), print)[1]["data"]["end_of_text"] == 257


def test_llama_3(tmp_path: Path) -> None:
    folder, run = case("no-endoftext"), tmp_path / "run"
    assert command("import", folder / "Llama3-tiny", "-o", run).exit_code == 0
    sampled = command("sample", run, "--prompt", "x", "--device", "cpu")
    assert sampled.exit_code == 0, sampled.output
    scored = command("eval", run, "--choices", folder / "hs.jsonl", "--device", "cpu")
    assert scored.exit_code == 0, scored.output
    assert command("export", run, "-o", tmp_path / "hf").exit_code == 0
    assert json.loads((tmp_path / "hf/config.json").read_text())["eos_token_id"] == 502
    assert json.loads((tmp_path / "hf/tokenizer_config.json").read_text())["eos_token"] == "<|end_of_text|>"
