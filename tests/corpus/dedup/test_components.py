from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import components as module
from corpus.dedup.components import components
from tests.oracles import dedup_cluster as oracle

EDGES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(EDGES, st.randoms(use_true_random=False))
def test_roots_equal_the_slow_twin_in_any_order_of_edges(edges: list[tuple[int, int]], random: object) -> None:
    expected = oracle.roots(20, set(edges))
    portions = [np.array(edges, np.uint64).reshape(-1, 2)]
    assert components(20, portions).tolist() == expected
    random.shuffle(edges)  # type: ignore[attr-defined]
    again = np.array(edges, np.uint64).reshape(-1, 2)
    assert components(20, [again[:7], again[7:], again[:3, ::-1]]).tolist() == expected


def test_a_long_chain_is_one_component() -> None:
    rows = 300_000
    chain = np.stack([np.arange(rows - 1), np.arange(1, rows)], axis=1).astype(np.uint64)
    for edges in (chain, chain[::-1], np.random.default_rng(0).permutation(chain)):
        assert not components(rows, [edges]).any()


def test_many_rows_are_counted_in_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [np.array([[1, 3], [3, 4]], np.uint64)]
    assert components(5, edges).dtype == np.uint32
    monkeypatch.setattr(module, "_NARROW", 5)
    wide = components(5, edges)
    assert wide.dtype == np.uint64
    assert wide.tolist() == [0, 1, 2, 1, 1]


def test_without_edges_each_row_is_alone() -> None:
    assert components(3, []).tolist() == [0, 1, 2]
    assert components(0, [np.empty((0, 2), np.uint64)]).tolist() == []


def test_an_edge_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="an edge to row 3 of 3 documents: it belongs to other signatures"):
        components(3, [np.array([[0, 3]], np.uint64)])
