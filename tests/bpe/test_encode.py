"""Ids against tiktoken, on golden rows, generated text and awkward buffers."""

from __future__ import annotations

import itertools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.vocabulary import Vocabulary
from tests.bpe.conftest import Published, pieces, texts
from tests.oracles import bpe_naive


def test_golden_rows(published: Published, testdata: Path) -> None:
    lines = (testdata / "tokenizers/golden_encodings.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    offsets, ids = published.ours.encode_batch([row["text"] for row in rows])
    found = [ids[offsets[i] : offsets[i + 1]].tolist() for i in range(len(rows))]
    assert len(rows) > 200
    assert found == [row[published.name] for row in rows]


@settings(max_examples=400)
@given(text=texts)
def test_ids_are_tiktokens(published: Published, text: str) -> None:
    ids = published.ours.encode(text)
    assert ids.dtype == published.ours.dtype
    assert ids.tolist() == published.tiktoken.encode_ordinary(text)
    assert published.ours.decode(ids) == text


@settings(max_examples=60)
@given(rows=st.lists(st.one_of(st.none(), pieces), max_size=8), start=st.integers(0, 4), large=st.booleans())
def test_arrow_slices_nulls_and_chunks(published: Published, rows: list[str | None], start: int, large: bool) -> None:
    kind = pa.large_string() if large else pa.string()
    array = pa.array(rows, kind)
    expected = [published.tiktoken.encode_ordinary(row or "") for row in rows]
    assert _rows(published.ours, array.slice(start)) == expected[start:]
    assert _rows(published.ours, array.slice(0, start)) == expected[:start]
    assert _rows(published.ours, pa.chunked_array([array, array.slice(start)], kind)) == expected + expected[start:]
    assert _rows(published.ours, pa.chunked_array([], kind)) == []
    assert _rows(published.ours, array.dictionary_encode()) == expected


def test_nulls_that_cover_bytes_are_empty(published: Published) -> None:
    bounds, content = pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"abcd")
    array = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x01"), bounds, content])
    assert _rows(published.ours, array) == [published.tiktoken.encode_ordinary("ab"), []]


def test_strings_in_many_runs(published: Published, news: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpe.encode.RUN_BYTES", 1000)
    documents = ["", *news[:40], "", ""]
    expected = [published.tiktoken.encode_ordinary(document) for document in documents]
    assert _rows(published.ours, documents) == expected
    assert _rows(published.ours, pa.array(documents)) == expected
    assert _rows(published.ours, []) == []


def test_no_byte_around_the_text_is_read_or_written(small: Vocabulary) -> None:
    """Texts that end where their buffer ends, at every length and alignment around the 8 and 16 byte loads."""
    encoder, words = Encoder(small), b" don't stop the international committee" * 2
    for size in range(len(words) + 1):
        for shift in range(8):
            content = np.frombuffer(b"#" * shift + words[:size], np.uint8)
            bounds = pa.py_buffer(np.array([shift, shift + size], np.int32))
            array = pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(content.tobytes())])
            assert encoder.decode_bytes(encoder.encode_batch(array)[1]) == words[:size]


@settings(max_examples=200)
@given(content=st.binary(max_size=200))
def test_any_bytes_round_trip(small: Vocabulary, content: bytes) -> None:
    bounds = pa.py_buffer(np.array([0, len(content)], np.int32))
    array = pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(content)])
    encoder = Encoder(small, cache_entries=64)
    assert encoder.decode_bytes(encoder.encode_batch(array)[1]) == content


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


def test_threads_share_an_encoder_and_processes_receive_it(small: Vocabulary, news: list[str]) -> None:
    encoder = Encoder(small)
    expected = encoder.encode_batch(news)[1]
    with ThreadPoolExecutor(4) as pool:
        for _, ids in pool.map(encoder.encode_batch, [news] * 12):
            assert np.array_equal(ids, expected)
    assert np.array_equal(pickle.loads(pickle.dumps(encoder)).encode_batch(news)[1], expected)


def test_mistakes_are_named(small: Vocabulary) -> None:
    with pytest.raises(ValueError, match="Arrow type int64"):
        Encoder(small).encode_batch(pa.array([1, 2]))
    with pytest.raises(ValueError, match="texts hold a bytes"):
        Encoder(small).encode_batch([b"bytes"])  # type: ignore[list-item]
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
