"""Drawing the next token from logits: filter the candidates, then choose one by a random number.

The method is inverse transform sampling: the candidates lie end to end, each as long as its probability, and a uniform
number in [0, 1) points at one of them. A draw needs one number and no other state, on any device. Every row of a batch
has a number of its own, so that its draw does not depend on the other rows.

Tensor names: B rows, V vocabulary, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bpe import arguments

COLDEST = 1e-6  # below this temperature a draw is argmax; fp32 could not hold the divided logits


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits."""

    max_tokens: int = 200  # most tokens after the prompt
    temperature: float = 0.8  # divides the logits; 0 takes the likeliest token
    top_k: int = 50  # the candidates are this many likeliest tokens; 0: all tokens (arXiv:1805.04833)
    # Of these, the likeliest tokens whose probabilities add up to top_p remain (nucleus sampling, arXiv:1904.09751).
    top_p: float = 1.0
    seed: int = 0  # of the random numbers

    def __post_init__(self) -> None:
        for name, low in (("max_tokens", 1), ("top_k", 0), ("seed", None)):
            object.__setattr__(self, name, arguments.whole_number(name, getattr(self, name), low))
        for name, least in (("temperature", 0), ("top_p", None)):
            object.__setattr__(self, name, arguments.number(name, getattr(self, name), least))
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p = {self.top_p}: should be above 0 and at most 1")


def draw(logits_BV: Tensor, uniform_B: Tensor, sampling: Sampling) -> Tensor:
    """Draw one id for each row, (B,) in int64, from fp32 logits (B, V) and fp32 numbers (B,) in [0, 1).

    The candidates lie in order of probability, likeliest first; if all tokens are candidates, in order of ids. Nothing
    waits for the device, and shapes do not depend on values, so that a CUDA graph can record the draw.
    """
    if sampling.temperature < COLDEST:
        return logits_BV.argmax(-1)
    logits_BM, id_BM = candidates(logits_BV, sampling)
    mass_BM = (logits_BM / sampling.temperature).softmax(-1).cumsum(-1)
    if sampling.top_p < 1:
        last_B1 = (mass_BM[:, :-1] < sampling.top_p).sum(-1, keepdim=True)  # the first candidate that reaches top_p
    else:
        last_B1 = torch.full_like(uniform_B, mass_BM.shape[1] - 1, dtype=torch.int64)[:, None]
    total_B1 = mass_BM.gather(1, last_B1)
    # The point stays below the total, however the product rounds, so that no candidate without probability is drawn.
    point_B1 = torch.minimum(uniform_B[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    index_B1 = torch.searchsorted(mass_BM, point_B1, right=True)
    index_B1 = torch.minimum(index_B1, last_B1)  # a parallel cumsum may decrease by an ulp from one sum to the next
    return (index_B1 if id_BM is None else id_BM.gather(1, index_B1))[:, 0]


def candidates(logits_BV: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor | None]:
    """Logits and ids of the candidates, (B, M) each, likeliest first.

    If every token is a candidate and the order does not matter, the logits are unsorted and the ids None.
    """
    if 0 < sampling.top_k < logits_BV.shape[1]:
        return logits_BV.topk(sampling.top_k)  # much faster than to sort 100,000 logits
    if sampling.top_p < 1:
        return logits_BV.sort(descending=True, stable=True)
    return logits_BV, None


def uniforms(seed: int, streams: Sequence[int], count: int) -> Tensor:
    """Random numbers in [0, 1), (number of streams, count) in fp32. A row depends on `seed` and its stream alone."""
    generators = [torch.Generator().manual_seed(_stream_seed(seed, stream)) for stream in streams]
    return torch.stack([torch.rand(count, generator=generator) for generator in generators])


def _stream_seed(seed: int, stream: int) -> int:
    # Neighbouring seeds are far apart, so that sample 1 of seed 0 is not sample 0 of seed 1.
    return (seed * 1_000_003 + stream) % 2**63
