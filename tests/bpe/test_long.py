"""Pretokens longer than a cache entry: merged in pieces that are joined at their seams, as if merged at once.

Small alphabets and vocabularies of long tokens make seams that need much merging anew; the twin is a loop over all
parts. Published vocabularies are compared with tiktoken up to 100 kB, beyond which tiktoken panics on white space.
"""

from __future__ import annotations

import base64
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.train import train
from bpe.vocabulary import Vocabulary
from tests.oracles import bpe_merges, bpe_naive
from tests.support.bpe_texts import Published

BYTES = tuple(bytes([byte]) for byte in range(256))
# Around what the kernels do differently: a word, two, a cache entry of each kind, a piece, a block of a scan.
SIZES = [1, 2, 7, 8, 9, 14, 15, 16, 17, 23, 24, 25, 30, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 4200]


def merges_of(tokens: tuple[bytes, ...]) -> tuple[tuple[int, int], ...]:
    """Merges that make each token beyond the bytes from its two halves, as far as these are tokens."""
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    cuts = [(token[: len(token) // 2], token[len(token) // 2 :]) for token in tokens[256:]]
    return tuple((ids[left], ids[right]) for left, right in cuts if left in ids and right in ids)


@functools.cache
def trained(letters: str, size: int) -> Vocabulary:
    """Trained on words of 200 letters with stretches that repeat, which gives tokens of up to a hundred bytes."""
    generator = np.random.default_rng([len(letters), size])
    stretches = ["".join(generator.choice(list(letters), 25)) for _ in range(6)] + [letter * 30 for letter in letters]
    return train([" ".join("".join(generator.choice(stretches, 8)) for _ in range(150))], size, "gpt2")


def made_up(letters: str, seed: int, listed: bool) -> Vocabulary:
    """Tokens in any order, some that their own bytes never merge to; or merges in any order, also two to one token."""
    generator = np.random.default_rng([seed, listed])
    tokens, merges = list(BYTES), []
    parts = [ord(letter) for letter in letters]
    for _ in range(60):
        left, right = (int(part) for part in generator.choice(parts, 2))
        joined = tokens[left] + tokens[right]
        if len(joined) > 120 or (left, right) in merges:
            continue
        if joined not in tokens:
            tokens.append(joined)
            parts.append(len(tokens) - 1)
        merges.append((left, right))
    if not listed:
        order = [tokens[256 + i] for i in generator.permutation(len(tokens) - 256)]
        return Vocabulary((*BYTES, *order), "gpt2", {})
    generator.shuffle(merges)
    return Vocabulary(tuple(tokens), "gpt2", {}, tuple(merges), ignore_merges=bool(seed % 2))


def word(vocabulary: Vocabulary, letters: str, size: int, seed: int) -> str:
    """`size` letters: single ones, runs and whole tokens at random."""
    generator = np.random.default_rng(seed)
    tokens = [token.decode() for token in vocabulary.tokens[256:] if token.isalpha()] or [letters]
    parts: list[str] = []
    while sum(map(len, parts)) < size:
        letter = str(generator.choice(list(letters)))
        kinds = [letter, letter * int(generator.integers(1, 150)), str(generator.choice(tokens))]
        parts.append(kinds[generator.integers(3)])
    return "".join(parts)[:size]


def assert_as_the_twin(vocabulary: Vocabulary, *words: str) -> None:
    encoder = Encoder(vocabulary, cache_entries=64)
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    for pretoken in words:
        whole = vocabulary.merges is None or vocabulary.ignore_merges
        expected = [ids[pretoken.encode()]] if whole and pretoken.encode() in ids else None
        expected = expected or bpe_naive.encode_long(pretoken.encode(), vocabulary)
        assert encoder.encode(pretoken).tolist() == expected
        assert encoder.encode(pretoken).tolist() == expected  # from the cache, if it is in one


letter_sets = st.sampled_from(["ab", "abc", "abcd"])
seeds = st.integers(0, 1 << 30)


@settings(max_examples=150)
@given(letters=letter_sets, seed=seeds, listed=st.booleans(), size=st.integers(1, 60))
def test_the_twin_for_long_words_is_the_blackboards(letters: str, seed: int, listed: bool, size: int) -> None:
    vocabulary = made_up(letters, seed, listed)
    pretoken = word(vocabulary, letters, size, seed).encode()
    expected = bpe_merges.encode(pretoken, vocabulary) if listed else bpe_naive.encode(pretoken, vocabulary)
    if len(expected) > 1:
        assert bpe_naive.encode_long(pretoken, vocabulary) == expected


@settings(max_examples=150)
@given(letters=letter_sets, size=st.sampled_from([270, 320, 500]), length=st.integers(1, 5000), seed=seeds)
def test_trained_vocabularies(letters: str, size: int, length: int, seed: int) -> None:
    vocabulary = trained(letters, size)
    assert_as_the_twin(vocabulary, word(vocabulary, letters, length, seed))


@settings(max_examples=500)
@given(letters=letter_sets, seed=seeds, listed=st.booleans(), length=st.integers(1, 2000))
def test_tokens_and_merges_in_any_order(letters: str, seed: int, listed: bool, length: int) -> None:
    vocabulary = made_up(letters, seed, listed)
    assert_as_the_twin(vocabulary, word(vocabulary, letters, length, seed))


@pytest.mark.parametrize("size", SIZES)
def test_sizes_where_the_way_of_merging_changes(size: int) -> None:
    for vocabulary in (trained("abc", 500), made_up("abc", 1, False), made_up("abc", 2, True), made_up("abc", 3, True)):
        assert_as_the_twin(vocabulary, *(word(vocabulary, "abc", size, seed) for seed in range(3)), "a" * size)


RUNS = {
    "every length": range(2, 130),
    "powers of two": [2**i for i in range(1, 12)],
    "powers of three": [3**i for i in range(1, 7)],
    "a few": [2, 3, 7, 50, 57, 100],
}


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("backwards", [False, True])
def test_runs_of_one_letter(runs: str, backwards: bool) -> None:
    """Tokens of every length, in rising and in falling order: those of a run are settled from its start to its end."""
    tokens = [b"a" * length for length in RUNS[runs]] + [b"ba", b"ab", b"aab"]
    ranked = Vocabulary((*BYTES, *(tokens[::-1] if backwards else tokens)), "gpt2", {})
    listed = Vocabulary(ranked.tokens, "gpt2", {}, merges_of(ranked.tokens))
    words = ["a" * 2500, "b" + "a" * 700 + "b" + "a" * 65, "ab" * 200 + "a" * 300]
    assert_as_the_twin(ranked, *words)
    assert_as_the_twin(listed, *words)


def test_a_seam_that_reaches_too_far_merges_the_whole() -> None:
    """Tokens of 8 kB: what is left of a seam is longer than what is merged anew there."""
    vocabulary = Vocabulary((*BYTES, *(b"a" * 2**i for i in range(1, 14))), "gpt2", {})
    assert Encoder(vocabulary).encode("a" * 20_000 + "b").tolist() == bpe_naive.encode_long(
        b"a" * 20_000 + b"b", vocabulary
    )


@pytest.mark.parametrize("size", [1024, 100_000])
@pytest.mark.parametrize(
    "kind", ["blanks", "dashes", "letter", "two letters", "newlines", "DNA", "base64", "English", "characters", "marks"]
)
def test_long_pretokens_of_published_vocabularies(published: Published, news: list[str], kind: str, size: int) -> None:
    generator = np.random.default_rng(7)
    text = {
        "blanks": " " * size,
        "dashes": "-" * size,
        "letter": "a" * size,
        "two letters": "ab" * (size // 2),
        "newlines": "\n" * size,
        "DNA": "".join(generator.choice(list("ACGT"), size)),
        "base64": base64.b64encode(generator.bytes(size)).decode()[:size],
        "English": "".join(filter(str.isalpha, "".join(news)))[:size],
        "characters": "".join(map(chr, generator.integers(0x4E00, 0x9FFF, size // 3))),
        "marks": "e\u0301" * (size // 3),
    }[kind]
    for whole in (text, f"x {text}y"):
        assert published.ours.encode(whole).tolist() == published.tiktoken.encode_ordinary(whole)


def test_a_megabyte_of_one_letter_is_not_quadratic(published: Published) -> None:
    # A quadratic merge would take about an hour here.
    assert published.ours.decode(published.ours.encode("a" * 1_000_000)) == "a" * 1_000_000
