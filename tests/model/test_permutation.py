"""The keyed permutation against its twin, and that it looks random."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.permutation import permute, round_keys
from tests.oracles.model_permutation import permute_one


@settings(max_examples=60)
@given(size=st.integers(1, 3000), key=st.text(max_size=5))
def test_permutation_is_a_bijection_and_equals_its_twin(size: int, key: str) -> None:
    result_N = permute(np.arange(size), size, key)
    assert np.array_equal(np.sort(result_N), np.arange(size))
    keys = [int(each) for each in round_keys(key)]
    for position in {0, size // 2, size - 1}:
        assert result_N[position] == permute_one(position, size, keys)


@given(position=st.integers(0, 2**40 - 8))
def test_permutation_of_a_large_set_equals_its_twin(position: int) -> None:
    size = 2**40 - 7
    keys = [int(each) for each in round_keys("k")]
    assert permute(np.array([position]), size, "k")[0] == permute_one(position, size, keys)


def test_permutation_depends_on_its_key_and_looks_random() -> None:
    first, second = permute(np.arange(1000), 1000, "0"), permute(np.arange(1000), 1000, "1")
    assert (first == second).sum() < 10  # 1 is expected
    assert (first == np.arange(1000)).sum() < 10
    assert abs(np.corrcoef(np.arange(1000), first)[0, 1]) < 0.1
