"""`Tokenizer` beside tiktoken's Encoding: special tokens in all places, batches, Arrow, decoding."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe import Tokenizer
from bpe.files import PUBLISHED
from bpe.vocabulary import Vocabulary
from tests.support.bpe_texts import Published, pieces, reference, texts

BYTES = tuple(bytes([byte]) for byte in range(256))
NAMES = ["<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>"]
# Names whole, broken and run together.
with_names = st.lists(
    st.one_of(pieces, st.sampled_from([*NAMES, "<|endoftext", "<|", "|>", "<", "endoftext|>", " <|endoftext|>\n"])),
    max_size=8,
).map("".join)
policies = st.one_of(st.just("all"), st.sets(st.sampled_from([*NAMES, "<|none|>", "the"])))


@pytest.fixture(scope="module")
def tokenizer(small: Vocabulary) -> Tokenizer:
    return Tokenizer(small)


@settings(max_examples=300)
@given(text=with_names, allowed=policies, disallowed=policies)
def test_special_tokens_are_allowed_and_disallowed_as_in_tiktoken(
    published: Published, text: str, allowed: str | set[str], disallowed: str | set[str]
) -> None:
    ours = Tokenizer(published.ours.vocabulary)
    ours.__dict__["_encoder"] = published.ours
    try:
        expected = published.tiktoken.encode(text, allowed_special=allowed, disallowed_special=disallowed)
    except ValueError:
        with pytest.raises(ValueError, match="text holds the special token"):
            ours.encode(text, allowed_special=allowed, disallowed_special=disallowed)
    else:
        assert ours.encode(text, allowed_special=allowed, disallowed_special=disallowed) == expected
        assert ours.decode(expected) == text
    assert ours.encode_ordinary(text) == published.tiktoken.encode_ordinary(text)


@settings(max_examples=200)
@given(rows=st.lists(with_names, max_size=4), allowed=policies)
def test_batches_are_each_text_alone(tokenizer: Tokenizer, rows: list[str], allowed: str | set[str]) -> None:
    expected = [tokenizer.encode(row, allowed_special=allowed, disallowed_special=()) for row in rows]
    for threads in (1, 2):
        got = tokenizer.encode_batch(rows, allowed_special=allowed, disallowed_special=(), threads=threads)
        assert got == expected
    assert tokenizer.decode_batch(expected) == rows


def test_the_error_names_the_token_the_place_and_the_ways_out(tokenizer: Tokenizer) -> None:
    message = (
        r"text holds the special token '<\|endoftext\|>' at character 3: pass allowed_special={'<\|endoftext\|>'} "
        r"for the token, or disallowed_special=\(\) to take its name for ordinary text"
    )
    with pytest.raises(ValueError, match=message):
        tokenizer.encode("é, <|endoftext|>")
    with pytest.raises(ValueError, match="at character 0"):
        tokenizer.encode_batch(["fine", "<|endoftext|>"])
    # A plain string may be disallowed too, and what is disallowed stays so if it is allowed as well.
    with pytest.raises(ValueError, match="the special token 'secret' at character 2"):
        tokenizer.encode("a secret", disallowed_special={"secret"})
    with pytest.raises(ValueError, match="character 1"):
        tokenizer.encode("a<|endoftext|>", allowed_special="all", disallowed_special=["<|endoftext|>"])


@settings(max_examples=300)
@given(text=st.lists(st.sampled_from(["<|a|>", "<|b|>", "<|c", "|>", "<|a", " x", "b|>"]), max_size=8).map("".join))
def test_overlapping_names(text: str) -> None:
    """`<|a|>` begins `<|a|><|b|>`: the longer is taken, where tiktoken takes either."""
    special = {"<|a|>": 256, "<|b|>": 257, "<|a|><|b|>": 258, "|><|": 259}
    vocabulary = Vocabulary(BYTES, "gpt2", special)
    ids = Tokenizer(vocabulary).encode(text, allowed_special="all")
    i = 0
    expected = []
    while i < len(text):
        name = max((name for name in special if text.startswith(name, i)), key=len, default=None)
        expected.append(ord(text[i]) if name is None else special[name])
        i += 1 if name is None else len(name)
    assert ids == expected
    no_prefixes = Vocabulary(BYTES, "gpt2", {"<|a|>": 256, "|><|": 257, "b|>": 258})
    theirs = reference(no_prefixes)
    for allowed in ("all", {"<|a|>"}, {"|><|"}, {"|><|", "b|>"}):
        assert Tokenizer(no_prefixes).encode(text, allowed_special=allowed, disallowed_special=()) == theirs.encode(
            text, allowed_special=allowed, disallowed_special=()
        )


def test_lone_surrogates_are_tiktokens(published: Published) -> None:
    for text in ("a\ud800b", "\ud83d\ude00", "\ud83d<|endoftext|>\ude00", "\udfff" * 3):
        ours = Tokenizer(published.ours.vocabulary)
        assert ours.encode(text, allowed_special="all") == published.tiktoken.encode(text, allowed_special="all")
        assert ours.encode_ordinary(text) == published.tiktoken.encode_ordinary(text)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_arrow_in_arrow_out(tokenizer: Tokenizer, kind: pa.DataType) -> None:
    """Special tokens' names are ordinary text there."""
    rows = ["Hello world", None, "", "a<|endoftext|>b", "naïve"]
    array = pa.array(rows, kind)
    expected = [None if row is None else tokenizer.encode_ordinary(row) for row in rows]
    for given_array, wanted in (
        (array, expected),
        (array[2:], expected[2:]),
        (pa.chunked_array([array, array]), expected * 2),
        (array[:0], []),
    ):
        encoded = tokenizer.encode_arrow(given_array)
        assert encoded.type == pa.list_(pa.uint16())
        assert encoded.to_pylist() == wanted


