"""Arrow in, Arrow out: strings of every layout, nulls, slices and chunks, to lists of ids."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.vocabulary import Vocabulary
from tests.support.bpe_texts import Published, pieces

STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
rows_with_nulls = st.lists(st.one_of(st.none(), pieces), max_size=8)


def lists(published: Published, rows: list[str | None]) -> list[list[int] | None]:
    return [None if row is None else published.tiktoken.encode_ordinary(row) for row in rows]


@settings(max_examples=100)
@given(rows=rows_with_nulls, start=st.integers(0, 4), kind=st.sampled_from(STRINGS), threads=st.sampled_from([1, 2]))
def test_rows_become_lists_and_nulls_stay_null(
    published: Published, rows: list[str | None], start: int, kind: pa.DataType, threads: int
) -> None:
    """Whole, as slices, which do not start at byte 0, in chunks, and by way of a dictionary."""
    array, expected = pa.array(rows, kind), lists(published, rows)

    def encoded(texts: pa.Array | pa.ChunkedArray) -> list[list[int] | None]:
        found = published.ours.encode_arrow(texts, threads)
        found.validate(full=True)
        assert found.type == pa.list_(pa.uint16() if published.name == "gpt2" else pa.uint32())
        # The ids are encode_batch's, end to end; there a null is an empty text.
        offsets, ids = published.ours.encode_batch(texts)
        assert found.flatten().to_numpy(zero_copy_only=False).tolist() == ids.tolist()
        assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == [row or [] for row in found.to_pylist()]
        return list(found.to_pylist())

    assert encoded(array) == expected
    assert encoded(array.slice(start)) == expected[start:]
    assert encoded(array.slice(0, start)) == expected[:start]
    assert encoded(array.slice(start, 0)) == []
    assert (
        encoded(pa.chunked_array([array, array.slice(start), array.slice(0, 0)], kind)) == expected + expected[start:]
    )
    assert encoded(pa.chunked_array([], kind)) == []
    if kind != pa.string_view():
        assert encoded(array.dictionary_encode()) == expected
        assert encoded(pa.chunked_array([array.dictionary_encode(), array.slice(start).dictionary_encode()])) == (
            expected + expected[start:]
        )


def test_a_null_in_a_dictionary_is_a_null(published: Published) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["ab", None]))
    assert published.ours.encode_arrow(array).to_pylist() == lists(published, ["ab", None, None, "ab"])


def test_nothing_but_nulls(published: Published) -> None:
    assert published.ours.encode_arrow(pa.nulls(3)).to_pylist() == [None] * 3
    assert published.ours.encode_arrow(pa.nulls(0)).to_pylist() == []
    assert published.ours.encode_arrow(pa.nulls(2, pa.string())).to_pylist() == [None] * 2


def test_nulls_that_cover_bytes_are_empty(published: Published) -> None:
    bounds, content = pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"abcd")
    array = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x01"), bounds, content])
    assert published.ours.encode_arrow(array).to_pylist() == lists(published, ["ab", None])
    assert published.ours.encode_batch(array)[0].tolist() == [0, 1, 1]


def test_mistakes_are_named(small: Vocabulary) -> None:
    for array in (pa.array([1, 2]), pa.array([b"a"]), pa.array([["a"]])):
        with pytest.raises(TypeError, match=f"texts is of Arrow type {array.type}".split("<")[0]):
            Encoder(small).encode_arrow(array)
