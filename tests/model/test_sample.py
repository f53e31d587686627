"""Sampling: what is drawn, when it stops, and that neighbours do not matter."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.gpt import GPT
from model.sample import Sampling, draw, generate
from tests.model.shards import END_OF_TEXT, VOCAB, small_model

GREEDY = Sampling(max_tokens=12, temperature=0)


@pytest.fixture(scope="module")
def gpt() -> GPT:
    """A model with opinions: large random weights."""
    model = GPT(small_model(), seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


def test_greedy_equals_a_whole_forward_each_time(gpt: GPT) -> None:
    ids = [END_OF_TEXT, 5, 6, 7]
    while len(ids) < 16 and ids[1:].count(END_OF_TEXT) == 0:
        with torch.no_grad():
            ids.append(int(gpt.logits(torch.tensor([ids]))[0, -1].argmax()))
    [sample] = generate(gpt, [5, 6, 7], END_OF_TEXT, GREEDY)
    assert sample.tokens == [token for token in ids[4:] if token != END_OF_TEXT]
    assert sample.ended == (END_OF_TEXT in ids[4:])


def test_a_sample_does_not_depend_on_its_neighbours(gpt: GPT) -> None:
    sampling = Sampling(max_tokens=10, seed=3)
    several = generate(gpt, [1, 2], END_OF_TEXT, sampling, count=4)
    assert several[0] == generate(gpt, [1, 2], END_OF_TEXT, sampling)[0]
    assert len({tuple(sample.tokens) for sample in several}) > 1
    assert several == generate(gpt, [1, 2], END_OF_TEXT, sampling, count=4)
    other_seed = generate(gpt, [1, 2], END_OF_TEXT, dataclasses.replace(sampling, seed=4), count=4)
    assert several != other_seed


def test_stops_at_end_of_text() -> None:
    gpt = GPT(small_model(), seed=1)
    for weight in gpt.parameters():
        weight.data.zero_()
    gpt.norm.weight.data.fill_(1)
    gpt.embedding.weight.data[:] = -torch.ones(64)
    gpt.embedding.weight.data[END_OF_TEXT] = torch.ones(64)  # likeliest after itself, least likely after others
    assert generate(gpt, [], END_OF_TEXT, GREEDY) == [([], True)]
    [sample] = generate(gpt, [3], END_OF_TEXT, GREEDY)
    assert not sample.ended
    assert len(sample.tokens) == 12


def test_text_may_outgrow_the_context(gpt: GPT) -> None:
    sampling = Sampling(max_tokens=50, temperature=1.0, top_k=0)
    [sample] = generate(gpt, list(range(30)), VOCAB - 50, sampling)
    assert sample.ended or len(sample.tokens) == 50
    assert all(0 <= token < VOCAB for token in sample.tokens)


@given(
    logits=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.05, 1.0),
    temperature=st.floats(0.1, 3),
    seed=st.integers(0, 1000),
)
def test_drawn_ids_lie_in_top_k_and_top_p(
    logits: list[float], top_k: int, top_p: float, temperature: float, seed: int
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    drawn = draw(torch.tensor(logits), sampling, torch.Generator().manual_seed(seed))
    ranked = sorted(logits, reverse=True)
    if top_k:
        assert logits[drawn] >= ranked[min(top_k, len(ranked)) - 1]
    likelier = [logit for logit in logits if logit > logits[drawn]]
    kept = ranked[:top_k] if top_k else ranked
    probability = torch.tensor(kept, dtype=torch.float64).div(temperature).softmax(0)
    assert float(probability[: len(likelier)].sum()) < top_p + 1e-5


def test_draw_frequencies_follow_the_probabilities() -> None:
    probability_V = torch.tensor([0.5, 0.3, 0.15, 0.05])
    generator = torch.Generator().manual_seed(0)

    def frequencies(**settings: float) -> list[float]:
        sampling = Sampling(**{"temperature": 1.0, "top_k": 0, **settings})  # type: ignore[arg-type]
        counts = [0] * 4
        for _ in range(3000):
            counts[draw(probability_V.log(), sampling, generator)] += 1
        return [count / 3000 for count in counts]

    assert frequencies() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert frequencies(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert frequencies(top_p=0.85) == pytest.approx([0.526, 0.316, 0.158, 0], abs=0.03)
    assert frequencies(top_p=0.1) == [1, 0, 0, 0]
    assert frequencies(temperature=0.5) == pytest.approx([0.685, 0.247, 0.062, 0.007], abs=0.03)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_tokens", 0), ("temperature", -1.0), ("top_k", -1), ("top_p", 0.0), ("top_p", 1.5)],
)
def test_settings_out_of_bounds_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} = {value}"):
        Sampling(**{field: value})  # type: ignore[arg-type]