def test_ids_that_need_it_are_uint32(published: Published) -> None:
    encoded = Tokenizer(published.ours.vocabulary).encode_arrow(pa.array(["Hello"]))
    assert encoded.type.value_type == (pa.uint16() if published.name == "gpt2" else pa.uint32())


@settings(max_examples=100)
@given(text=texts)
def test_decoding(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode_ordinary(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_decoding_half_a_character(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.encode_ordinary("a")[0], next(i for i in range(256) if tokenizer.token_bytes(i) == b"\xe4")]
    assert tokenizer.decode(ids) == "a\ufffd"
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode(ids, errors="strict")
    with pytest.raises(ValueError, match="token id 5000 is not in this vocabulary"):
        tokenizer.decode([5000])


def test_what_it_knows_of_itself(testdata: Path) -> None:
    for name, (_, special_tokens) in PUBLISHED.items():
        tokenizer = Tokenizer.load(testdata / "tokenizers" / f"{name}.tiktoken")
        assert tokenizer.special_tokens == special_tokens
        assert tokenizer.eot_token == special_tokens["<|endoftext|>"]
        assert tokenizer.n_vocab == max(special_tokens.values()) + 1
        assert tokenizer.token_bytes(tokenizer.eot_token) == b"<|endoftext|>"
    assert "200019 ids" in repr(tokenizer)


def test_threads_share_it_and_processes_receive_it(tokenizer: Tokenizer, news: list[str]) -> None:
    expected = tokenizer.encode_batch(news)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokenizer.encode, news)) == expected
    assert tokenizer.encode_batch(news, threads=3) == expected
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (again.vocabulary, again.encode_batch(news[:9])) == (tokenizer.vocabulary, expected[:9])


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, bpe; print('numpy' in sys.modules); from bpe import Tokenizer; print('numba' in sys.modules);"
        "print(hasattr(bpe, 'nothing'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\nFalse\nFalse\n"
