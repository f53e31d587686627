"""Token shards of a vocabulary whose end of text is not called `<|endoftext|>`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from bpe.export import hugging_face
from bpe.files import load_vocabulary, save_vocabulary
from bpe.vocabulary import Vocabulary
from corpus.cli import main
from corpus.run.plan import Source
from corpus.run.recipe import describe, make_step
from corpus.store.shards import Dataset
from corpus.tokens.passes import tokenizer_pass, tokens_pass
from corpus.tokens.vocabulary import Config
from tests.support.cases import case
from tests.support.command import commit_documents

BYTES = tuple(bytes([byte]) for byte in range(256))
PLAIN = Vocabulary(BYTES, "gpt2", {"<s>": 300, "</s>": 301})
USUAL = Vocabulary(BYTES, "gpt2", {"<|endoftext|>": 256, "</s>": 257})
TEXTS = ["The ship came home to the old harbour at dawn.", "A second text </s>."]


def corpus(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def ends(folder: Path) -> set[bytes]:
    """The ids of end of text in the footers of a folder's shards."""
    shards = Dataset(folder).files("tokens")
    return {pq.read_metadata(folder / shard.path).metadata[b"end_of_text"] for shard in shards}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    commit_documents(tmp_path / "docs", TEXTS)
    return tmp_path / "docs"


def test_the_option(docs: Path, tmp_path: Path) -> None:
    save_vocabulary(PLAIN, tmp_path / "t")
    wrong = corpus("tokenize", docs, "-t", tmp_path / "t", "--end-of-text", "<x>", "-o", tmp_path / "tokens")
    line = f"corpus: --end-of-text: {tmp_path}/t: has no special token <x>, only <s>, </s>\n"
    assert (wrong.exit_code, wrong.stderr, (tmp_path / "tokens").exists()) == (2, line, False)
    none = corpus("tokenize", docs, "-t", tmp_path / "t", "-o", tmp_path / "tokens")
    fix = "only <s>, </s>: name the special token that ends a text (--end-of-text NAME)"
    assert (none.exit_code, fix in none.stderr) == (1, True)
    assert not (tmp_path / "tokens").exists()
    named = ["tokenize", docs, "-t", tmp_path / "t", "-o", tmp_path / "tokens", "--end-of-text"]
    made = corpus(*named, "</s>")
    assert made.exit_code == 0, made.output
    assert ends(tmp_path / "tokens") == {b"301"}
    [shard] = Dataset(tmp_path / "tokens").files("tokens")
    ids = pq.read_table(tmp_path / "tokens" / shard.path)["tokens"].to_pylist()
    assert [bytes(tokens).decode() for tokens in ids] == TEXTS, "a name in a text is ordinary text"
    assert corpus(*named, "</s>").exit_code == 0
    other = corpus(*named, "<s>")
    assert (other.exit_code, "tokens.end_of_text" in other.stderr) == (1, True)


def test_the_end_of_the_vocabulary(docs: Path, tmp_path: Path) -> None:
    save_vocabulary(PLAIN.with_end("</s>"), tmp_path / "t")
    assert corpus("tokenize", docs, "-t", tmp_path / "t", "-o", tmp_path / "tokens").exit_code == 0
    assert ends(tmp_path / "tokens") == {b"301"}
    same = corpus("tokenize", docs, "-t", tmp_path / "t", "-o", tmp_path / "tokens", "--end-of-text", "</s>")
    assert same.exit_code == 0, "the end is what counts, wherever it is named"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/tokenizer.json").write_bytes(hugging_face(PLAIN))
    (tmp_path / "hf/tokenizer_config.json").write_text('{"eos_token": "<s>"}')
    assert corpus("tokenize", docs, "-t", tmp_path / "hf", "-o", tmp_path / "more").exit_code == 0
    assert ends(tmp_path / "more") == {b"300"}


def test_a_recipe_with_a_path(docs: Path, tmp_path: Path) -> None:
    save_vocabulary(USUAL, tmp_path / "t")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"[tokenizer]\npath = '{tmp_path}/t'\nend_of_text = '<x>'")
    wrong = corpus("run", recipe, "--input", docs, "-o", tmp_path / "out")
    assert (wrong.exit_code, "t: has no special token <x>, only <|endoftext|>, </s>" in wrong.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
    recipe.write_text(f"[tokenizer]\npath = '{tmp_path}/t'\nend_of_text = '</s>'")
    made = corpus("run", recipe, "--input", docs, "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    assert ends(tmp_path / "out/tokens") == {b"257"}


def test_a_recipe_that_trains(docs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[tokenizer]\nvocab_size = 270\nend_of_text = '<|bos|>'")
    made = corpus("run", recipe, "--input", docs, "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    vocabulary = load_vocabulary(tmp_path / "out/tokenizer")
    assert (vocabulary.ending, list(vocabulary.special_tokens)) == ("<|bos|>", ["<|bos|>"])
    assert ends(tmp_path / "out/tokens") == {str(vocabulary.end_of_text).encode()}


def test_outputs_from_before_the_setting_go_on(docs: Path, tmp_path: Path) -> None:
    """The usual end of text is not in what the config hashes are taken over."""
    save_vocabulary(USUAL, tmp_path / "t")
    for end in ("", "<|endoftext|>"):
        plan = tokens_pass(Source(dataset=str(docs)), ["u"], str(tmp_path / "t"), str(tmp_path / "tokens"), end)
        assert plan.config == {"order": ["tokens"], "tokens": {"tokenizer": USUAL.hash}}
    trained = tokenizer_pass(str(docs), Config(), str(tmp_path / "made")).config
    assert trained["tokenizer"].keys() == {"vocab_size", "pattern", "sample", "path"}
    named = tokenizer_pass(str(docs), Config(end_of_text="<a>"), str(tmp_path / "made")).config
    assert named == describe([make_step("tokenizer", {"end_of_text": "<a>"})])


def test_llama_3(docs: Path, tmp_path: Path) -> None:
    tokenizer = case("no-endoftext") / "Llama3-tiny"
    made = corpus("tokenize", docs, "-t", tokenizer, "--end-of-text", "<|end_of_text|>", "-o", tmp_path / "tokens")
    assert made.exit_code == 0, made.output
    assert ends(tmp_path / "tokens") == {b"502"}
