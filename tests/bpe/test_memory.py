"""The kernels touch no memory but their own: they work on raw addresses, where a slip is silent until it is not.

Three ways to see it: the kernels' source as Python that checks each address; the compiled kernels between pages that
are not there; and with memory that goes when it is freed. The last two are processes of their own, so that one which
the system ends is a failed test and not the end of them all.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder, Scratch
from tests.oracles import bpe_checked
from tests.support.bpe_texts import texts
from tests.support.guarded_encoder import TEXTS, vocabularies
from tests.support.paths import REPOSITORY

# Whatever is freed goes back to the system at once, so that to touch it again ends the process (glibc, mallopt(3)).
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1", "MALLOC_TOP_PAD_": "0", "MALLOC_TRIM_THRESHOLD_": "0"}

SEAMS = """
from bpe.encode import Encoder, Scratch
from bpe.vocabulary import Vocabulary

runs = tuple(b"a" * 2**i for i in range(1, 12))
encoder = Encoder(Vocabulary((*(bytes([byte]) for byte in range(256)), *runs), "gpt2", {}), 64)
for text in ("a" * 5000 + "b", "ab" * 3000, "a" * 100_000 + "b", "a" * 65):
    assert encoder.decode(encoder.encode(text)) == text
"""

TRAINING = """
from bpe.train import train

words = [f"{i * i:x}{'abcdefgh'[i % 8] * (i % 40)}" for i in range(5000)]
assert train([" ".join(words)], 400, "gpt2").size == 400
"""


def run(*arguments: str, **variables: str) -> None:
    command, environment = [sys.executable, *arguments], os.environ | variables
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def test_unmapped_pages_around_texts_and_arrays_are_not_touched() -> None:
    """At every size up to 200 bytes, for each scheme, 2 and 4 byte ids, merges listed or not."""
    run("-m", "tests.support.guarded_encoder")


def test_freed_memory_is_not_touched() -> None:
    """Numba frees an array after the last line that names it, even where its address is still in use."""
    for script in (SEAMS, TRAINING) * 2:  # after compiling, so much memory is free that nothing goes: run it again
        run("-c", script, **GIVE_BACK)


@functools.cache  # made where they are used: every process of the tests imports this file
def encoders() -> list[Encoder]:
    return [Encoder(vocabulary, cache_entries=64) for vocabulary in vocabularies()]


@functools.cache
def scratch(which: int) -> Scratch:
    """The scratch of an encoder; it stays, so that the caches are seldom empty."""
    return encoders()[which]._new_scratch(64)


contents = st.one_of(
    texts.map(str.encode),
    st.binary(max_size=100),
    st.builds(lambda text, start, size: text[start : start + size], st.sampled_from(TEXTS), *[st.integers(0, 300)] * 2),
)


def compiled(encoder: Encoder, rows: list[bytes]) -> list[list[int]]:
    bounds = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(b"".join(rows))]
    return list(encoder.encode_arrow(pa.Array.from_buffers(pa.string(), len(rows), buffers)).to_pylist())


@pytest.mark.parametrize("which", range(11))
@settings(max_examples=40)
@given(rows=st.lists(contents, max_size=3))
def test_every_address_is_within_its_array(which: int, rows: list[bytes]) -> None:
    encoder = encoders()[which]
    assert bpe_checked.encode(encoder, rows, scratch(which)) == compiled(encoder, rows)


@pytest.mark.parametrize("which", [0, 7, 9, 10])  # by rank, by a regular expression, by merges
def test_every_address_of_a_long_pretoken_is_within_its_array(which: int) -> None:
    for content in (b"a" * 1024, b"a" * 1025, b"a" * 2500 + b"b", b"ab" * 600, b"international" * 90, b"\0" * 1100):
        found = bpe_checked.encode(encoders()[which], [content], scratch(which))
        assert found == compiled(encoders()[which], [content])


def test_an_address_beyond_its_array_is_noticed() -> None:
    """The second cache has no room for two ways if the first one has but 32 entries."""
    assert len(encoders()) == 11  # all have been tried above
    encoder = encoders()[0]
    with pytest.raises(MemoryError, match=r"bytes at .* \+ \d+ of \d+"):
        bpe_checked.encode(encoder, [b"x" * 20], encoder._new_scratch(32))
