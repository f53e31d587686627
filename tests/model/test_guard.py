"""The guard: what it refuses, what it admits, and that it judges alike in a resumed run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.guard import LONGEST_STREAK, RECORD, Guard, diverged
from tests.oracles.model_guard import refused


def full(sigmas: float = 6.0, loss: float = 3.2, norm: float = 0.5) -> Guard:
    """A guard whose record is full of steady updates."""
    guard = Guard(sigmas)
    for step in range(RECORD):
        assert guard.judge(loss + 0.05 * (-1) ** step, norm * 1.05 ** ((-1) ** step)) is None
    return guard


@pytest.mark.parametrize(
    ("loss", "norm", "reason"),
    [
        (math.nan, 1.0, "loss nan"),
        (math.inf, 1.0, "loss inf"),
        (3.0, math.nan, "gradient norm nan"),
        (3.0, math.inf, "gradient norm inf"),
    ],
)
@pytest.mark.parametrize("sigmas", [0.0, 6.0])
def test_what_is_not_finite_is_refused_from_the_first_step(
    loss: float, norm: float, reason: str, sigmas: float
) -> None:
    guard = Guard(sigmas)
    assert guard.judge(loss, norm) == reason
    assert guard.state() == {"skipped": 1, "in_a_row": 1, "losses": [], "norms": []}


def test_spikes_are_refused_with_their_height() -> None:
    guard = full()
    assert guard.judge(9.1, 0.5) == "loss 9.1 is 117.5 deviations above the mean of the last 128 steps, 3.2"
    reason = guard.judge(3.2, 5.0)
    assert reason == "gradient norm 5 is 11.5 deviations above that of the last 128 steps, 0.5"
    assert max(guard.losses) < 3.3
    assert (guard.skipped, guard.in_a_row, guard.exhausted) == (2, 2, False)
    assert guard.judge(3.4, 1.6) is None  # 6% and 3.3 times are no spike, however quiet the record
    assert (guard.skipped, guard.in_a_row) == (2, 0)


def test_falls_and_zeros_are_no_spikes() -> None:
    guard = full()
    assert guard.judge(0.0, 0.0) is None
    guard = Guard(6.0)
    for _ in range(2 * RECORD):
        assert guard.judge(0.0, 0.0) is None


def test_nothing_but_nan_is_refused_with_no_sigmas_or_a_short_record() -> None:
    assert full(sigmas=0.0).judge(100.0, 1e6) is None
    guard = Guard(6.0)
    for _ in range(RECORD - 1):
        assert guard.judge(3.0, 1.0) is None
    assert guard.judge(100.0, 1e6) is None
    guard = full()
    guard.forget()
    assert guard.judge(100.0, 1e6) is None


def test_three_in_a_row_exhaust_it() -> None:
    guard = full()
    reason = None
    for expected in (False, False, True):
        reason = guard.judge(9.0, 0.5)
        assert guard.exhausted is expected
    assert reason is not None
    assert LONGEST_STREAK == 3
    error = diverged(7, reason, Path("run/checkpoint-000004.pt"))
    assert isinstance(error, FloatingPointError)
    assert str(error).startswith("step 7: 3 updates in a row were refused, this one for loss 9 is ")
    assert "the last good checkpoint is run/checkpoint-000004.pt; start a new run with a lower --lr" in str(error)
    assert "there is no checkpoint yet" in str(diverged(7, reason, None))


numbers = st.one_of(
    st.floats(1.0, 4.0),
    st.sampled_from([math.nan, math.inf, 3.3, 3.6, 5.0, 40.0]),
)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0.001, 0.05, 0.5]),
    odd=st.lists(st.tuples(st.integers(0, 299), numbers, numbers), max_size=30),
    sigmas=st.sampled_from([0.0, 2.0, 6.0]),
    stop=st.integers(0, 300),
)
def test_answers_equal_a_look_at_the_whole_history(
    seed: int, noise: float, odd: list[tuple[int, float, float]], sigmas: float, stop: int
) -> None:
    """Also if the guard was stored as JSON and restored in between."""
    random = np.random.default_rng(seed)
    updates = list(
        zip(3 + noise * random.standard_normal(300), np.exp(noise * random.standard_normal(300)), strict=True)
    )
    for place, loss, norm in odd:
        updates[place] = (loss, norm)
    guard, found = Guard(sigmas), []
    for index, (loss, norm) in enumerate(updates):
        if index == stop:
            state = json.loads(json.dumps(guard.state()))
            guard = Guard(sigmas)
            guard.restore(state)
        if guard.judge(float(loss), float(norm)) is not None:
            found.append(index)
    assert found == refused(updates, sigmas)
    assert guard.skipped == len(found)
    assert len(guard.losses) == len(guard.norms) <= RECORD


@pytest.mark.parametrize(("spread", "noise"), [(0.1, 0.005), (0.2, 0.02), (0.5, 0.05), (1.0, 0.2)])
def test_healthy_runs_hear_no_false_alarm(spread: float, noise: float) -> None:
    """Lognormal norms, and a noisy loss that falls from 11 to 3, over 5,000 updates."""
    random = np.random.default_rng(0)
    guard = Guard(6.0)
    for step in range(5_000):
        loss = 3 + 7 * math.exp(-step / 60) + 1 / math.sqrt(1 + step / 50) + noise * random.standard_normal()
        assert guard.judge(loss, math.exp(spread * random.standard_normal())) is None
