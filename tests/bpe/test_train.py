"""The trainer against its naive twin and against Hugging Face's, and the promises that its docstring makes."""

from __future__ import annotations

import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

import bpe.train
from bpe.encode import Encoder, split
from bpe.export import hugging_face_letters
from bpe.patterns import ONIGURUMA, PATTERNS
from bpe.train import count_pretokens, merge_pretokens, train
from tests.bpe.conftest import texts
from tests.oracles import bpe_naive

few_letters = st.lists(st.text("ab", min_size=1, max_size=24), min_size=1, max_size=6)
more_letters = st.lists(st.text("abcé", min_size=1, max_size=14), min_size=1, max_size=10)


@settings(max_examples=250)
@given(words=st.one_of(few_letters, more_letters), merges=st.integers(0, 40))
def test_merges_are_the_naive_ones(words: list[str], merges: int) -> None:
    pretokens = count_pretokens(words, "cl100k")
    assert merge_pretokens(pretokens, 256 + merges) == bpe_naive.train([w.encode() for w in words], 256 + merges)


@pytest.mark.parametrize("letters", ["a" * 61, "ab" * 50 + "a", "abaab" * 30, "aab" * 17 + "abb" * 19])
def test_long_repeats(letters: str) -> None:
    """Runs bring overlaps, and tokens whose bytes another pair makes again."""
    found = merge_pretokens(count_pretokens([letters], "cl100k"), 400)
    assert found == bpe_naive.train([letters.encode()], 400)


def test_a_pair_that_makes_a_known_token_takes_no_id() -> None:
    # (a, a), then (aa, aa) = "aaaa"; in "aaa" + "aaaa" parts meet again in other ways.
    words = ["baaaa"] * 5 + ["aaaab"] * 4 + ["aaab"] * 3 + ["abaaa"] * 2
    found = merge_pretokens(count_pretokens(words, "cl100k"), 300)
    assert found == bpe_naive.train([word.encode() for word in words], 300)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=40)
@given(documents=st.lists(texts, max_size=5))
def test_pretokens_are_counted(pattern: str, documents: list[str]) -> None:
    found = count_pretokens(documents, pattern)
    content = found.content.tobytes()
    bounds = zip(found.starts[:-1], found.starts[1:], strict=True)
    counted = {content[a:b]: n for (a, b), n in zip(bounds, found.counts.tolist(), strict=True)}
    expected: dict[bytes, int] = {}
    for document in documents:
        for pretoken in split(document, pattern):
            expected[pretoken] = expected.get(pretoken, 0) + 1
    assert counted == expected


def test_tables_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """More different pretokens and pairs than the tables start with, and one longer than their arena."""
    words = [
        " w" + format(number * 7919, "x").translate(str.maketrans("0123456789", "ghijklmnop"))
        for number in range(40_000)
    ]
    documents = ["".join(words), "z" * 600_000, "".join(words[:500])]
    monkeypatch.setattr(bpe.train, "RUN_BYTES", 1 << 16)
    found = count_pretokens(documents, "cl100k")
    assert len(found.counts) == len(set(words)) + 1
    assert int(found.counts.sum()) == len(words) + 500 + 1
    tokens = merge_pretokens(found, 2000)
    monkeypatch.setattr(bpe.train, "_no_pairs", _tiny_tables(bpe.train._no_pairs))
    assert merge_pretokens(found, 2000) == tokens


def _tiny_tables(no_pairs):  # type: ignore[no-untyped-def]
    def made(size: int):  # type: ignore[no-untyped-def]
        pairs = no_pairs(size)
        return pairs._replace(positions=pairs.positions[: size + 10], heap_pair=pairs.heap_pair[:800])

    return made


def test_depends_on_texts_alone(news: list[str]) -> None:
    table = pa.chunked_array([pa.array(news[50:]), pa.array(news[:50]).slice(0, 20), pa.array(news[20:50])])
    expected = train(news, 2000).hash
    assert train(reversed(news), 2000).hash == expected
    assert train(table.chunks, 2000).hash == expected
    assert train([table], 2000).hash == expected
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
    ours = train(news, 5001)
    assert [hugging_face_letters(token) for token in ours.tokens] == by_id


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
    assert merge_pretokens(pretokens, 257)[256] == b"cd"
    pretokens.counts[:] = [2**40, 2**31]
    assert merge_pretokens(pretokens, 257)[256] == b"ab"


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
        ([7], 300, "cl100k", (), "texts hold a int"),
    ],
)
def test_mistakes_are_named(
    documents: list[str], size: int, pattern: str, special_tokens: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(documents, size, pattern, special_tokens)
