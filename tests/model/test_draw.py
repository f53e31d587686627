"""Drawing tokens: which ids are candidates, how often each is drawn, and which random numbers mean it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from model.draw import Sampling, draw, uniforms
from tests.oracles.model_draw import stretches

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30)


@given(
    logits=LOGITS.filter(lambda logits: len(set(logits)) == len(logits)),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.05, 1.0),
    temperature=st.floats(0.1, 3),
    uniform=st.floats(0, 1, exclude_max=True, width=32),
)
def test_draw_equals_its_definition(
    logits: list[float], top_k: int, top_p: float, temperature: float, uniform: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = stretches(logits, temperature, top_k, top_p)
    for slightly in (-1e-5, 1e-5):  # no sum of probabilities is so near to top_p that rounding decides
        assume(len(expected) == len(stretches(logits, temperature, top_k, min(1.0, top_p + slightly))))
    drawn = int(draw(torch.tensor([logits]), torch.tensor([uniform]), sampling))
    [(low, high)] = [(low, high) for token, low, high in expected if token == drawn]
    assert low - 1e-5 <= uniform <= high + 1e-5


@given(
    logits=LOGITS,
    top_k=st.integers(0, 12),
    top_p=st.floats(0.05, 1.0),
    temperature=st.floats(0.1, 3),
    seed=st.integers(0, 1000),
)
def test_drawn_ids_lie_in_top_k_and_top_p(
    logits: list[float], top_k: int, top_p: float, temperature: float, seed: int
) -> None:
    """Also with equal logits, of which top-k may take any."""
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    numbers_B = uniforms(seed, [0], 20)[0]
    ranked = sorted(logits, reverse=True)
    kept = ranked[:top_k] if top_k else ranked
    probability = torch.tensor(kept, dtype=torch.float64).div(temperature).softmax(0)
    for drawn in draw(torch.tensor([logits]).expand(20, -1), numbers_B, sampling).tolist():
        assert logits[drawn] >= kept[-1]
        likelier = sum(logit > logits[drawn] for logit in logits)
        assert float(probability[:likelier].sum()) < top_p + 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.8},
        {"top_k": 8, "top_p": 0.9, "temperature": 1.5},
    ],
)
def test_frequencies_follow_the_probabilities(settings: dict[str, float]) -> None:
    sampling = dataclasses.replace(Sampling(temperature=1.0, top_k=0), **settings)  # type: ignore[arg-type]
    logits_V = torch.randn(12, generator=torch.Generator().manual_seed(0)) * 1.5
    numbers_B = uniforms(1, [0], 20_000)[0]
    drawn_B = draw(logits_V.expand(20_000, -1), numbers_B, sampling)
    counts = np.bincount(drawn_B.numpy(), minlength=12)
    expected = np.zeros(12)
    for token, low, high in stretches(logits_V.tolist(), sampling.temperature, sampling.top_k, sampling.top_p):
        expected[token] = 20_000 * (high - low)
    assert counts[expected == 0].sum() == 0
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("top_k", [0, 3])
def test_impossible_ids_are_never_drawn(top_k: int, top_p: float) -> None:
    """Also with the greatest number below 1, whose product with a total may round to that total."""
    greatest = float(np.nextafter(np.float32(1), np.float32(0)))
    logits_V = torch.tensor([-torch.inf, 0.3, -torch.inf, 0.1, -0.2, -torch.inf])
    for number in (0.0, 0.5, greatest):
        [drawn] = draw(logits_V[None], torch.tensor([number]), Sampling(top_k=top_k, top_p=top_p)).tolist()
        assert drawn in (1, 3, 4)


def test_without_temperature_the_likeliest_is_taken() -> None:
    logits_BV = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    for temperature in (0.0, 1e-30):
        assert draw(logits_BV, torch.tensor([0.99, 0.99]), Sampling(temperature=temperature)).tolist() == [1, 0]


@pytest.mark.parametrize("settings", [{}, {"top_k": 0}, {"top_p": 0.5}, {"temperature": 0.0}])
def test_logits_of_a_diverged_model_give_some_id(settings: dict[str, float]) -> None:
    """A sample from a diverged model must not end the training with an error."""
    sampling = dataclasses.replace(Sampling(top_k=3), **settings)  # type: ignore[arg-type]
    for value in (torch.nan, torch.inf):
        drawn_B = draw(torch.full((2, 9), value), torch.tensor([0.2, 0.9]), sampling)
        assert ((drawn_B >= 0) & (drawn_B < 9)).all()


def test_a_stream_does_not_depend_on_others_or_its_length() -> None:
    several = uniforms(3, [0, 1, 2], 50)
    assert torch.equal(uniforms(3, [1], 50)[0], several[1])
    assert torch.equal(uniforms(3, [2], 20)[0], several[2, :20])
    assert len({tuple(row) for row in several.tolist()}) == 3
    assert not torch.equal(uniforms(4, [0], 50)[0], several[0])
    assert not torch.equal(uniforms(4, [0], 50)[0], several[1])


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", 0), ("temperature", -1.0), ("top_k", -1), ("top_p", 0.0), ("top_p", 1.5)],
)
def test_settings_out_of_bounds_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} = {value}"):
        Sampling(**{field: value})  # type: ignore[arg-type]
