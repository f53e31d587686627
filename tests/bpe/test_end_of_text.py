"""The special token that ends a text, where it is not called `<|endoftext|>`: named, saved, read from other files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import bpe
from bpe.cli import main
from bpe.export import hugging_face
from bpe.files import load_vocabulary, save_vocabulary
from bpe.vocabulary import Vocabulary
from tests.support.cases import case

BYTES = tuple(bytes([byte]) for byte in range(256))
SPECIAL = {"<s>": 300, "</s>": 301, "<|turn|>": 302}
PLAIN = Vocabulary(BYTES, "gpt2", SPECIAL)
ENDED = PLAIN.with_end("</s>")
USUAL = Vocabulary(BYTES, "gpt2", {"<|endoftext|>": 256, "<|turn|>": 257})


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_end_is_the_named_token_or_the_usual_one() -> None:
    assert (ENDED.ending, ENDED.end_of_text, bpe.Tokenizer(ENDED).eot_token) == ("</s>", 301, 301)
    assert (USUAL.ending, USUAL.end_of_text) == ("<|endoftext|>", 256)
    assert USUAL.with_end("<|turn|>").end_of_text == 257
    assert USUAL.with_end("<|endoftext|>") == USUAL
    assert ENDED.hash == PLAIN.hash, "the ids of a text do not depend on it"
    assert ENDED != PLAIN
    assert pickle.loads(pickle.dumps(bpe.Tokenizer(ENDED))).eot_token == 301


def test_an_unknown_end_is_one_line_that_lists_the_special_tokens() -> None:
    with pytest.raises(
        ValueError, match=r"^the vocabulary has no <\|endoftext\|>, only <s>, </s>, <\|turn\|>: name .*"
    ) as no:
        _ = PLAIN.end_of_text
    assert str(no.value).endswith("name the special token that ends a text (--end-of-text NAME)")
    with pytest.raises(ValueError, match="only ordinary tokens: train it with that special token"):
        _ = Vocabulary(BYTES, "gpt2", {}).end_of_text
    with pytest.raises(ValueError, match=r"end = '<x>': the vocabulary has no such special token, only <s>, </s>"):
        PLAIN.with_end("<x>")
    many = Vocabulary(BYTES, "gpt2", {f"<{number}>": 256 + number for number in range(256)})
    with pytest.raises(ValueError, match=r"only <0>, <1>, <2>, <3>, <4>, <5>, <6>, <7> and 248 more: name"):
        _ = many.end_of_text


def test_it_is_saved_and_read(tmp_path: Path) -> None:
    assert save_vocabulary(ENDED, tmp_path / "t")
    assert load_vocabulary(tmp_path / "t") == ENDED
    facts = json.loads((tmp_path / "t/vocab.json").read_text())
    assert (facts["format"], facts["end"], facts["end_of_text"]) == (2, "</s>", 301)
    save_vocabulary(USUAL, tmp_path / "usual")
    assert "end" not in json.loads((tmp_path / "usual/vocab.json").read_text()), "headers without it stay as they were"


@pytest.mark.parametrize(
    "changes",
    [
        {"end": "<x>"},
        {"end": 301},
        {"end": ["</s>"]},
        {"end": "<s>"},
        {"end": None},
        {"end_of_text": 300},
        {"end_of_text": None},
    ],
)
def test_a_wrong_end_in_the_header(changes: dict[str, Any], tmp_path: Path) -> None:
    save_vocabulary(ENDED, tmp_path)
    header = tmp_path / "vocab.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | changes))
    with pytest.raises(ValueError, match=r"vocab.json is damaged \(end .* should be the name and the id of a special"):
        load_vocabulary(tmp_path)


@settings(max_examples=300)
@given(data=st.data())
def test_a_byte_changed_in_the_header_is_found_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    vocabulary = Vocabulary(BYTES, "gpt2", {"<0>": 300, "<1>": 301, "<2>": 302}, end="<1>")
    folder = tmp_path_factory.mktemp("damaged")
    save_vocabulary(vocabulary, folder)
    header = folder / "vocab.json"
    content = bytearray(header.read_bytes())
    start = content.index(b'"special_tokens"')
    content[data.draw(st.integers(start, len(content) - 1))] = data.draw(st.integers(0, 255))
    header.write_bytes(content)
    try:
        loaded = load_vocabulary(folder)
    except ValueError as error:
        assert str(folder) in str(error)  # noqa: PT017
    else:
        assert loaded == vocabulary


def test_equal_vocabularies_with_different_ends_in_one_folder(tmp_path: Path) -> None:
    assert save_vocabulary(PLAIN, tmp_path)
    assert save_vocabulary(ENDED, tmp_path), "an end is added where there is none"
    assert not save_vocabulary(ENDED, tmp_path)
    assert not save_vocabulary(PLAIN, tmp_path), "who names no end leaves that of the folder"
    assert load_vocabulary(tmp_path) == ENDED
    with pytest.raises(FileExistsError, match=r"holds another tokenizer \(.{12} with the end of text </s>\): choose"):
        save_vocabulary(PLAIN.with_end("<s>"), tmp_path)
    assert save_vocabulary(PLAIN.with_end("<s>"), tmp_path, overwrite=True)
    assert load_vocabulary(tmp_path).ending == "<s>"
    save_vocabulary(USUAL.with_end("<|turn|>"), tmp_path / "usual")
    with pytest.raises(FileExistsError, match=r"with the end of text <\|turn\|>"):
        save_vocabulary(USUAL, tmp_path / "usual")


BESIDE: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"config.json": {"eos_token_id": 301}}, "</s>"),
    ({"config.json": {"eos_token_id": [97, 301, 302]}}, "</s>"),  # 97 is an ordinary token
    ({"generation_config.json": {"eos_token_id": 301}}, "</s>"),
    ({"tokenizer_config.json": {"eos_token": "</s>"}}, "</s>"),
    ({"tokenizer_config.json": {"eos_token": {"content": "</s>", "lstrip": False}}}, "</s>"),
    # The answers of a chat model end otherwise than texts, as in Llama 3.1.
    ({"config.json": {"eos_token_id": [301, 302]}, "tokenizer_config.json": {"eos_token": "<|turn|>"}}, "</s>"),
    ({"tokenizer_config.json": {"eos_token": "</s>"}, "generation_config.json": {"eos_token_id": 302}}, "</s>"),
    ({"config.json": {"eos_token_id": 2}, "tokenizer_config.json": {"eos_token": "</s>"}}, "</s>"),  # a class's default
    ({"config.json": {"eos_token_id": None}, "tokenizer_config.json": {"eos_token": None}}, None),
    ({"config.json": {"eos_token_id": True}, "tokenizer_config.json": {"eos_token": ["</s>"]}}, None),
    ({"config.json": {"eos_token_id": "301"}, "tokenizer_config.json": {"eos_token": {"content": 301}}}, None),
    ({"tokenizer_config.json": {"eos_token": "<unknown>"}}, None),
]


@pytest.mark.parametrize(("beside", "end"), BESIDE)
def test_files_beside_a_tokenizer_json(beside: dict[str, Any], end: str | None, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(hugging_face(PLAIN))
    for name, content in beside.items():
        (tmp_path / name).write_text(json.dumps(content))
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_vocabulary(source).end == end
    (tmp_path / "tokenizer.json").write_bytes(hugging_face(USUAL))
    assert load_vocabulary(tmp_path).ending == "<|endoftext|>", "which goes first, as in Qwen's chat models"


def test_files_beside_those_of_gpt2(tmp_path: Path) -> None:
    ids = {letter: number for number, letter in enumerate(bpe.formats.LETTERS.values())} | {"</s>": 256}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "config.json").write_text('{"eos_token_id": 256}')
    assert load_vocabulary(tmp_path).ending == "</s>"


def test_a_damaged_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(hugging_face(PLAIN))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        load_vocabulary(tmp_path)


def test_import_by_command(tmp_path: Path) -> None:
    source = tmp_path / "tokenizer.json"
    source.write_bytes(hugging_face(PLAIN))
    wrong = command("import", source, "--end-of-text", "<x>", "-o", tmp_path / "t")
    line = f"bpe: --end-of-text <x>: {source} has no such special token, only <s>, </s>, <|turn|>\n"
    assert (wrong.exit_code, wrong.stderr, (tmp_path / "t").exists()) == (2, line, False)
    assert command("import", source, "-o", tmp_path / "t").exit_code == 0
    assert load_vocabulary(tmp_path / "t").ending is None
    assert command("import", source, "--end-of-text", "</s>", "-o", tmp_path / "t").exit_code == 0
    assert load_vocabulary(tmp_path / "t").ending == "</s>"
    assert "already there" in command("import", source, "-o", tmp_path / "t").stderr
    other = command("import", source, "--end-of-text", "<s>", "-o", tmp_path / "t")
    assert (other.exit_code, "with the end of text </s>" in other.stderr) == (1, True)
    assert command("import", tmp_path / "t", "--end-of-text", "<s>", "-o", tmp_path / "u").exit_code == 0
    shown = command("inspect", tmp_path / "u", "--json")
    assert json.loads(shown.stdout)["end_of_text"] == "<s>"


def test_train_by_command(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("low lower lowest\n" * 9)
    size = ["--vocab-size", 262]
    for name, options, end, special in [
        ("alone", ["--end-of-text", "<|bos|>"], "<|bos|>", ["<|bos|>"]),
        ("among", ["--special", "<a>", "--special", "<b>", "--end-of-text", "<b>"], "<b>", ["<a>", "<b>"]),
    ]:
        made = command("train", tmp_path / "a.txt", *size, *options, "-o", tmp_path / name, "--json")
        assert (made.exit_code, json.loads(made.stdout)["end_of_text"]) == (0, end), made.output
        vocabulary = load_vocabulary(tmp_path / name)
        assert (vocabulary.ending, list(vocabulary.special_tokens)) == (end, special)
    wrong = command(
        "train", tmp_path / "a.txt", *size, "--special", "<a>", "--end-of-text", "<b>", "-o", tmp_path / "x"
    )
    assert (wrong.exit_code, "--end-of-text <b>: should be one of the names of --special" in wrong.stderr) == (2, True)
    both = ["--special", "<a>", "--special", "<b>", "--end-of-text", "<a>"]
    before = command("train", tmp_path / "a.txt", *size, *both, "-o", tmp_path / "among")
    assert (before.exit_code, "holds another tokenizer" in before.stderr) == (1, True)


def test_from_python(tmp_path: Path) -> None:
    trained = bpe.train_tokenizer(["low lower"], 260, special_tokens=["<a>", "<b>"], end_of_text="<b>")
    assert trained.eot_token == trained.special_tokens["<b>"]
    with pytest.raises(ValueError, match=r"end_of_text = '<c>': should be one of special_tokens, \['<a>'\]"):
        bpe.train_tokenizer(["low lower"], 260, special_tokens=["<a>"], end_of_text="<c>")
    (tmp_path / "tokenizer.json").write_bytes(hugging_face(PLAIN))
    imported = bpe.import_tokenizer(tmp_path / "tokenizer.json", tmp_path / "t", end_of_text="</s>")
    assert imported.eot_token == bpe.Tokenizer.load(tmp_path / "t").eot_token == 301


def test_llama_3(tmp_path: Path) -> None:
    source = case("no-endoftext") / "Llama3-tiny/tokenizer.json"
    assert command("import", source, "-o", tmp_path / "t").exit_code == 0
    vocabulary = load_vocabulary(tmp_path / "t")
    assert (vocabulary.ending, vocabulary.end_of_text) == ("<|end_of_text|>", 502)
