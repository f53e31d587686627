"""`model export` and `model import` as a user runs them, and the tokenizer that goes with a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from bpe.files import load_vocabulary, save_vocabulary
from bpe.vocabulary import Vocabulary
from model.checkpoint import load_model, save
from model.cli import main
from model.config import as_dict
from model.gpt import GPT
from model.hf import export, import_folder
from model.tokenizer import Tokenizer
from tests.support.model_peers import random_model, saved_by_transformers
from tests.support.model_shards import small_model, write_shard


def bytes_vocabulary() -> Vocabulary:
    return Vocabulary(tuple(bytes([byte]) for byte in range(256)), "gpt2", {"<|endoftext|>": 256})


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory that looks trained to the commands."""
    gpt, vocabulary = random_model(small_model(vocab_size=257)), bytes_vocabulary()
    folder = tmp_path / "trained"
    save_vocabulary(vocabulary, folder / "tokenizer")
    data = {"fingerprint": "f", "tokenizer_hash": vocabulary.hash, "end_of_text": 256}
    save(folder, 7, {"model": as_dict(gpt.config), "data": data, "weights": gpt.state_dict()}, keep=1)
    return folder


def test_tokenizer_goes_along_and_comes_back(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    export(GPT(small_model(vocab_size=257)), tmp_path / "hf", 256, Tokenizer(bytes_vocabulary()))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf", local_files_only=True)
    assert theirs.encode("The é") == list("The é".encode())
    assert (theirs.eos_token, theirs.eos_token_id) == ("<|endoftext|>", 256)
    imported = import_folder(tmp_path / "hf", tmp_path / "run")
    assert load_vocabulary(tmp_path / "run/tokenizer").hash == imported.tokenizer == bytes_vocabulary().hash
    state = load_model(tmp_path / "run", torch.device("cpu"), print)[1]
    assert state["data"] == {"fingerprint": None, "tokenizer_hash": imported.tokenizer, "end_of_text": 256}


def test_tokenizer_that_cannot_be_is_refused_or_left_out(tmp_path: Path) -> None:
    saved_by_transformers(tmp_path / "hf", "Qwen3")
    export(GPT(small_model(vocab_size=257)), tmp_path / "other", 256, Tokenizer(bytes_vocabulary()))
    shutil.copy(tmp_path / "other/tokenizer.json", tmp_path / "hf")
    with pytest.raises(ValueError, match=r"tokenizer.json: has 257 ids, the model's embedding 100 rows"):
        import_folder(tmp_path / "hf", tmp_path / "run")
    (tmp_path / "hf/tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(ValueError, match=r"model Unigram has no counterpart here.*; --no-tokenizer imports"):
        import_folder(tmp_path / "hf", tmp_path / "run")
    assert run_command("import", tmp_path / "hf", "-o", tmp_path / "run", "--no-tokenizer").exit_code == 0
    assert not (tmp_path / "run/tokenizer").exists()


def test_a_run_goes_out_and_comes_back_by_command(run: Path, tmp_path: Path) -> None:
    exported = run_command("export", run, "--to", "hf", "-o", tmp_path / "hf", "--json")
    assert exported.exit_code == 0, exported.output
    names = {Path(path).name for path in json.loads(exported.stdout)["files"]}
    assert names == {path.name for path in (tmp_path / "hf").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    imported = run_command("import", tmp_path / "hf", "-o", tmp_path / "back", "--json")
    assert imported.exit_code == 0, imported.output
    assert json.loads(imported.stdout)["architecture"] == "Qwen3ForCausalLM"
    samples = [
        run_command("sample", folder, "--prompt", "The", "--max-tokens", 8, "--json")
        for folder in (run, tmp_path / "back")
    ]
    assert samples[0].exit_code == 0, samples[0].output
    assert samples[0].stdout == samples[1].stdout
    again = run_command("import", tmp_path / "hf", "-o", tmp_path / "back")
    assert again.exit_code == 1
    assert again.stderr == f"model: {tmp_path / 'back'}: holds a run already; choose another -o\n"
    result = run_command("import", tmp_path / "hf", "-o", tmp_path / "more")
    assert "Qwen3ForCausalLM, 82,304 parameters, context 16, tokenizer " in result.stderr


def test_a_model_may_have_more_ids_than_its_tokenizer(tmp_path: Path) -> None:
    """Published models round their embeddings up; an id without a token is left out of the text."""
    export(GPT(small_model(vocab_size=2000)), tmp_path / "hf", 256, Tokenizer(bytes_vocabulary()))
    import_folder(tmp_path / "hf", tmp_path / "run")
    arguments = ["--max-tokens", 12, "--temperature", 2, "--top-k", 0]
    sampled = run_command("sample", tmp_path / "run", "--json", *arguments)
    assert sampled.exit_code == 0, sampled.output
    [sample] = json.loads(sampled.stdout)["samples"]
    assert sample["tokens"] > len(sample["text"])


def test_an_imported_model_is_scored_by_command(run: Path, tmp_path: Path) -> None:
    """The loss equals that of the run that was exported, with and without its tokenizer."""
    documents = [list(b"The cat sat on the mat, and the dog by the door.")] * 3
    write_shard(tmp_path / "tokens/a.parquet", documents, 257, 256, bytes_vocabulary().hash)
    run_command("export", run, "-o", tmp_path / "hf")
    for name, arguments in {"with": [], "without": ["--no-tokenizer"]}.items():
        assert run_command("import", tmp_path / "hf", "-o", tmp_path / name, *arguments).exit_code == 0
    losses = []
    for folder in (run, tmp_path / "with", tmp_path / "without"):
        scored = run_command("eval", folder, "--data", tmp_path / "tokens", "--device", "cpu", "--json")
        assert scored.exit_code == 0, scored.output
        losses.append(json.loads(scored.stdout)["total"]["loss"])
    assert losses[0] == losses[1] == losses[2] > 1


def test_training_begins_with_imported_weights(run: Path, tmp_path: Path) -> None:
    documents = [list(b"The cat sat on the mat, and the dog by the door of the old house." * 4)] * 8
    write_shard(tmp_path / "tokens/a.parquet", documents, 257, 256, bytes_vocabulary().hash)
    run_command("export", run, "-o", tmp_path / "hf")
    assert run_command("import", tmp_path / "hf", "-o", tmp_path / "imported").exit_code == 0
    data = ["--data", tmp_path / "tokens", "--device", "cpu", "--steps", 3, "--batch-tokens", 64]
    more = [*data, "--set", "validation_fraction=0", "--lr", 1e-3, "-o", tmp_path / "more"]
    trained = run_command("pretrain", "--from", tmp_path / "imported", *more)
    assert trained.exit_code == 0, trained.output
    weights = [
        load_model(tmp_path / folder, torch.device("cpu"), print)[0].state_dict() for folder in ("imported", "more")
    ]
    moved = [float((weights[1][name] - weight).abs().max()) for name, weight in weights[0].items()]
    assert 0 < max(moved) < 4e-3  # an update of AdamW moves a weight by about the learning rate, and here are three
    shutil.rmtree(tmp_path / "imported")
    again = run_command("pretrain", "--resume", tmp_path / "more", "--steps", 4)
    assert again.exit_code == 0, again.output
    assert "resuming from" in again.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "soft_cap=15"], "its weights are of another shape (soft_cap: 0.0, not 15.0)"),
        (["--set", "layers=3"], "its weights are of another shape (layers: 2, not 3)"),
        (["--data", "{tmp}/other"], "other: made by tokenizer aaaaaaaaaaaa with 257 ids, {tmp}/imported knows "),
        (["--from", "{tmp}/none"], "none: holds no checkpoint"),
        (["-o", "{tmp}/imported"], "imported: holds an imported model, which has no training to resume"),
    ],
)
def test_training_that_does_not_fit_the_weights_is_refused(
    run: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    write_shard(tmp_path / "tokens/a.parquet", [list(b"text " * 40)] * 8, 257, 256, bytes_vocabulary().hash)
    write_shard(tmp_path / "other/a.parquet", [list(b"text " * 40)] * 8, 257, 256, "a" * 64)
    run_command("export", run, "-o", tmp_path / "hf")
    run_command("import", tmp_path / "hf", "-o", tmp_path / "imported")
    places = ["--from", tmp_path / "imported", "--data", tmp_path / "tokens", "-o", tmp_path / "more"]
    size = ["--device", "cpu", "--batch-tokens", 64, *(argument.format(tmp=tmp_path) for argument in more)]
    result = run_command("pretrain", *places, *size)
    assert result.exit_code == 1
    assert message.format(tmp=tmp_path) in result.stderr
    assert result.stderr.splitlines()[-1].startswith("model: ")


def test_errors_of_the_commands_are_one_line(run: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["import", tmp_path / "none", "-o", tmp_path / "x"], "config.json: no such file"),
        (["export", tmp_path / "none", "-o", tmp_path / "x"], "holds no checkpoint"),
    ):
        result = run_command(*arguments)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert run_command("export", run, "--to", "gguf", "-o", tmp_path / "x").exit_code == 2
    assert run_command("export", run, "--dtype", "int8", "-o", tmp_path / "x").exit_code == 2
