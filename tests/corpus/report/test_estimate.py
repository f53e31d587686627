"""What the pre-screen lost: an interval that is exact, and no estimate without a sample."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.report.estimate import Estimate, estimate, estimate_json, estimate_text, interval
from corpus.report.funnel import Funnel, funnel
from corpus.report.page import page
from tests.support.funnels import count, record


def screened(dropped: int, sampled: int, kept: int) -> Funnel:
    one = count("prescreen", 2000, {"prescreen.language": dropped}, sampled=sampled, sampled_kept=kept)
    return funnel([("documents", record("A-0", count("warc", 2000, {}), one))])


def exactly_at_most(hits: int, trials: int, p: float) -> float:
    """The binomial distribution, computed with fractions."""
    q = Fraction(p)
    return float(sum(math.comb(trials, k) * q**k * (1 - q) ** (trials - k) for k in range(hits + 1)))


@given(st.integers(1, 60).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_at_the_ends_of_the_interval_what_was_seen_is_one_in_forty(case: tuple[int, int]) -> None:
    hits, trials = case
    low, high = interval(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
    assert exactly_at_most(hits - 1, trials, low) == pytest.approx(0.975, abs=1e-9) if hits else low == 0
    assert exactly_at_most(hits, trials, high) == pytest.approx(0.025, abs=1e-9) if hits < trials else high == 1


def test_the_interval_of_published_tables() -> None:
    """No hit in n trials: the upper end is exactly 1 - 0.025 ** (1 / n)."""
    assert interval(0, 100) == (0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert interval(0, 100_000)[1] == pytest.approx(3.6888e-5, rel=1e-3)


def test_the_estimate_scales_the_sample_to_what_was_dropped() -> None:
    found = estimate(screened(990, 10, 1))
    low, high = interval(1, 10)
    assert found == Estimate(990, 10, 1, 99.0, 990 * low, 990 * high)
    assert estimate_text(found) == (
        "pre-screen: 990 dropped, 10 sampled through the full path, 1 of them kept by all stages of that pass "
        "-> about 99 documents lost (95% interval 3 to 441, Clopper-Pearson)"
    )
    assert estimate_json(found) == found._asdict()


def test_lines_of_several_datasets_are_one_estimate() -> None:
    one = count("prescreen", 100, {"prescreen.language": 50}, sampled=4, sampled_kept=1)
    other = count("prescreen", 10, {"prescreen.language": 5, "prescreen.error": 1}, sampled=6)
    found = estimate(funnel([("a", record("A", one)), ("b", record("B", other))]))
    assert found is not None
    assert found[:3] == (55, 10, 1)


def test_without_a_sample_nothing_is_promised() -> None:
    found = estimate(screened(990, 0, 0))
    assert found == Estimate(990, 0, 0, None, None, None)
    assert "990 dropped, none sampled -> how many documents that lost is not known" in estimate_text(found)


def test_without_a_prescreen_nothing_is_said() -> None:
    assert estimate(funnel([("d", record("A", count("c4", 10, {"c4.few_sentences": 2})))])) is None
    assert estimate(screened(0, 0, 0)) is None
    assert estimate_json(None) is None
    assert "pre-screen" not in page(screened(0, 0, 0), title="x")


def test_the_page_says_it() -> None:
    assert "10 sampled through the full path, 1 of them kept" in page(screened(990, 10, 1), title="x")
