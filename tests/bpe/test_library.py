"""`import bpe`: its names, their documentation, and that they do what the commands do."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import bpe
from bpe.cli import main
from bpe.files import load_vocabulary
from tests.support.library import check_names, modules_after, run_examples

WORDS = ["the", "low", "lower", "lowest", "new", "newer", "naïve", "café", "123", "4567", "don't", "DON'T", ",", "\n"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=40)) for _ in range(200)]


@pytest.fixture(scope="module")
def source(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> bpe.Tokenizer:
    return bpe.train_tokenizer(texts, 300, threads=1)


def run(*arguments: Any) -> str:
    answer = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_names() -> None:
    check_names("bpe")


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_examples("bpe")


def test_the_import_is_light() -> None:
    assert not modules_after("import bpe; dir(bpe)") & {"numpy", "numba", "pyarrow", "regex"}
    assert "numba" not in modules_after("import bpe; bpe.Tokenizer, bpe.PATTERNS, bpe.Vocabulary")


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'bpe' has no attribute 'tokenise'"):
        bpe.tokenise  # noqa: B018


@pytest.mark.parametrize("settings", [{}, {"pattern": "gpt2", "ties": "hf"}, {"pattern": r"\w+|\W", "min_count": 2}])
def test_training_gives_the_vocabulary_of_the_command(
    settings: dict[str, Any], texts: list[str], source: Path, tmp_path: Path
) -> None:
    flags = [item for name, value in settings.items() for item in (f"--{name.replace('_', '-')}", value)]
    run("train", source, "--vocab-size", 400, "-o", tmp_path / "tokenizer", *flags)
    expected = load_vocabulary(tmp_path / "tokenizer")
    for given in (texts, iter(reversed(texts)), [pa.array(texts)], bpe.read_texts(source)):
        assert bpe.train_tokenizer(given, 400, **settings).vocabulary == expected


def test_training_reports_only_if_asked(texts: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    bpe.train_tokenizer(texts, 300, progress=lambda phase, done, wanted: seen.append(phase))
    assert {"counting", "merging"} == set(seen)
    assert capfd.readouterr() == ("", "")


def test_saved_loaded_and_pickled(tokenizer: bpe.Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "one")
    tokenizer.save(tmp_path / "one")
    assert bpe.Tokenizer.load(tmp_path / "one").vocabulary == tokenizer.vocabulary
    assert pickle.loads(pickle.dumps(tokenizer)).encode("the lowest") == tokenizer.encode("the lowest")
    other = bpe.train_tokenizer(["other"], 260)
    with pytest.raises(FileExistsError, match="holds another tokenizer"):
        other.save(tmp_path / "one")
    other.save(tmp_path / "one", overwrite=True)
    assert bpe.Tokenizer.load(tmp_path / "one").vocabulary == other.vocabulary


def test_comparison_is_that_of_the_command(
    tokenizer: bpe.Tokenizer, texts: list[str], source: Path, tmp_path: Path
) -> None:
    small = bpe.train_tokenizer(texts, 270)
    tokenizer.save(tmp_path / "a")
    small.save(tmp_path / "b")
    expected = json.loads(run("compare", tmp_path / "a", tmp_path / "b", "--data", source, "--json"))
    assert bpe.compare_tokenizers({"a": tokenizer, "b": small}, texts) == expected
    assert bpe.compare_tokenizers({"a": tokenizer, "b": small}, [pa.array(texts)]) == expected
    groups = bpe.compare_tokenizers({"a": tokenizer}, {"first": texts[:50], "second": texts[50:]})["groups"]
    assert {group["group"]: group["documents"] for group in groups} == {"first": 50, "second": 150}


@pytest.mark.parametrize(("to", "name"), [("hf", "tokenizer.json"), ("tiktoken", "a.tiktoken"), ("gpt2", "folder")])
def test_files_of_other_libraries(tokenizer: bpe.Tokenizer, to: str, name: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / name, tmp_path / "theirs" / name
    if to == "gpt2":
        tokenizer = bpe.train_tokenizer(["the lowest of the lower"], 280, pattern="gpt2")
    tokenizer.save(tmp_path / "tokenizer")
    run("export", tmp_path / "tokenizer", "-o", theirs, "--to", to)
    files = bpe.export_tokenizer(tokenizer, ours, to=to)
    assert files == bpe.export_tokenizer(tokenizer, ours, to=to)
    for file in files:
        assert file.read_bytes() == (tmp_path / "theirs" / file.relative_to(tmp_path / "ours")).read_bytes()
    pattern = "cl100k" if to == "tiktoken" else None
    imported = bpe.import_tokenizer(ours, tmp_path / "imported", pattern=pattern)
    assert imported.encode_ordinary("the lowest") == tokenizer.encode_ordinary("the lowest")
    assert bpe.Tokenizer.load(tmp_path / "imported").vocabulary == imported.vocabulary
    with pytest.raises(FileExistsError, match="is there and differs"):
        bpe.export_tokenizer(bpe.train_tokenizer(["abc"], 259, pattern="gpt2"), ours, to=to)


def test_wrong_arguments_are_named(tokenizer: bpe.Tokenizer, tmp_path: Path) -> None:
    wrong: Any = "text"
    with pytest.raises(TypeError, match="texts is of type str: pass several texts"):
        bpe.train_tokenizer(wrong, 300)
    with pytest.raises(TypeError, match="special_tokens is of type str: pass a list"):
        bpe.train_tokenizer(["text"], 300, special_tokens="<|end|>")
    with pytest.raises(ValueError, match="vocab_size = 20: at least 257"):
        bpe.train_tokenizer(["text"], 20)
    with pytest.raises(ValueError, match="pattern = 'gpt3': should be one of gpt2"):
        bpe.train_tokenizer(["text"], 300, pattern="gpt3")
    with pytest.raises(ValueError, match="there is no text"):
        bpe.train_tokenizer([], 300)
    with pytest.raises(TypeError, match="tokenizers: pass a dict"):
        bpe.compare_tokenizers([tokenizer], ["text"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="texts is of type str"):
        bpe.compare_tokenizers({"a": tokenizer}, wrong)
    with pytest.raises(TypeError, match="texts holds a int"):
        bpe.compare_tokenizers({"a": tokenizer}, [1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="to = None: should be one of tiktoken, hf, gpt2"):
        bpe.export_tokenizer(tokenizer, tmp_path / "folder")
    with pytest.raises(TypeError, match="name at least one file"):
        bpe.read_texts()
