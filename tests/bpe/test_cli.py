"""The `bpe` command as its user sees it: what it prints where, and its exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
from click.testing import CliRunner, Result

from bpe.cli import main
from bpe.encode import Encoder
from bpe.patterns import REGEX
from bpe.train import train
from bpe.vocabulary import load_vocabulary

DOCUMENTS = [
    "It's the first text.\nIt's short.",
    "The second text is the last text.\n\n",
    "the the the",
    "Whose words, then, would count?",
] * 20


def bpe(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def write_parquet(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts}), path)
    return path


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    source = write_parquet(tmp_path / "source.parquet", DOCUMENTS)
    assert bpe("train", source, "--vocab-size", 300, "-o", tmp_path / "tokenizer").exit_code == 0
    return tmp_path / "tokenizer"


def test_train_summary_again_and_overwrite(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "a.parquet", DOCUMENTS)
    command = ["train", source, "-o", tmp_path / "t", "--json", "--vocab-size"]
    first = bpe(*command, 300)
    expected = train(DOCUMENTS, 300)
    assert json.loads(first.stdout)["hash"] == expected.hash == load_vocabulary(tmp_path / "t").hash
    assert "300 ids in" in first.stderr
    again = bpe(*command, 300)
    assert (again.exit_code, json.loads(again.stdout)["written"]) == (0, False)
    assert "already there, nothing to do" in again.stderr
    other = bpe(*command, 290)
    assert (other.exit_code, other.stdout) == (1, "")
    assert "--overwrite" in other.stderr
    assert bpe(*command, 290, "--overwrite").exit_code == 0
    assert load_vocabulary(tmp_path / "t").size == 290


def test_train_says_when_pairs_run_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab ab")
    result = bpe("train", tmp_path / "a.txt", "--vocab-size", 400, "-o", tmp_path / "t")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the text ran out of pairs: 259 ids instead of 400" in result.stderr


def test_every_kind_of_source(tmp_path: Path) -> None:
    expected = train(DOCUMENTS, 300).hash
    lines = "".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    write_parquet(tmp_path / "folder/1.parquet", DOCUMENTS[30:])
    write_parquet(tmp_path / "folder/0.parquet", DOCUMENTS[:30])
    write_parquet(tmp_path / "dataset/data/x-abc.parquet", DOCUMENTS)
    write_parquet(tmp_path / "dataset/data/left-behind.parquet", ["not named by any record"] * 99)
    write_parquet(tmp_path / "dataset/data/dropped.parquet", ["dropped"] * 99)
    outputs = [
        {"path": "data/x-abc.parquet", "kind": "documents"},
        {"path": "data/dropped.parquet", "kind": "dropped"},
    ]
    (tmp_path / "dataset/_units").mkdir()
    (tmp_path / "dataset/_units/u0.json").write_text(json.dumps({"outputs": outputs}))
    for source in ("a.jsonl", "a.jsonl.gz", "folder", "dataset"):
        output = tmp_path / f"t-{source}"
        assert bpe("train", tmp_path / source, "--vocab-size", 300, "-o", output).exit_code == 0, source
        assert load_vocabulary(output).hash == expected, source


def test_text_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting a file at ends of lines leaves the pretokens as they are."""
    text = "\n".join(DOCUMENTS) + "end"
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr("bpe.sources.LINE_BYTES", 50)
    for name in ("a.txt", "a.txt.gz"):
        assert bpe("train", tmp_path / name, "--vocab-size", 300, "-o", tmp_path / f"t{name}").exit_code == 0
        assert load_vocabulary(tmp_path / f"t{name}").hash == train([text], 300).hash


def test_encode_decode(tokenizer: Path, tmp_path: Path) -> None:
    text = "It's the text – naïve\n"
    (tmp_path / "in.txt").write_bytes(text.encode())
    from_file, from_pipe = (
        bpe("encode", "-t", tokenizer, tmp_path / "in.txt"),
        bpe("encode", "-t", tokenizer, stdin=text),
    )
    assert from_file.stdout == from_pipe.stdout
    assert [int(word) for word in from_pipe.stdout.split()] == Encoder(load_vocabulary(tokenizer)).encode(text).tolist()
    assert bpe("decode", "-t", tokenizer, stdin=from_pipe.stdout).stdout_bytes == text.encode()
    assert bpe("decode", "-t", tokenizer, stdin=bpe("encode", "-t", tokenizer, stdin="").stdout).stdout_bytes == b""


