"""`import bpe` and its arguments: a mistake is an error that names the argument and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import bpe
from bpe import arguments

TEXTS = ["low low lower", "lowest"]
BYTES = tuple(bytes([byte]) for byte in range(256))
Call = Callable[[bpe.Tokenizer], object]

WRONG: list[tuple[Call, type[Exception], str]] = [
    (lambda tk: bpe.train_tokenizer("low", 300), TypeError, "texts is of type str: pass several texts"),
    (lambda tk: bpe.train_tokenizer([1], 300), TypeError, "texts holds a int: pass strings"),
    (lambda tk: bpe.train_tokenizer(pa.array([1]), 300), TypeError, "texts is of Arrow type int64"),
    (lambda tk: bpe.train_tokenizer(TEXTS, "300"), TypeError, "vocab_size = '300': should be a whole number"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 2**70), ValueError, "vocab_size = .*: should be at most 2097152"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, pattern=5), TypeError, "pattern is of type int: pass a str"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, memory="1GB"), TypeError, "memory = '1GB': should be a whole"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, threads=0), ValueError, "threads = 0: should be at least 1"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, special_tokens=[b"a"]), TypeError, r"special_tokens\[0\] is of type"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, special_tokens="a"), TypeError, "special_tokens is of type str"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, special_tokens=["\ud800"]), ValueError, "has a lone surrogate"),
    (lambda tk: bpe.train_tokenizer(TEXTS, 300, progress=5), TypeError, "progress is of type int: pass a function"),
    (lambda tk: bpe.compare_tokenizers({}, TEXTS), ValueError, "tokenizers is empty: pass a tokenizer"),
    (lambda tk: bpe.compare_tokenizers({"a": tk}, {"en": 5}), TypeError, r"texts\['en'\] is of type int"),
    (lambda tk: bpe.compare_tokenizers({"a": tk}, [None]), TypeError, "texts holds a NoneType"),
    (lambda tk: bpe.read_texts(None), TypeError, "sources is of type NoneType: pass a path"),
    (lambda tk: bpe.read_texts("a.txt", limit="1MB"), TypeError, "limit = '1MB': should be a whole number"),
    (lambda tk: bpe.read_texts("a.txt", sample="all"), TypeError, "sample = 'all': should be a number"),
    (lambda tk: bpe.read_texts("a.txt", seed=None), TypeError, "seed = None: should be a whole number"),
    (lambda tk: bpe.read_texts("a.txt", errors="ignore"), ValueError, "errors = 'ignore': should be one of strict"),
    (lambda tk: bpe.export_tokenizer(None, "a.json"), TypeError, "tokenizer is of type NoneType: pass a Tokenizer"),
    (lambda tk: bpe.export_tokenizer(tk, b"a.json"), TypeError, "output is of type bytes: pass a path"),
    (lambda tk: bpe.import_tokenizer("a.json", ""), ValueError, "output is empty: name a"),
    (lambda tk: bpe.Tokenizer.load(5), TypeError, "path is of type int: pass a path"),
    (lambda tk: bpe.Tokenizer(None), TypeError, "vocabulary is of type NoneType: pass a Vocabulary"),
    (lambda tk: bpe.Vocabulary(BYTES, "gpt2", None), TypeError, "special_tokens is of type NoneType: pass a dict"),
    (lambda tk: tk.save(None), TypeError, "folder is of type NoneType: pass a path"),
    (lambda tk: tk.encode(None), TypeError, "text is of type NoneType: pass a str"),
    (lambda tk: tk.encode_ordinary(b"low"), TypeError, "text is of type bytes: pass a str"),
    (lambda tk: tk.encode("low", allowed_special="<|end|>"), TypeError, "allowed_special = .*: should be 'all' or a"),
    (lambda tk: tk.encode_batch("low"), TypeError, "texts is of type str: pass a list of strings"),
    (lambda tk: tk.encode_batch([None]), TypeError, r"texts\[0\] is of type NoneType: pass a str"),
    (lambda tk: tk.encode_batch(TEXTS, threads=1.5), TypeError, "threads = 1.5: should be a whole number"),
    (lambda tk: tk.encode_iterable(None), TypeError, "texts is of type NoneType"),
    (lambda tk: tk.encode_arrow(["low"]), TypeError, "texts is of type list: pass an Arrow array"),
    (lambda tk: tk.encode_arrow(pa.array([1])), TypeError, "texts is of Arrow type int64: pass an array of strings"),
    (lambda tk: tk.decode([1.5]), TypeError, "ids holds 1.5: pass whole numbers"),
    (lambda tk: tk.decode(np.array([1.5])), TypeError, "ids holds 1.5: pass whole numbers"),
    (lambda tk: tk.decode(b"abc"), TypeError, "ids is of type bytes: pass whole numbers"),
    (lambda tk: tk.decode([1], errors="nope"), ValueError, "errors = 'nope': should be replace"),
    (lambda tk: tk.token_bytes("a"), TypeError, "token_id = 'a': should be a whole number"),
]


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    return bpe.train_tokenizer(TEXTS, 262, threads=1)


@pytest.mark.parametrize(("call", "kind", "words"), WRONG, ids=[words[:40] for _, _, words in WRONG])
def test_a_wrong_argument_is_named_with_its_fix(
    call: Call, kind: type[Exception], words: str, tokenizer: bpe.Tokenizer, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words) as raised:
        call(tokenizer)
    assert type(raised.value) is kind
    assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_no_folder(tokenizer: bpe.Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder is empty: name a"):
        tokenizer.save("")
    with pytest.raises(ValueError, match="output is empty: name a"):
        bpe.export_tokenizer(tokenizer, "", to="hf")
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_texts_and_ids(tokenizer: bpe.Tokenizer) -> None:
    texts = pa.array(TEXTS)
    for given in (texts, pa.chunked_array([texts]), texts.dictionary_encode(), texts.cast(pa.string_view())):
        assert bpe.train_tokenizer(given, np.int64(262), threads=1).vocabulary == tokenizer.vocabulary
        assert tokenizer.encode_batch(given, disallowed_special=()) == tokenizer.encode_batch(TEXTS)
        assert bpe.compare_tokenizers({"a": tokenizer}, {"en": given})["all"]["documents"] == 2
    ids = tokenizer.encode(TEXTS[0])
    for same in (
        np.array(ids),
        np.array(ids, np.uint16),
        pa.array(ids),
        iter(ids),
        [np.int64(number) for number in ids],
    ):
        assert tokenizer.decode(same) == TEXTS[0]


def test_flags_become_arguments_outside_of_quoted_commands() -> None:
    said = "lower --batch-tokens or choose another -o; see --lid-model, or `model pretrain -o run --lr 1`, x--y, a -one"
    expected = "lower batch_tokens or choose another output; see model, or `model pretrain -o run --lr 1`, x--y, a -one"
    assert arguments.as_arguments(said) == expected
    assert arguments.as_arguments("pip install --no-deps a") == "pip install --no-deps a"
    with pytest.raises(FileNotFoundError, match=r"^choose another output$"), arguments.without_flags():
        raise FileNotFoundError("choose another -o")


def test_an_output_that_is_the_input_is_found_behind_links_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for item in (tmp_path / "a", tmp_path / "link", f"{tmp_path}/a/", f"{tmp_path}/*", f"file://{tmp_path}/a"):
        with pytest.raises(ValueError, match="a: is the input too; name another output"):
            arguments.check_apart([item], str(tmp_path / "a"))
    with pytest.raises(ValueError, match="is the input too"):
        arguments.check_apart(["s3://bucket/a/"], "s3://bucket/a")
    arguments.check_apart([tmp_path / "a", "s3://bucket/a"], tmp_path / "b")
