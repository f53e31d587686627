"""Text from a model: prompts in, drawn tokens out.

Every sample has a random stream of its own, seeded by (seed, its number): the first of ten samples is the same
text as the only one of one, and a prompt among others is continued as it is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from model.decode import Decoder
from model.device import compute_dtype
from model.draw import Sampling, draw, uniforms
from model.gpt import GPT

__all__ = ["Sample", "Sampling", "generate", "generate_batch"]

# Texts at once: as many as keep a GPU busy, if their keys and values take no more than this.
MOST_ROWS = 64
CACHE_BYTES = {"cuda": 2**33, "cpu": 2**30}
# Steps between looks at what was drawn: a look waits for the device, and on a CPU there is nothing to wait for.
STEPS_A_LOOK = {"cuda": 16, "cpu": 1}

OnToken = Callable[[int, int], None]  # number of the sample, id
Until = Callable[[Sequence[int]], bool]  # tokens so far -> is that all?


class Sample(NamedTuple):
    tokens: list[int]  # after the prompt, without the end of text
    ended: bool  # by an end of text or `until`, not by max_tokens


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
    """`count` continuations of `prompt` (ids), each until an end of text, `until` or `max_tokens`.

    The prompt stands at the start of a document: an end of text goes before it, as in training. Of a prompt longer
    than the context the end counts, and a text that outgrows the context goes on from the later half of what is
    there. `on_token` hears of each token as soon as it is known; `until` is asked after each. `graph`: see
    `Decoder`.
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
    """For each prompt what `generate` gives for it alone; many at once, in their order, as they are done."""
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
    config, device = model.config, model.embedding.weight.device
    slot = 2 * config.layers * config.kv_heads * config.head_dim * compute_dtype(device).itemsize
    return max(1, min(MOST_ROWS, CACHE_BYTES[device.type] // (slot * config.context)))


@torch.no_grad()
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
    """A continuation of each prompt, from the random stream of its number."""
    context, most = model.config.context, sampling.max_tokens
    texts = [[end_of_text, *prompt][-context:] for prompt in prompts]
    lengths = [len(text) for text in texts]
    longest = min(context, max(lengths) + most - 1)
    random_BN = uniforms(sampling.seed, numbers, most)
    decoder = Decoder(model, random_BN, partial(draw, sampling=sampling), longest, graph)
    decoder.prefill(range(len(texts)), texts)
    steps_a_look = 1 if on_token else STEPS_A_LOOK[decoder.device.type]
    drawn: list[list[int]] = [[] for _ in texts]
    ended = [False] * len(texts)
    done = 0
    while done < most and not all(ended):
        full = [row for row, length in enumerate(lengths) if length > context]
        if full:
            # What has ended goes on as the shortest text there is.
            tails = [
                [end_of_text] if ended[row] else (texts[row] + drawn[row])[-max(1, context // 2) :] for row in full
            ]
            decoder.prefill(full, tails)
            for row, tail in zip(full, tails, strict=True):
                lengths[row] = len(tail)
        steps = min(steps_a_look, most - done, context + 1 - max(lengths))
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
                if on_token is not None:
                    on_token(numbers[row], token)
                ended[row] = until is not None and until(drawn[row])
        done += steps
    return [Sample(tokens, end) for tokens, end in zip(drawn, ended, strict=True)]
