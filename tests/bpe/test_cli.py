"""The `bpe` command as its user sees it: what it prints where, and its exit codes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
from click.testing import CliRunner, Result

from bpe.cli import COMMANDS, main
from bpe.encode import Encoder
from bpe.files import load_vocabulary
from bpe.patterns import REGEX
from bpe.sources import read_texts
from bpe.train import train

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


def test_another_vocabulary_is_refused_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, small = write_parquet(tmp_path / "a.parquet", DOCUMENTS), tmp_path / "small.txt"
    small.write_text("ab ab")
    command = ["train", source, "-o", tmp_path / "t", "--vocab-size"]
    assert bpe(*command, 300).exit_code == 0
    assert bpe("train", small, "-o", tmp_path / "few").exit_code == 0

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it trains")

    with monkeypatch.context() as patched:
        patched.setattr("bpe.train.train", never)
        others = [
            [*command, 290],
            [*command, 310],
            [*command, 300, "--pattern", "gpt2"],
            [*command, 300, "--special", "x"],
        ]
        others += [["train", source, "-o", tmp_path / "few"]]
        for other in others:
            result = bpe(*other)
            assert (result.exit_code, result.stdout) == (1, "")
            assert "holds another tokenizer" in result.stderr
            assert result.stderr.endswith("(--overwrite)\n")
        (tmp_path / "t/vocab.json").write_text("{}")
        assert "holds another tokenizer (damaged)" in bpe(*command, 300).stderr
        file = bpe("train", source, "-o", small)
        assert (file.exit_code, file.stderr) == (
            1,
            f"bpe: {small}: Not a directory; a file is where a folder should be; check the path\n",
        )
    again = bpe("train", small, "-o", tmp_path / "few")
    assert again.exit_code == 0
    assert "holds a tokenizer already" in again.stderr
    assert "already there, nothing to do" in again.stderr


def test_training_on_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße aus Köln\n".encode("latin-1") * 9)
    command = ["train", tmp_path / "a.txt", "--vocab-size", 280, "-o", tmp_path / "t"]
    refused = bpe(*command)
    assert (refused.exit_code, (tmp_path / "t").exists()) == (1, False)
    assert "a.txt: not UTF-8 at byte 2; convert it" in refused.stderr
    assert bpe(*command, "--errors", "replace").exit_code == 0
    compare = ["compare", tmp_path / "t", "--data", tmp_path / "a.txt"]
    assert "not UTF-8 at byte 2" in bpe(*compare).stderr
    assert bpe(*compare, "--errors", "replace").exit_code == 0


def test_the_input_is_no_output(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.")
    for arguments in (
        ["encode", "-t", tokenizer, "--file", tmp_path / "a.txt", "-o", tmp_path / "a.txt"],
        ["encode", "-t", tokenizer, tmp_path / "a.txt", "-o", tmp_path / "a.txt"],
        ["inspect", tokenizer, "--file", tmp_path / "a.txt", "--html", tmp_path / "a.txt"],
        ["train", tmp_path, "-o", tmp_path],
    ):
        result = bpe(*arguments)
        assert (result.exit_code, result.stderr) == (
            2,
            f"bpe: {arguments[-1]}: is the input too; name another output\n",
        )
    assert (tmp_path / "a.txt").read_text() == "Some text."


def test_ids_that_are_none(tokenizer: Path) -> None:
    result = bpe("decode", "-t", tokenizer, "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "bpe: x: neither ids nor the name of a file; give whole numbers, or a file\n"


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
    monkeypatch.setattr("bpe.sources.RUN_BYTES", 50)
    for name in ("a.txt", "a.txt.gz"):
        assert bpe("train", tmp_path / name, "--vocab-size", 300, "-o", tmp_path / f"t{name}").exit_code == 0
        assert load_vocabulary(tmp_path / f"t{name}").hash == train([text], 300).hash


def test_train_takes_texts_and_rules_as_asked(tmp_path: Path) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": DOCUMENTS, "text": ["nothing"] * len(DOCUMENTS)}), source)
    texts = list(read_texts([source], "body", limit=1000, sample=0.5, seed=3))
    pattern = r"\p{L}+|\P{L}"
    expected = train(texts, 280, pattern, ("<|a|>", "<|b|>"), ties="hf", min_count=2)
    options = ["--pattern", pattern, "--special", "<|a|>", "--special", "<|b|>", "--ties", "hf", "--min-count", 2]
    options += ["--column", "body", "--limit", "1kB", "--sample", 0.5, "--seed", 3, "--threads", 2, "--memory", "1GB"]
    result = bpe("train", source, "--vocab-size", 280, "-o", tmp_path / "t", *options)
    assert result.exit_code == 0, result.stderr
    assert load_vocabulary(tmp_path / "t") == expected
    renamed = bpe("train", source, "--vocab-size", 257, "--special-token", "<|c|>", "-o", tmp_path / "old")
    assert renamed.exit_code == 0
    assert load_vocabulary(tmp_path / "old").special_tokens == {"<|c|>": 256}


def test_encode_text_file_and_pipe(tokenizer: Path, tmp_path: Path) -> None:
    text = "It's the text – naïve\n"
    expected = Encoder(load_vocabulary(tokenizer)).encode(text).tolist()
    file = tmp_path / "in.txt"
    file.write_bytes(text.encode())
    encode = ["encode", "-t", tokenizer]
    said = [bpe(*encode, text), bpe(*encode, "--file", file), bpe(*encode, file)]
    said += [bpe(*encode, stdin=text), bpe(*encode, "-", stdin=text), bpe(*encode, "--file", "-", stdin=text)]
    for result in said:
        assert [int(word) for word in result.stdout.split()] == expected
    assert [result.stderr for result in said] == ["", "", f"reading the file {file}\n", "", "", ""]
    assert bpe(*encode, "two", "words").stdout == bpe(*encode, "two words").stdout
    assert "taken as text" in bpe(*encode, "missing.txt").stderr
    assert bpe(*encode, text, "--file", file).exit_code == 2


def test_encode_to_a_file_and_back(tokenizer: Path, testdata: Path, tmp_path: Path) -> None:
    cl100k = testdata / "tokenizers/cl100k_base.tiktoken"
    for path, kind in ((tokenizer, "uint16"), (cl100k, "uint32")):
        expected = Encoder(load_vocabulary(path)).encode(DOCUMENTS[0])
        for ending in ("npy", "bin", "txt"):
            output = tmp_path / f"ids.{ending}"
            result = bpe("encode", "-t", path, DOCUMENTS[0], "-o", output)
            assert (result.exit_code, result.stdout) == (0, "")
            assert bpe("decode", "-t", path, output).stdout == DOCUMENTS[0]
            assert bpe("decode", "-t", path, "--file", output).stdout == DOCUMENTS[0]
        array = np.load(tmp_path / "ids.npy")
        assert (array.dtype, array.tolist()) == (kind, expected.tolist())
        assert np.fromfile(tmp_path / "ids.bin", f"<{array.dtype.str[1:]}").tolist() == expected.tolist()
    refused = bpe("encode", "-t", tokenizer, "a", "-o", tmp_path / "ids.csv")
    assert (refused.exit_code, "end in .npy, .bin or .txt" in refused.stderr) == (2, True)


def test_decode_ids_as_they_are_pasted(tokenizer: Path) -> None:
    ids = Encoder(load_vocabulary(tokenizer)).encode("the text").tolist()
    for words in (map(str, ids), [str(ids)], [" ".join(map(str, ids))], [",".join(map(str, ids))]):
        assert bpe("decode", "-t", tokenizer, *words).stdout == "the text"
    assert bpe("decode", "-t", tokenizer, stdin="\n".join(map(str, ids))).stdout == "the text"
    assert bpe("decode", "-t", tokenizer, stdin="").stdout == ""
    assert bpe("decode", "-t", tokenizer, 299).stdout == "<|endoftext|>"


def test_special_tokens_are_text_unless_allowed(tokenizer: Path) -> None:
    text = "a<|endoftext|>b"
    encode = ["encode", "-t", tokenizer, text]
    assert "299" not in bpe(*encode).stdout.split()
    for name in ("all", "<|endoftext|>"):
        assert bpe(*encode, "--allow-special", name).stdout.split()[1] == "299"
    unknown = bpe(*encode, "--allow-special", "<|fim|>")
    assert (unknown.exit_code, "no such token, only <|endoftext|>" in unknown.stderr) == (1, True)


def test_text_that_is_not_utf8(tokenizer: Path) -> None:
    assert bpe("encode", "-t", tokenizer, stdin=b"a\xff").exit_code == 1
    replaced = bpe("encode", "-t", tokenizer, "--errors", "replace", stdin=b"a\xff").stdout
    assert replaced == bpe("encode", "-t", tokenizer, "a\ufffd").stdout
    assert "the text: not UTF-8 at byte 1" in bpe("encode", "-t", tokenizer, "a\udcff").stderr


def test_inspect(tokenizer: Path, tmp_path: Path) -> None:
    vocabulary = load_vocabulary(tokenizer)
    shown = bpe("inspect", tokenizer).stdout
    assert vocabulary.hash in shown
    facts = json.loads(bpe("inspect", tokenizer, "--json").stdout)
    assert (facts["size"], facts["pattern"], facts["special_tokens"]) == (300, "cl100k", {"<|endoftext|>": 299})
    assert len(facts["longest_tokens"][0]) == max(map(len, vocabulary.tokens))
    tokens = json.loads(bpe("inspect", tokenizer, "the texté", "--json").stdout)["tokens"]
    assert [token["id"] for token in tokens] == Encoder(vocabulary).encode("the texté").tolist()
    assert "' text'" in bpe("inspect", tokenizer, "the text").stdout
    (tmp_path / "in.txt").write_text("the text")
    assert (
        bpe("inspect", tokenizer, "--file", tmp_path / "in.txt").stdout == bpe("inspect", tokenizer, "the text").stdout
    )


def test_inspect_several_tokenizers(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab ab")
    other = tmp_path / "other"
    assert bpe("train", tmp_path / "a.txt", "--vocab-size", 258, "-o", other).exit_code == 0
    counts = {str(path): len(Encoder(load_vocabulary(path)).encode("the text")) for path in (tokenizer, other)}
    shown = json.loads(bpe("inspect", tokenizer, other, "the text", "--json").stdout)["tokenizers"]
    assert {one["tokenizer"]: one["count"] for one in shown} == counts
    for path, count in counts.items():
        assert f"# {path}: {count} tokens\n" in bpe("inspect", tokenizer, other, "the text").stdout
    page = tmp_path / "page.html"
    result = bpe("inspect", tokenizer, other, "<b>the text</b>", "--html", page)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "<h2>tokenizer</h2>" in page.read_text()
    assert "<b>the" not in page.read_text()
    assert bpe("inspect", tokenizer, "--html", page).exit_code == 2
    assert "goes in quotes" in bpe("inspect", tokenizer, "the", "text").stderr
    assert "is taken as text" in bpe("inspect", tokenizer, other).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_inspect_is_in_colour_on_a_terminal_alone(tokenizer: Path) -> None:
    import pty

    for no_color, coloured in (("", True), ("1", False)):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "bpe", "inspect", str(tokenizer), "the text"]
        environment = os.environ | {"NO_COLOR": no_color, "TERM": "xterm"}
        subprocess.run(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment, check=True, timeout=100)
        shown = os.read(ours, 65536).decode()
        assert ("\x1b[38;5;16;48;5;" in shown) == coloured
        os.close(ours)
        os.close(theirs)
    assert "\x1b" not in bpe("inspect", tokenizer, "the text").stdout


def test_export_to_a_file(tokenizer: Path, tmp_path: Path) -> None:
    assert bpe("export", tokenizer, "-o", tmp_path / "x.tiktoken").exit_code == 0
    exported, original = load_vocabulary(tmp_path / "x.tiktoken", "cl100k"), load_vocabulary(tokenizer)
    assert (exported.tokens, exported.special_tokens) == (original.tokens, original.special_tokens)
    ranks = {token: rank for rank, token in enumerate(original.tokens)}
    theirs = tiktoken.Encoding("x", pat_str=REGEX["cl100k"], mergeable_ranks=ranks, special_tokens={})
    assert theirs.encode_ordinary(DOCUMENTS[0]) == Encoder(original).encode(DOCUMENTS[0]).tolist()
    assert bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json").exit_code == 0
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "BPE"
    assert "nothing to do" in bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json").stderr
    refused = bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json", "--format", "tiktoken")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert bpe("export", tokenizer, "-o", tmp_path / "somewhere").exit_code == 2
    again = bpe("export", tokenizer, "-o", tmp_path / "tokenizer.json", "--format", "tiktoken", "--overwrite")
    assert again.exit_code == 0


@pytest.mark.parametrize("to", ["hf", "gpt2", "tiktoken"])
def test_export_and_import(to: str, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "source.parquet", DOCUMENTS)
    original, exported, imported = tmp_path / "tokenizer", tmp_path / to, tmp_path / "imported"
    assert bpe("train", source, "--pattern", "gpt2", "--vocab-size", 300, "-o", original).exit_code == 0
    result = bpe("export", original, "--to", to, "-o", exported)
    assert result.exit_code == 0, result.stderr
    names = {"hf": ["tokenizer.json"], "gpt2": ["merges.txt", "vocab.json"], "tiktoken": ["ranks.tiktoken"]}
    assert sorted(file.name for file in exported.iterdir()) == names[to]
    exported = exported if to == "gpt2" else exported / names[to][0]
    pattern = ["--pattern", "gpt2"] if to == "tiktoken" else []
    result = bpe("import", exported, "-o", imported, *pattern)
    assert result.exit_code == 0, result.stderr
    for text in DOCUMENTS[:4]:
        ids = [bpe("encode", "-t", path, *rule, text).stdout for path, rule in ((original, []), (exported, pattern))]
        assert {bpe("encode", "-t", imported, text).stdout} == set(ids)
    assert "nothing to do" in bpe("import", exported, "-o", imported, *pattern).stderr
    refused = bpe("train", source, "--vocab-size", 280, "-o", imported)
    assert (refused.exit_code, "--overwrite" in refused.stderr) == (1, True)


def test_compare(tokenizer: Path, tmp_path: Path) -> None:
    other, source = tmp_path / "other", tmp_path / "data.jsonl"
    rows = [{"text": text, "language": f"l{len(text) % 2}"} for text in DOCUMENTS[:4]]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert bpe("train", source, "--vocab-size", 270, "-o", other).exit_code == 0
    compare = ["compare", tokenizer, other, "--data", source]
    found = json.loads(bpe(*compare, "--json").stdout)
    assert [one["name"] for one in found["tokenizers"]] == ["tokenizer", "other"]
    assert found["all"]["tokens"] == [
        sum(len(Encoder(load_vocabulary(path)).encode(text)) for text in DOCUMENTS[:4]) for path in (tokenizer, other)
    ]
    assert [row["language"] for row in found["groups"]] == ["l1", "l0"]
    assert json.loads(bpe(*compare, "--json", "--limit", "10B").stdout)["all"]["documents"] == 1
    shown = bpe(*compare).stdout
    assert "A and B share" in shown
    assert "A never used" in shown
    assert bpe(*compare, "--by", "source").stderr.endswith("no JSON object with 'source', only 'text', 'language'\n")
    assert bpe(*compare, "--limit", "much").exit_code == 2


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
    results["gone"] = bpe("decode", "-t", tokenizer, "gone.npy")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    results["bad.npy"] = bpe("decode", "-t", tokenizer, tmp_path / "bad.npy")
    np.save(tmp_path / "float.npy", np.zeros(3))
    results["float.npy"] = bpe("decode", "-t", tokenizer, tmp_path / "float.npy")
    results["compare"] = bpe("compare", tokenizer, "--data", tmp_path / "empty.txt")
    results["tokenizer"] = bpe("inspect", tmp_path / "none")
    expected |= {
        "encode": "standard input: not UTF-8 at byte 0",
        "decode": "whole numbers",
        "id": "token id 300",
        "gone": "gone.npy",
        "bad.npy": "holds no ids",
        "float.npy": "float64 of shape (3,)",
        "compare": "no text to compare on",
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
    assert bpe("train", tmp_path, "-o", "x", "--limit", "ten").exit_code == 2
    for command in COMMANDS:
        assert "Example" in bpe(command, "--help").stdout
        assert bpe(command).exit_code == 2
    assert bpe("--version").stdout.startswith("bpe, version ")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bpe.train.train", interrupted)
    result = bpe("train", write_parquet(tmp_path / "a.parquet", ["a"]), "-o", tmp_path / "t")
    assert result.exit_code == 130
    assert not (tmp_path / "t").exists()


def test_help_loads_nothing_heavy() -> None:
    script = "import sys, bpe.cli; assert not {'numpy', 'numba', 'pyarrow', 'rich'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)


def test_a_reader_that_leaves_early_sees_no_traceback(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the text " * 100_000)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bpe", "encode", "-t", str(tokenizer), "--file", str(tmp_path / "in.txt")]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=100)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, b"")


def test_numba_brings_nothing_that_the_command_does_not_need(tokenizer: Path) -> None:
    script = "import sys, bpe.cli; bpe.cli.main(sys.argv[1:], standalone_mode=False); "
    script += "assert 'numba' in sys.modules; assert not {'scipy', 'awkward'} & set(sys.modules)"
    command = [sys.executable, "-c", script, "encode", "-t", str(tokenizer), "the"]
    subprocess.run(command, check=True, timeout=100, stdout=subprocess.DEVNULL)


def test_nothing_is_written_from_damaged_files(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps({"text": DOCUMENTS[0]}).encode() * 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    result = bpe("train", tmp_path / "a.jsonl.gz", "--vocab-size", 300, "-o", tmp_path / "t")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert f"{tmp_path / 'a.jsonl.gz'}: damaged compressed data" in result.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl.gz"]


STOPS = [
    pytest.param(number, id=number.name, marks=pytest.mark.skipif(sys.platform == "win32", reason="no such signals"))
    for number in (signal.SIGINT, signal.SIGTERM)
]


@pytest.mark.parametrize("stop", STOPS)
def test_training_that_is_stopped_leaves_nothing_behind(tmp_path: Path, stop: signal.Signals) -> None:
    """While counts lie in temporary files."""
    numbers = np.random.default_rng(0).integers(0, 1 << 40, 1_500_000)
    (tmp_path / "a.txt").write_text("\n".join(map(str, numbers.tolist())))
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "bpe", "train", "a.txt", "--memory", "1MB", "--threads", "2", "--pattern", "gpt2"]
    process = subprocess.Popen(
        [*command, "-o", "t"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list((tmp_path / "temporary").rglob("*/*")):
        time.sleep(0.01)
    process.send_signal(stop)
    try:
        _, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert (errors.splitlines()[-1], process.returncode) == ("bpe: interrupted", 130)  # before it, it may compile
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a.txt", "temporary"]


@pytest.mark.parametrize("stop", STOPS)
def test_encoding_that_is_stopped_leaves_nothing_behind(tokenizer: Path, tmp_path: Path, stop: signal.Signals) -> None:
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "bpe", "encode", "-t", str(tokenizer), "-", "-o", str(tmp_path / "out/ids.npy")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b"the " * 1_000_000)  # more than a pipe holds: once it is written, the command reads
        process.stdin.flush()
        time.sleep(0.5)  # and waits for more
        process.send_signal(stop)
        process.stdin.close()  # a signal between two reads is only seen after the second
        try:
            assert process.wait(timeout=100) == 130
        finally:
            process.kill()
        assert process.stderr.read().splitlines()[-1] == b"bpe: interrupted"
    assert not list((tmp_path / "out").iterdir())
