"""Ids against tiktoken: on golden rows, generated text and all shared text, whatever the cache holds."""

from __future__ import annotations

import gzip
import itertools
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.files import load_vocabulary
from bpe.patterns import is_named
from bpe.vocabulary import Vocabulary
from tests.oracles import bpe_naive
from tests.support.bpe_texts import LLAMA, Published, reference, texts


def test_golden_rows(published: Published, testdata: Path) -> None:
    lines = (testdata / "tokenizers/golden_encodings.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    offsets, ids = published.ours.encode_batch([row["text"] for row in rows])
    found = [ids[offsets[i] : offsets[i + 1]].tolist() for i in range(len(rows))]
    assert len(rows) > 200
    assert found == [row[published.name] for row in rows]


def documents(testdata: Path) -> Iterator[str]:
    """All shared text: 16 MB of English in two kinds, plays, and pages and code in dozens of languages."""
    for name in ("en_gutenberg", "en_news_web"):
        with gzip.open(testdata / f"text/{name}.txt.gz", "rt", encoding="utf-8", newline="") as file:
            yield from file.read().split("<|endoftext|>")
    with gzip.open(testdata / "text/mixed_multilingual_code.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from (json.loads(line)["text"] for line in file)
    yield (testdata / "text/tinyshakespeare.txt").read_bytes().decode()


def test_all_shared_text(published: Published, testdata: Path) -> None:
    """Every document, with a cache of the usual size and with one that is always full."""
    shared = list(documents(testdata))
    assert sum(map(len, shared)) > 14_000_000
    usual = Encoder(published.ours.vocabulary)
    offsets, ids = usual.encode_batch(shared)
    for i, document in enumerate(shared):
        expected = published.tiktoken.encode_ordinary(document)
        assert np.array_equal(ids[offsets[i] : offsets[i + 1]], expected), document[:80]
    assert np.array_equal(published.ours.encode_batch(shared)[1], ids)


@settings(max_examples=1000)
@given(text=texts)
def test_ids_of_three_thousand_texts_are_tiktokens(published: Published, text: str) -> None:
    """Any Unicode, white space, digits, contractions in every case, combining marks, emoji, line ends; three times."""
    check_ids(published, text)


@pytest.mark.long
@settings(max_examples=3400)
@given(text=texts)
def test_ids_of_ten_thousand_texts_are_tiktokens(published: Published, text: str) -> None:
    check_ids(published, text)


def check_ids(published: Published, text: str) -> None:
    ids = published.ours.encode(text)
    assert ids.dtype == published.ours.dtype
    assert ids.tolist() == published.tiktoken.encode_ordinary(text)
    assert published.ours.decode(ids) == text


def test_strings_in_many_runs(published: Published, news: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpe.encode.RUN_BYTES", 1000)
    documents = ["", *news[:40], "", ""]
    expected = [published.tiktoken.encode_ordinary(document) for document in documents]
    assert _rows(published.ours, documents) == expected
    assert _rows(published.ours, pa.array(documents)) == expected
    assert _rows(published.ours, []) == []


@settings(max_examples=300)
@given(content=st.binary(max_size=200))
def test_any_bytes_round_trip(published: Published, content: bytes) -> None:
    bounds = pa.py_buffer(np.array([0, len(content)], np.int32))
    array = pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(content)])
    assert published.ours.decode_bytes(published.ours.encode_batch(array)[1]) == content


@settings(max_examples=300)
@given(ids=st.lists(st.integers(0, 50_255), max_size=30))
def test_any_ids_decode_as_tiktoken_decodes_them(published: Published, ids: list[int]) -> None:
    assert published.ours.decode_bytes(ids) == published.tiktoken.decode_bytes(ids)
    assert published.ours.decode(ids) == published.tiktoken.decode(ids)


def test_bytes_and_nothing_else() -> None:
    """The least of vocabularies: no pair merges, id 0 is a token, and NUL bytes are text like any other."""
    encoder = Encoder(Vocabulary(tuple(bytes([byte]) for byte in range(256)), "cl100k", {}), cache_entries=64)
    for text in ("", "a", "\0", "\0" * 7, "\0" * 8, "\0" * 15, "\0" * 16, "\0" * 31, "\0" * 32, "\0" * 65, "naïve 字"):
        for _ in range(2):  # the second from the cache
            assert encoder.encode(text).tolist() == list(text.encode())


@pytest.mark.parametrize("special", [{}, {"<|endoftext|>": 70_000}], ids=["2 bytes an id", "4 bytes an id"])
def test_pretokens_of_every_size_and_number_of_ids(special: dict[str, int]) -> None:
    """A cache entry has room for so many ids of so many bytes; a pretoken that differs in one byte is another one."""
    tokens = (*(bytes([byte]) for byte in range(256)), *(b"a" * size for size in range(2, 34)))
    encoder = Encoder(Vocabulary(tokens, "gpt2", special), cache_entries=64)
    assert encoder.dtype.itemsize == (4 if special else 2)
    words = ["a" * (size - singles) + "bc" * 20 for size in range(1, 34) for singles in (0, size // 2)]
    words = [word[:size] for word in words for size in range(1, 41)]
    for word in words + words[::-1]:
        expected = bpe_naive.encode(word.encode(), encoder.vocabulary)
        assert encoder.encode(word).tolist() == expected
        assert encoder.encode(word).tolist() == expected


@settings(max_examples=100)
@given(pretoken=st.text(st.sampled_from("abcdehinorst"), min_size=1, max_size=100))
def test_merging_is_the_blackboard_kind(small: Vocabulary, pretoken: str) -> None:
    assert Encoder(small, 64).encode(pretoken).tolist() == bpe_naive.encode(pretoken.encode(), small)


def test_whole_pretoken_that_no_merge_reaches_is_one_token() -> None:
    tokens = (*(bytes([byte]) for byte in range(256)), b"xyzzy", b"xy")
    encoder = Encoder(Vocabulary(tokens, "gpt2", {}))
    assert encoder.encode("xyzzy").tolist() == [256]
    assert encoder.encode("xyzzyx").tolist() == [257, *b"zzyx"]


def test_special_names_are_ordinary_text_and_surrogates_replaced(published: Published) -> None:
    text = "a<|endoftext|>b"
    assert published.ours.encode(text).tolist() == published.tiktoken.encode_ordinary(text)
    assert published.ours.decode([published.ours.vocabulary.end_of_text]) == "<|endoftext|>"
    assert published.ours.decode(published.ours.encode("a\ud800b\ud83d\ude00")) == "a\ufffdb😀"


def test_ids_do_not_depend_on_what_is_in_the_cache(small: Vocabulary, news: list[str]) -> None:
    """Fresh or warm, small or large, cleared, in any order of texts."""
    expected = [Encoder(small).encode(document).tolist() for document in news]
    order = np.random.default_rng(1).permutation(len(news))
    for entries in (64, 1024, 1 << 20):
        encoder = Encoder(small, entries)
        for _ in range(2):
            assert _rows(encoder, news) == expected
            assert _rows(encoder, [news[i] for i in order]) == [expected[i] for i in order]
        encoder.clear()
        assert [encoder.encode(document).tolist() for document in reversed(news)] == expected[::-1]


def test_ids_do_not_depend_on_the_number_of_threads(
    small: Vocabulary, news: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bpe.encode.THREAD_RUN_BYTES", 5000)
    expected = _rows(Encoder(small), news)
    encoder = Encoder(small, 64)
    for threads in (1, 2, 4):
        for rows in (news, pa.array(news), pa.chunked_array([news[:7], news[7:]])):
            offsets, ids = encoder.encode_batch(rows, threads=threads)
            assert [ids[start:end].tolist() for start, end in itertools.pairwise(offsets)] == expected


def test_one_encoder_serves_many_threads(small: Vocabulary, news: list[str]) -> None:
    encoder = Encoder(small, 64)
    expected = [Encoder(small).encode(document).tolist() for document in news]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [encoder.encode(document).tolist() for document in news], range(12)):
            assert found == expected


def test_another_process_receives_an_encoder(small: Vocabulary, news: list[str]) -> None:
    encoder = Encoder(small, 64)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        offsets, ids = pool.submit(encoder.encode_batch, news).result()
    assert [ids[start:end].tolist() for start, end in itertools.pairwise(offsets)] == _rows(encoder, news)


@settings(max_examples=300)
@given(rows=st.lists(texts, max_size=4))
def test_any_other_regular_expression_is_as_good_as_in_tiktoken(
    llama: tuple[Encoder, tiktoken.Encoding], rows: list[str]
) -> None:
    ours, theirs = llama
    assert _rows(ours, rows) == [theirs.encode_ordinary(row) for row in rows]


def test_shared_text_by_another_regular_expression(
    llama: tuple[Encoder, tiktoken.Encoding], news: list[str], testdata: Path
) -> None:
    ours, theirs = llama
    rows = [*news[:60], *itertools.islice(documents(testdata), 6000, None, 40)]
    assert _rows(ours, rows) == [theirs.encode_ordinary(row) for row in rows]
    assert _rows(ours, pa.array(rows)) == _rows(ours, rows)


@pytest.fixture(scope="module")
def llama(testdata: Path) -> tuple[Encoder, tiktoken.Encoding]:
    """cl100k_base's tokens with the split rule of Llama 3, which has no scanner of its own."""
    tokens = load_vocabulary(testdata / "tokenizers/cl100k_base.tiktoken").tokens
    vocabulary = Vocabulary(tokens, LLAMA, {})
    assert not is_named(vocabulary.pattern)
    return Encoder(vocabulary, 64), reference(vocabulary)


def test_mistakes_are_named(small: Vocabulary) -> None:
    with pytest.raises(TypeError, match="Arrow type int64"):
        Encoder(small).encode_batch(pa.array([1, 2]))
    with pytest.raises(TypeError, match="texts holds a bytes"):
        Encoder(small).encode_batch([b"bytes"])
    with pytest.raises(TypeError, match="texts is of type str: pass a list of strings, or call encode"):
        Encoder(small).encode_batch("text")
    for entries in (3, 32, 96):
        with pytest.raises(ValueError, match=f"cache_entries = {entries}: should be a power of two, at least 64"):
            Encoder(small, entries)
    with pytest.raises(ValueError, match="token id 1000 is not in this vocabulary of 1000 ids"):
        Encoder(small).decode([1000])


def _rows(encoder: Encoder, rows: pa.Array | pa.ChunkedArray | list[str]) -> list[list[int]]:
    offsets, ids = encoder.encode_batch(rows)
    assert offsets[0] == 0
    assert offsets[-1] == len(ids)
    return [ids[start:end].tolist() for start, end in itertools.pairwise(offsets)]
