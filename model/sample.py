"""Text from a model, a token at a time, each token computed once (KV cache).

Every sample has a random stream of its own, seeded by (seed, its number): the first of ten samples is the
same text as the only one of one. Drawing happens on the CPU in fp32, whatever the device of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.device import autocast, compute_dtype
from model.gpt import GPT


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits."""

    max_tokens: int = 200  # most tokens after the prompt
    temperature: float = 0.8  # divides the logits; 0 takes the likeliest token
    top_k: int = 50  # draw among this many likeliest tokens; 0: among all (arXiv:1805.04833)
    top_p: float = 1.0  # and among the fewest whose probabilities reach this (nucleus, arXiv:1904.09751)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens = {self.max_tokens}: should be at least 1")
        if not self.temperature >= 0:
            raise ValueError(f"temperature = {self.temperature}: should be at least 0")
        if self.top_k < 0:
            raise ValueError(f"top_k = {self.top_k}: should be at least 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: should be above 0 and at most 1")


class Sample(NamedTuple):
    tokens: list[int]  # after the prompt, without the end of text
    ended: bool  # by an end of text, not by max_tokens


@torch.no_grad()
def generate(model: GPT, prompt: Sequence[int], end_of_text: int, sampling: Sampling, count: int = 1) -> list[Sample]:
    """`count` continuations of `prompt` (ids).

    The prompt stands at the start of a document: an end of text goes before it, as in training. A text that
    outgrows the context goes on from the later half of what is there.
    """
    context, device = model.config.context, model.embedding.weight.device
    generators = [torch.Generator().manual_seed(_stream_seed(sampling.seed, row)) for row in range(count)]
    seen_BT = torch.tensor([[end_of_text, *prompt][-context:]] * count, device=device)
    caches = model.new_caches(count, compute_dtype(device))
    fresh_BT = seen_BT
    samples: list[list[int]] = [[] for _ in range(count)]
    ended = [False] * count
    for _ in range(sampling.max_tokens):
        if caches[0].length == context:
            caches = model.new_caches(count, compute_dtype(device))
            fresh_BT = seen_BT[:, -max(1, context // 2) :]
        with autocast(device):
            logits_BV = model.logits(fresh_BT, caches, last=True)[:, 0].cpu()
        drawn = [draw(logits_BV[row], sampling, generators[row]) for row in range(count)]
        for row, token in enumerate(drawn):
            ended[row] = ended[row] or token == end_of_text
            if not ended[row]:
                samples[row].append(token)
        if all(ended):
            break
        fresh_BT = torch.tensor(drawn, device=device)[:, None]
        seen_BT = torch.cat((seen_BT, fresh_BT), dim=1)
    return [Sample(tokens, end) for tokens, end in zip(samples, ended, strict=True)]


def draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One id from fp32 logits."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    logits_V = logits_V / sampling.temperature
    if 0 < sampling.top_k < len(logits_V):
        kth = logits_V.topk(sampling.top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < kth, -torch.inf)
    probability_V = logits_V.softmax(-1)
    if sampling.top_p < 1:
        sorted_V, order_V = probability_V.sort(descending=True, stable=True)
        before_V = sorted_V.cumsum(-1) - sorted_V  # mass of the likelier ones; 0 for the first, which stays
        probability_V = probability_V.index_fill(0, order_V[before_V >= sampling.top_p], 0.0)
    return int(torch.multinomial(probability_V, 1, generator=generator))


def _stream_seed(seed: int, row: int) -> int:
    # Far apart for neighbouring seeds, so that sample 1 of seed 0 is not sample 0 of seed 1.
    return (seed * 1_000_003 + row) % 2**63
