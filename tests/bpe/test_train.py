"""The trainer against its naive twin and against Hugging Face's, and the promises that its docstring makes."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rustbpe
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

import bpe.train
from bench.harness import read_documents
from bpe.count import Pretokens, count_pretokens
from bpe.encode import Encoder, split
from bpe.formats import letters as letters_of
from bpe.kernels.merge import Pairs
from bpe.patterns import ONIGURUMA, REGEX
from bpe.train import TIES, merge_pretokens, train
from bpe.vocabulary import Vocabulary
from tests.oracles import bpe_naive

few_letters = st.lists(st.text("ab", min_size=1, max_size=24), min_size=1, max_size=6)
more_letters = st.lists(st.text("abcé", min_size=1, max_size=14), min_size=1, max_size=10)


ties_of = pytest.mark.parametrize("ties", TIES)


@ties_of
@settings(max_examples=250)
@given(words=st.one_of(few_letters, more_letters), merges=st.integers(0, 40))
def test_merges_are_the_naive_ones(ties: str, words: list[str], merges: int) -> None:
    found = merge_pretokens(count_pretokens(words, "cl100k"), 256 + merges, ties=ties)
    assert found == bpe_naive.train([w.encode() for w in words], 256 + merges, ties)


@ties_of
@pytest.mark.parametrize("letters", ["a" * 61, "ab" * 50 + "a", "abaab" * 30, "aab" * 17 + "abb" * 19])
def test_long_repeats(ties: str, letters: str) -> None:
    """Runs bring overlaps."""
    found = merge_pretokens(count_pretokens([letters], "cl100k"), 400, ties=ties)
    assert found == bpe_naive.train([letters.encode()], 400, ties)


@ties_of
def test_ties_are_broken_by_the_asked_rule(ties: str) -> None:
    content = np.frombuffer(b"\xffbzbab", np.uint8)
    pretokens = Pretokens(content, np.array([0, 2, 4, 6]), np.array([7, 7, 7]))
    first = merge_pretokens(pretokens, 257, ties=ties).tokens[256]
    assert first == {"bytes": b"\xffb", "hf": b"ab", "ids": b"ab"}[ties]
    lower = Pretokens(np.frombuffer(b"a\x80a\xae", np.uint8), np.array([0, 2, 4]), np.array([7, 7]))
    # In GPT-2's order 0xAE prints and so comes before 0x80, which does not.
    assert (
        merge_pretokens(lower, 257, ties=ties).tokens[256] == {"bytes": b"a\xae", "hf": b"a\xae", "ids": b"a\x80"}[ties]
    )


def test_tables_of_pairs_grow(news: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pretokens = count_pretokens(news, "cl100k")
    found = merge_pretokens(pretokens, 2000)
    no_pairs = bpe.train._no_pairs

    def tiny(size: int) -> Pairs:
        pairs = no_pairs(size)
        return pairs._replace(positions=pairs.positions[: size + 10], heap_pair=pairs.heap_pair[:800])

    monkeypatch.setattr(bpe.train, "_no_pairs", tiny)
    assert merge_pretokens(pretokens, 2000) == found


def test_depends_on_texts_alone(news: list[str]) -> None:
    table = pa.chunked_array([pa.array(news[50:]), pa.array(news[:50]).slice(0, 20), pa.array(news[20:50])])
    expected = train(news, 2000).hash
    assert train(reversed(news), 2000).hash == expected
    assert train(table.chunks, 2000).hash == expected
    assert train([table], 2000).hash == expected
    assert train(news, 2000, threads=3).hash == expected
    assert train(news, 2000, threads=2, memory=4 << 20).hash == expected
    assert train(news[1:], 2000).hash != expected


def test_merges_as_hugging_face_does(news: list[str]) -> None:
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    rule = tokenizers.pre_tokenizers.Split(tokenizers.Regex(ONIGURUMA["cl100k"]), "isolated")
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([rule, byte_level])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=5000,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    theirs.train_from_iterator(news, trainer)
    by_id = sorted(theirs.get_vocab(), key=theirs.get_vocab().__getitem__)
    ours = train(news, 5000, special_tokens=(), ties="hf")
    assert [letters_of(token) for token in ours.tokens] == by_id
    letters = [letters_of(token) for token in ours.tokens]
    merged = json.loads(theirs.to_str())["model"]["merges"]
    assert [[letters[left], letters[right]] for left, right in ours.merges or ()] == merged


def rustbpe_tokens(documents: list[str], size: int) -> list[bytes]:
    theirs = rustbpe.Tokenizer()
    theirs.train_from_iterator(iter(documents), size, pattern=REGEX["cl100k"])
    return [bytes(token) for token, _ in theirs.get_mergeable_ranks()]


def test_merges_as_rustbpe_does(news: list[str]) -> None:
    ours = train(news, 5000, special_tokens=(), ties="ids")
    assert list(ours.tokens) == rustbpe_tokens(news, 5000)


@settings(max_examples=100)
@given(words=st.one_of(few_letters, more_letters), merges=st.integers(1, 40))
def test_merges_as_rustbpe_does_in_small(words: list[str], merges: int) -> None:
    found = merge_pretokens(count_pretokens(words, "cl100k"), 256 + merges, ties="ids").tokens
    assert found == rustbpe_tokens(words, 256 + merges)


def test_merges_of_real_text_are_the_naive_ones(news: list[str]) -> None:
    pretokens = [pretoken for document in news[:40] for pretoken in split(document, "cl100k")]
    for ties in TIES:
        found = merge_pretokens(count_pretokens(news[:40], "cl100k"), 500, ties=ties)
        assert found == bpe_naive.train(pretokens, 500, ties)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ties", TIES)
def test_merges_of_five_megabytes_are_the_naive_ones(testdata: Path, ties: str) -> None:
    documents = read_documents(testdata / "text/en_news_web.txt.gz")
    pretokens = [pretoken for document in documents for pretoken in split(document, "cl100k")]
    tokens, merges = bpe_naive.train(pretokens, 1000, ties)
    made = train(documents, 1000, "cl100k", (), ties)
    assert (list(made.tokens), list(made.merges or ())) == (tokens, merges)


def test_encoding_by_rank_and_by_merges_agree(small: Vocabulary, news: list[str]) -> None:
    assert small.merges is not None
    by_rank = dataclasses.replace(small, merges=None)
    for pretoken in set(split(news[0], "cl100k")):
        parts = [bytes([byte]) for byte in pretoken]
        for left, right in small.merges:
            pair, i = (small.tokens[left], small.tokens[right]), 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == pair:
                    parts[i : i + 2] = [parts[i] + parts[i + 1]]
                i += 1
        assert [small.tokens.index(part) for part in parts] == bpe_naive.encode(pretoken, by_rank)


@pytest.mark.parametrize("document", ["a" * 1_000_000, "".join(random.Random(0).choices("ACGT", k=1_000_000))])
def test_one_pretoken_of_a_megabyte(document: str) -> None:
    made = train([document], 600)
    assert made.size == (600 if "C" in document else 282)


def test_vocabulary_of_the_asked_size(news: list[str]) -> None:
    made = train(news, 700, "o200k", ("<|endoftext|>", "<|user|>"))
    assert (made.size, made.pattern, len(made.tokens)) == (700, "o200k", 698)
    assert (made.special_tokens, made.end_of_text) == ({"<|endoftext|>": 698, "<|user|>": 699}, 698)
    encoder = Encoder(made)
    assert encoder.decode(encoder.encode(news[0])) == news[0]


def test_stops_when_pairs_run_out() -> None:
    made = train(["ab ab"], 1000, "gpt2")
    assert made.tokens[256:] == (b"ab", b" ab")
    assert made.size == 259


def test_counts_beyond_32_bits() -> None:
    pretokens = count_pretokens(["ab cd"], "gpt2")
    pretokens.counts[:] = [2**32 + 1, 2**32 + 2]
    assert merge_pretokens(pretokens, 257).tokens[256] == b"cd"
    pretokens.counts[:] = [2**40, 2**31]
    assert merge_pretokens(pretokens, 257).tokens[256] == b"ab"


def test_progress_is_told(news: list[str]) -> None:
    told: list[tuple[str, int, int | None]] = []
    train(news, 600, progress=lambda *what: told.append(what))
    assert told[0][0] == "counting"
    assert told[-1] == ("merging", 599, 599)


@pytest.mark.parametrize(
    ("documents", "size", "pattern", "special_tokens", "message"),
    [
        ([], 300, "cl100k", ("<|endoftext|>",), "no text to train on"),
        (["", ""], 300, "cl100k", ("<|endoftext|>",), "no text to train on"),
        (["a"], 256, "cl100k", ("<|endoftext|>",), "vocab_size = 256: at least 257"),
        (["a"], 300, "llama", (), "pattern = 'llama'"),
        (["a"], 300, "cl100k", ("<a>", "<a>"), "special_tokens"),
    ],
)
def test_mistakes_are_named(
    documents: list[str], size: int, pattern: str, special_tokens: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(documents, size, pattern, special_tokens)


def test_what_is_no_text_is_named() -> None:
    with pytest.raises(TypeError, match="texts holds a int: pass strings"):
        train([7], 300)  # type: ignore[list-item]


def test_options_are_checked(news: list[str]) -> None:
    for wrong in ({"ties": "random"}, {"threads": 0}, {"memory": 0}, {"min_count": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = "):
            train(["a"], 300, **wrong)
    with pytest.raises(ValueError, match=r"memory = 70,000 bytes: merging .* needs .*min_count"):
        train(news, 300, memory=70_000)
    assert train(news, 300, memory=3 << 19, min_count=3).size == 300


def test_special_tokens_are_not_learnt_from() -> None:
    made = train(["<|user|>hello<|user|> hello"] * 9, 400, special_tokens=("<|user|>",))
    assert b" hello" in made.tokens
    assert not any(byte in token for token in made.tokens[256:] for byte in b"<|>u")


def test_any_regular_expression_splits() -> None:
    made = train(["aa bb", "aa-bb"], 300, pattern=r"[a-z]+")
    assert made.tokens[256:] == (b"bb", b"aa")
