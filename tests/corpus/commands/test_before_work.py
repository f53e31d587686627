"""What a command refuses before any work: outputs, tokenizers, recipes and amounts that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bpe.files import save_vocabulary
from bpe.vocabulary import Vocabulary
from corpus.cli import main
from tests.support.command import commit_documents

BYTES = tuple(bytes([byte]) for byte in range(256))
TEXTS = ["The ship came home to the old harbour at dawn.", "A second text."]


def corpus(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    """The one line that a command answers with."""
    result = corpus(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (code, "", 1), result.output
    return result.stderr.removeprefix("corpus: ").removesuffix("\n")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    commit_documents(tmp_path / "docs", TEXTS)
    return tmp_path / "docs"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("command", ["filter", "dedup", "scrub", "decontaminate", "tokenize", "mix", "run", "extract"])
@pytest.mark.parametrize("written", ["docs", "docs/", "link", "docs/../docs"])
def test_the_input_is_no_output(command: str, written: str, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs.parent)
    Path("link").symlink_to("docs")
    Path("mine.toml").write_text("[gopher_quality]")
    Path("evals.jsonl").write_text('{"text": "a b c"}')
    save_vocabulary(Vocabulary(BYTES, "gpt2", {"<|endoftext|>": 256}), "tokenizer")
    more: dict[str, list[object]] = {"decontaminate": ["--benchmarks", "evals.jsonl"], "tokenize": ["-t", "tokenizer"]}
    inputs = ["mine.toml", "--input", "do*"] if command == "run" else ["docs=1" if command == "mix" else "docs"]
    before = contents(docs)
    line = refused(command, *inputs, "-o", written, *more.get(command, []))
    assert line == f"{written.rstrip('/')}: is the input too; name another output"
    assert contents(docs) == before


def test_files_that_would_be_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_text("x")
    again = f"{tmp_path}/a.bin: is the input too; name another output"
    positive = ["--positive", tmp_path / "a.bin", "--negative", tmp_path]
    assert refused("classify", "train", *positive, "-o", tmp_path / "a.bin") == again
    assert refused("optout", tmp_path / "a.bin", "-o", tmp_path / "a.bin") == again


def test_an_output_that_is_no_folder(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = "Invalid value for '-o' / '--output': "
    assert refused("filter", docs, "-o", tmp_path / "file") == f"{wrong}{tmp_path}/file: is a file; name a folder"
    below = refused("filter", docs, "-o", tmp_path / "file/below")
    assert below == f"{wrong}{tmp_path}/file: Not a directory; a file is where a folder should be; check the path"
    assert refused("filter", docs, "-o", "") == f"{wrong}is empty; name a folder"


def test_a_tokenizer_that_cannot_tokenize(docs: Path, tmp_path: Path) -> None:
    nothing = refused("tokenize", docs, "-t", tmp_path / "nope", "-o", tmp_path / "tokens")
    assert nothing == f"-t {tmp_path}/nope: no such tokenizer; give a folder made by bpe train, or a file"
    save_vocabulary(Vocabulary(BYTES, "gpt2", {"<|end|>": 256}), tmp_path / "t")
    without = f"{tmp_path}/t: the vocabulary has no <|endoftext|>"
    assert refused("tokenize", docs, "-t", tmp_path / "t", "-o", tmp_path / "tokens", code=1).startswith(without)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"[gopher_quality]\n[tokenizer]\npath = '{tmp_path}/t'")
    assert refused("run", recipe, "--input", docs, "-o", tmp_path / "out", code=1).startswith(without)
    assert not (tmp_path / "tokens").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["x", "0", "-1", "nan", "inf", ""])
def test_amounts_that_are_none(value: str, docs: Path, tmp_path: Path) -> None:
    line = refused("mix", f"{docs}=1", "-o", tmp_path / "out", "--tokens", value)
    assert line == f"Invalid value for '--tokens': {value!r} should be a number of at least 1, as in 1000000 or 1e6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{}: names no stage, so nothing can run; add one, such as [extract]"),
        ("name = 'x'", "{}: names no stage, so nothing can run; add one, such as [extract]"),
        ("[[dedup]]", "{}:1: dedup: should be one table, [dedup], and neither a list nor [[dedup]]"),
        ("dedup = [1]", "{}:1: dedup: should be one table, [dedup], and neither a list nor [[dedup]]"),
        ("dedup = 1", "{}:1: dedup: no such stage or setting"),
        ("a = " + "[" * 100_000, "{}: not TOML: brackets are nested too deep"),
        (
            '[c4]\n[classifier]\nmodel = "mine.toml"\nkeep_top = "20%"\n[dedup]',
            "{}:2: [classifier] with keep_top should come after [dedup]",
        ),
    ],
)
def test_recipes_that_cannot_run(
    text: str, message: str, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(text)
    assert refused("run", recipe, "--input", docs, "-o", tmp_path / "out").startswith(message.format(recipe))
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_is_a_folder(docs: Path, tmp_path: Path) -> None:
    assert refused("run", docs, "--input", docs, "-o", tmp_path / "out") == (
        f"{docs}: is a folder; name the file of the recipe in it"
    )
