"""Sampling from a model. In: prompts. Out: drawn tokens.

Every sample draws from random numbers of its own, seeded by the seed and the sample's number. So the first of ten
samples is the text of a single sample, and a prompt is continued alike alone and among other prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from model.decode import Decoder
from model.device import compute_dtype
from model.draw import Sampling, draw, uniforms
from model.gpt import GPT

__all__ = ["Sample", "Sampling", "generate", "generate_batch", "generate_tokens"]

# Texts that are continued at once: as many as keep a GPU busy, but their keys and values must fit CACHE_BYTES.
MOST_ROWS = 64
CACHE_BYTES = {"cuda": 2**33, "cpu": 2**30}
# Steps between two reads of the drawn tokens. A read waits for a GPU; on a CPU there is nothing to wait for.
STEPS_A_READ = {"cuda": 16, "cpu": 1}

OnToken = Callable[[int, int], None]  # called with the number of a sample and a drawn id
Until = Callable[[Sequence[int]], bool]  # whether a sample ends after these ids


class Sample(NamedTuple):
    """A continuation of a prompt."""

    tokens: list[int]  # ids after the prompt, without the end-of-text token
    ended: bool  # by an end-of-text token or `until`, not by max_tokens


def generate(
    model: GPT,
    prompt: Sequence[int],
    end_of_text: int,
    sampling: Sampling,
    count: int = 1,
    on_token: OnToken | None = None,
    until: Until | None = None,
    graph: bool = True,
) -> list[Sample]:
    """`count` continuations of `prompt`, which is a list of ids.

    A sample ends at an end-of-text token, when `until` says so, or after `max_tokens` tokens.

    The prompt is the start of a document: an end-of-text token goes before it, as in training. If the prompt is longer
    than the context, its end is used. A text that becomes longer than the context continues from its later half.
    `on_token` is called with every token as soon as it is known, `until` after every token. `graph` says whether to
    decode by a CUDA graph (`Decoder`).
    """
    samples: list[Sample] = []
    most = rows_at_once(model)
    for first in range(0, count, most):
        numbers = range(first, min(first + most, count))
        samples += _continue(model, [prompt] * len(numbers), numbers, end_of_text, sampling, on_token, until, graph)
    return samples


def generate_batch(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    end_of_text: int,
    sampling: Sampling,
    count: int = 1,
    until: Until | None = None,
    graph: bool = True,
) -> Iterator[list[Sample]]:
    """For each prompt the samples that `generate` returns for it, in order; many prompts are continued at once."""
    rows = [(prompt, number) for prompt in prompts for number in range(count)]
    done: list[Sample] = []
    most = rows_at_once(model)
    for first in range(0, len(rows), most):
        some_prompts, numbers = zip(*rows[first : first + most], strict=True)
        done += _continue(model, some_prompts, numbers, end_of_text, sampling, None, until, graph)
        while len(done) >= count:
            yield done[:count]
            del done[:count]


def rows_at_once(model: GPT) -> int:
    """How many texts to continue at once; see MOST_ROWS."""
    config, device = model.config, model.embedding.weight.device
    slot_bytes = 2 * config.layers * config.kv_heads * config.head_dim * compute_dtype(device).itemsize
    return max(1, min(MOST_ROWS, CACHE_BYTES[device.type] // (slot_bytes * config.context)))


def generate_tokens(
    model: GPT, prompt: Sequence[int], end_of_text: int, sampling: Sampling, until: Until | None = None
) -> Iterator[int]:
    """The tokens of the one sample that `generate` returns, each as soon as it is drawn."""
    for _, token in _drawn(model, [prompt], [0], end_of_text, sampling, until, at_once=True):
        yield token


def _continue(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    end_of_text: int,
    sampling: Sampling,
    on_token: OnToken | None,
    until: Until | None,
    graph: bool,
) -> list[Sample]:
    """A continuation of each prompt, drawn with the random numbers of its number."""
    draws = _drawn(model, prompts, numbers, end_of_text, sampling, until, on_token is not None, graph)
    while True:
        try:
            row, token = next(draws)
        except StopIteration as end:
            samples: list[Sample] = end.value
            return samples
        if on_token is not None:
            on_token(numbers[row], token)


@torch.no_grad()
def _drawn(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    end_of_text: int,
    sampling: Sampling,
    until: Until | None,
    at_once: bool,
    graph: bool = True,
) -> Generator[tuple[int, int], None, list[Sample]]:
    """The number of a prompt and a token drawn after it, again and again; at the end a continuation of each prompt.

    `at_once` says whether each token is read from the device as soon as it is drawn.
    """
    context, most = model.config.context, sampling.max_tokens
    texts = [[end_of_text, *prompt][-context:] for prompt in prompts]
    lengths = [len(text) for text in texts]
    longest = min(context, max(lengths) + most - 1)
    random_BN = uniforms(sampling.seed, numbers, most)
    decoder = Decoder(model, random_BN, partial(draw, sampling=sampling), longest, graph)
    decoder.prefill(range(len(texts)), texts)
    steps_a_read = 1 if at_once else STEPS_A_READ[decoder.device.type]
    drawn: list[list[int]] = [[] for _ in texts]
    ended = [False] * len(texts)
    done = 0
    while done < most and not all(ended):
        full = [row for row, length in enumerate(lengths) if length > context]
        if full:
            # A text that has ended is replaced by the shortest text.
            tails = [
                [end_of_text] if ended[row] else (texts[row] + drawn[row])[-max(1, context // 2) :] for row in full
            ]
            decoder.prefill(full, tails)
            for row, tail in zip(full, tails, strict=True):
                lengths[row] = len(tail)
        steps = min(steps_a_read, most - done, context + 1 - max(lengths))
        for _ in range(steps):
            decoder.step()
        for row, tokens in enumerate(decoder.drawn(done, done + steps)):
            lengths[row] += steps
            for token in tokens:
                if ended[row]:
                    break
                if token == end_of_text:
                    ended[row] = True
                    break
                drawn[row].append(token)
                yield row, token
                ended[row] = until is not None and until(drawn[row])
        done += steps
    return [Sample(tokens, end) for tokens, end in zip(drawn, ended, strict=True)]
