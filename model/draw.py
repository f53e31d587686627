"""The next token from logits: which are kept, and which of those a random number means.

Inverse transform sampling: the kept tokens lie end to end, each as long as its probability, and a uniform number
in [0, 1) points at one. So a token takes one number and no other state, whatever the device; and since every row of
a batch brings its own number, what is drawn for it does not depend on the other rows.

B rows, V vocabulary, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

COLDEST = 1e-6  # logits over a lower temperature leave fp32; it is argmax long before


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


def draw(logits_BV: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
    """Ids (B,) from fp32 logits and fp32 numbers in [0, 1).

    Candidates lie in the order of their probability, likeliest first, or of their ids where all are candidates.
    Nothing waits for the device, and shapes do not depend on values.
    """
    if sampling.temperature < COLDEST:
        return logits_BV.argmax(-1)
    logits_BM, id_BM = candidates(logits_BV, sampling)
    mass_BM = (logits_BM / sampling.temperature).softmax(-1).cumsum(-1)
    if sampling.top_p < 1:
        last_B1 = (mass_BM[:, :-1] < sampling.top_p).sum(-1, keepdim=True)  # the first that reaches top_p
    else:
        last_B1 = torch.full_like(uniform_B, mass_BM.shape[1] - 1, dtype=torch.int64)[:, None]
    total_B1 = mass_BM.gather(1, last_B1)
    # Below the total, however a product rounds: what has no probability is never met.
    point_B1 = torch.minimum(uniform_B[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    index_B1 = torch.searchsorted(mass_BM, point_B1, right=True)
    index_B1 = torch.minimum(index_B1, last_B1)  # sums made in parallel may come out of order by an ulp
    return (index_B1 if id_BM is None else id_BM.gather(1, index_B1))[:, 0]


def candidates(logits_BV: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor | None]:
    """Logits and ids (B, M) of the top k, likeliest first; without ids all of them, where order does not matter."""
    if 0 < sampling.top_k < logits_BV.shape[1]:
        return logits_BV.topk(sampling.top_k)  # much less than a sort of 100,000
    if sampling.top_p < 1:
        return logits_BV.sort(descending=True, stable=True)
    return logits_BV, None


def uniforms(seed: int, streams: Sequence[int], count: int) -> Tensor:
    """(streams, count) fp32 numbers in [0, 1): the same for the same seed and stream, whatever the others."""
    generators = [torch.Generator().manual_seed(_stream_seed(seed, stream)) for stream in streams]
    return torch.stack([torch.rand(count, generator=generator) for generator in generators])


def _stream_seed(seed: int, stream: int) -> int:
    # Far apart for neighbouring seeds, so that sample 1 of seed 0 is not sample 0 of seed 1.
    return (seed * 1_000_003 + stream) % 2**63
