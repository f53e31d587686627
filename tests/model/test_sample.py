"""Sampling: equal to one whole forward pass a token, ends where it should, and independent of other samples."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model import sample as sampler
from model.draw import draw, uniforms
from model.gpt import GPT
from model.sample import Sample, Sampling, generate, generate_batch, rows_at_once
from tests.oracles.model_generate import continuation
from tests.support.model_shards import END_OF_TEXT, SHAPES, VOCAB, small_model

GREEDY = Sampling(max_tokens=12, temperature=0)


def opinionated(**changes: Any) -> GPT:
    """A model with large random weights, so that its logits differ clearly."""
    model = GPT(small_model(**changes), seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


MODELS = {shape: opinionated(**fields) for shape, fields in SHAPES.items()}


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return MODELS["default"]


def without_cache(model: GPT, prompt: list[int], end_of_text: int, sampling: Sampling, number: int) -> Sample:
    random_N = uniforms(sampling.seed, [number], sampling.max_tokens)[0]

    def drawn(logits_V: Tensor, step: int) -> int:
        return int(draw(logits_V[None], random_N[step : step + 1], sampling))

    return Sample(*continuation(model, prompt, end_of_text, sampling.max_tokens, drawn))


@settings(max_examples=40)
@given(
    shape=st.sampled_from(list(SHAPES)),
    prompts=st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=24), min_size=1, max_size=4),
    count=st.integers(1, 2),
    end_of_text=st.integers(0, VOCAB - 1),
    max_tokens=st.integers(1, 40),
    temperature=st.sampled_from([0.0, 0.8, 3.0]),
    top_k=st.sampled_from([0, 2, 50]),
    top_p=st.sampled_from([0.5, 1.0]),
    seed=st.integers(0, 100),
)
def test_text_is_that_of_a_whole_forward_a_token(
    shape: str,
    prompts: list[list[int]],
    count: int,
    end_of_text: int,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
) -> None:
    """For prompts of many lengths at once, within the context of 16 and beyond, with end-of-text tokens inside."""
    model, sampling = MODELS[shape], Sampling(max_tokens, temperature, top_k, top_p, seed)
    answers = list(generate_batch(model, prompts, end_of_text, sampling, count))
    assert len(answers) == len(prompts)
    for prompt, samples in zip(prompts, answers, strict=True):
        alone = [without_cache(model, prompt, end_of_text, sampling, number) for number in range(count)]
        assert samples == alone
        assert generate(model, prompt, end_of_text, sampling, count) == alone


def test_a_sample_does_not_depend_on_its_neighbours(gpt: GPT) -> None:
    sampling = Sampling(max_tokens=10, seed=3)
    several = generate(gpt, [1, 2], END_OF_TEXT, sampling, count=4)
    assert several[0] == generate(gpt, [1, 2], END_OF_TEXT, sampling)[0]
    assert len({tuple(sample.tokens) for sample in several}) > 1
    assert several == generate(gpt, [1, 2], END_OF_TEXT, sampling, count=4)
    other_seed = generate(gpt, [1, 2], END_OF_TEXT, dataclasses.replace(sampling, seed=4), count=4)
    assert several != other_seed


def test_many_samples_take_several_rounds(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(max_tokens=5, seed=3)
    whole = generate(gpt, [1, 2], END_OF_TEXT, sampling, count=7)
    prompts = [[1], [2, 3], [4]]
    batch = list(generate_batch(gpt, prompts, END_OF_TEXT, sampling, count=2))
    monkeypatch.setattr(sampler, "MOST_ROWS", 3)
    assert generate(gpt, [1, 2], END_OF_TEXT, sampling, count=7) == whole
    assert list(generate_batch(gpt, prompts, END_OF_TEXT, sampling, count=2)) == batch


def test_as_many_rows_as_their_cache_has_room_for(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    a_row = 2 * 2 * 2 * 16 * 4 * 16  # keys and values, layers, key heads, channels, bytes, context
    assert rows_at_once(gpt) == sampler.MOST_ROWS
    monkeypatch.setitem(sampler.CACHE_BYTES, "cpu", 5 * a_row + 1)
    assert rows_at_once(gpt) == 5
    monkeypatch.setitem(sampler.CACHE_BYTES, "cpu", 1)
    assert rows_at_once(gpt) == 1


def test_rarer_looks_give_the_same(gpt: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where several steps run before the host reads the tokens: tokens after the end are dropped."""
    several = partial(generate, gpt, [1, 2], 7, Sampling(max_tokens=45, temperature=3.0, top_k=0), 6)
    often = several()
    assert any(sample.ended for sample in often)
    monkeypatch.setitem(sampler.STEPS_A_READ, "cpu", 16)
    assert several() == often


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


def test_tokens_are_told_as_they_come_until_the_caller_has_enough(gpt: GPT) -> None:
    sampling = Sampling(max_tokens=30, temperature=1.0)
    [whole] = generate(gpt, [1], END_OF_TEXT, sampling)
    assert len(whole.tokens) > 10
    reported: list[tuple[int, int]] = []
    asked: list[int] = []

    def enough(tokens: Any) -> bool:
        asked.append(len(tokens))
        assert len(reported) == len(tokens)  # on_token is called before until
        return len(tokens) == 10

    [sample] = generate(gpt, [1], END_OF_TEXT, sampling, 1, lambda *token: reported.append(token), enough)
    assert sample == (whole.tokens[:10], True)
    assert reported == [(0, token) for token in sample.tokens]
    assert asked == list(range(1, 11))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_writes_the_same_with_and_without_a_graph(shape: str) -> None:
    model = opinionated(**SHAPES[shape]).to("cuda")
    prompts = [[], [1, 2, 3], list(range(14)), [5] * 40]
    for sampling in (
        dataclasses.replace(GREEDY, max_tokens=40),
        Sampling(40, top_k=5, top_p=0.9),
        Sampling(40, top_k=0, top_p=0.9),
        Sampling(40, top_k=0),
    ):
        plain, replayed = (
            list(generate_batch(model, prompts, END_OF_TEXT, sampling, 2, graph=graph)) for graph in (False, True)
        )
        assert plain == replayed
        told_tokens(model, prompts[1], sampling)


def told_tokens(model: GPT, prompt: list[int], sampling: Sampling) -> list[int]:
    reported: list[int] = []
    [sample] = generate(model, prompt, END_OF_TEXT, sampling, 1, lambda _, token: reported.append(token))
    assert sample.tokens == reported
    return reported