def test_inspect(tokenizer: Path) -> None:
    vocabulary = load_vocabulary(tokenizer)
    shown = bpe("inspect", tokenizer).stdout
    assert vocabulary.hash in shown
    facts = json.loads(bpe("inspect", tokenizer, "--json").stdout)
    assert (facts["size"], facts["pattern"], facts["special_tokens"]) == (300, "cl100k", {"<|endoftext|>": 299})
    assert len(facts["longest_tokens"][0]) == max(map(len, vocabulary.tokens))
    tokens = json.loads(bpe("inspect", tokenizer, "the texté", "--json").stdout)["tokens"]
    assert [token["id"] for token in tokens] == Encoder(vocabulary).encode("the texté").tolist()
    assert "' text'" in bpe("inspect", tokenizer, "the text").stdout


def test_export(tokenizer: Path, tmp_path: Path) -> None:
    assert bpe("export", tokenizer, "-o", tmp_path / "x.tiktoken").exit_code == 0
    exported, original = load_vocabulary(tmp_path / "x.tiktoken", "cl100k"), load_vocabulary(tokenizer)
    assert exported == original
    ranks = {token: rank for rank, token in enumerate(original.tokens)}
    theirs = tiktoken.Encoding("x", pat_str=REGEX["cl100k"], mergeable_ranks=ranks, special_tokens={})
    assert theirs.encode_ordinary(DOCUMENTS[0]) == Encoder(original).encode(DOCUMENTS[0]).tolist()
    assert bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json").exit_code == 0
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "BPE"
    assert "nothing to do" in bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json").stderr
    refused = bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json", "--format", "tiktoken")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr


def test_failures_are_one_line(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "bad.csv").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "dataset/_units").mkdir(parents=True)
    (tmp_path / "dataset/_units/u.json").write_text('{"outputs": [{"path": "data/gone.parquet", "kind": "documents"}]}')
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "body.parquet")
    expected = {
        "missing": "no such file or folder",
        "empty.txt": "there is no text to train on",
        "bad.jsonl": "bad.jsonl, line 2: no JSON object with 'text'",
        "bad.parquet": "cannot be read as Parquet",
        "bad.csv": "unknown kind of file",
        "body.parquet": "no column 'text', only body",
        "nothing": r"no *.parquet in this folder",
        "dataset": "gone.parquet: named by u.json but not there",
    }
    results = {name: bpe("train", tmp_path / name, "-o", tmp_path / "out") for name in expected}
    results["encode"] = bpe("encode", "-t", tokenizer, stdin=b"\xff")
    results["decode"] = bpe("decode", "-t", tokenizer, stdin="1 two")
    results["id"] = bpe("decode", "-t", tokenizer, stdin="300")
    results["tokenizer"] = bpe("inspect", tmp_path / "none")
    expected |= {
        "encode": "not UTF-8 at byte 0",
        "decode": "whole numbers",
        "id": "token id 300",
        "tokenizer": "no such",
    }
    for name, result in results.items():
        assert (result.exit_code, result.stdout) == (1, ""), name
        assert expected[name] in result.stderr, result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("bpe: ")


def test_usage_and_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bpe("train").exit_code == 2
    assert bpe("train", tmp_path, "-o", "x", "--pattern", "llama").exit_code == 2
    for command in ("train", "encode", "decode", "inspect", "export"):
        assert "Example" in bpe(command, "--help").stdout
    assert bpe("--version").stdout.startswith("bpe, version ")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bpe.train.train", interrupted)
    result = bpe("train", write_parquet(tmp_path / "a.parquet", ["a"]), "-o", tmp_path / "t")
    assert result.exit_code == 130
    assert not (tmp_path / "t").exists()
