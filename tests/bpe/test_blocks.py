"""Sixty-four characters at once and one pretoken at a time find the same pretokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.kernels.split import next_ends
from bpe.patterns import PATTERNS, scheme
from bpe.unicode import class_table
from tests.support.bpe_texts import SPACES, WORDS

CLASSES = class_table()
FEW = ("aA1 \n'sltdvreSLTDVRE./!", "ab 1", "  \n\t\r a!/", "'sSlLa A", "aé ſ'字1\u00a0 \n", "\n\r/!a ", "0123456789 a")
ENGLISH = "abcdefgh ABC . , ' it's don't we'LL\n\n   \t  12345 // é"
texts = st.one_of(
    st.sampled_from([*FEW, ENGLISH]).flatmap(lambda letters: st.text(st.sampled_from(letters), max_size=400)),
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SPACES)).map("".join), max_size=80).map("".join),
)


def ends_of(content: bytes, number: int, capacity: int) -> list[int]:
    """`capacity` below 64 leaves no room for a block."""
    data, found = np.frombuffer(content, np.uint8), np.empty(capacity, np.int64)
    start = p = data.ctypes.data
    ends: list[int] = []
    while p < start + len(data):
        count = next_ends(number, p, start + len(data), CLASSES.ctypes.data, found.ctypes.data, capacity)
        assert 1 <= count <= capacity
        ends += (found[:count] - start).tolist()
        p = start + ends[-1]
    return ends


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=1500, deadline=None)
@given(text=texts, capacity=st.integers(64, 300))
def test_blocks_split_as_the_scanners_do(pattern: str, text: str, capacity: int) -> None:
    content = text.encode()
    assert ends_of(content, scheme(pattern), capacity) == ends_of(content, scheme(pattern), 1)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_contraction_at_every_place_of_a_block(pattern: str) -> None:
    after = [
        "'s",
        "'S",
        "'ll",
        "'Ll",
        "'ve",
        "'x",
        "'l",
        "'v",
        "''",
        "'s's",
        "'s's's",
        "'1",
        "' ",
        "'\u017f",
        "!'s",
        " 's",
    ]
    for middle in after:
        for shift in range(66):
            content = ("a" * shift + middle + "b c" * 30).encode()
            assert ends_of(content, scheme(pattern), 256) == ends_of(content, scheme(pattern), 1), (middle, shift)
