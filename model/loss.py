"""Cross-entropy of a large vocabulary without its logits: a part of the tokens at a time.

The logits of 64 sequences of 1,024 tokens over 100,000 ids are 13 GB in bf16, twice that in fp32, and softmax and
its gradient read and write them several times. Here they exist for `LOGIT_BYTES` of tokens at a time, and
only once: while a part's logits are there, their gradient takes their place, and from it come the gradients of
the hidden states and of the head, in the forward pass. The backward pass only scales them. (The idea is older than
its name: Liger kernel, arXiv:2410.10989; torchtitan's chunked loss.) No product is computed twice. Inside, softmax
and sums are fp32 whatever the products are computed in.

Tensor names: N tokens, n tokens of a part, C channels, V vocabulary (padded).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Of one part's logits. On CUDA few large products are fastest; on a CPU a part should stay near its caches.
LOGIT_BYTES = {"cuda": 2**31, "cpu": 2**22}


def cross_entropy(
    x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float = 0.0, fp8: bool = False
) -> Tensor:
    """Mean nats a token of `softmax(head x)` over the first `vocab_size` ids; with a cap, of cap * tanh(. / cap).

    Differentiable once in `x_NC` and `head_VC`. `fp8`: products in 8 bits, on CUDA (model/loss_fp8.py).
    """
    total: Tensor | None = None
    if fp8:
        from model.loss_fp8 import summed_loss

        total = summed_loss(x_NC, head_VC, targets_N, _part_count(x_NC, len(head_VC)), vocab_size, soft_cap)
    if total is None:
        total = _SummedLoss.apply(x_NC, head_VC, targets_N, vocab_size, soft_cap)  # type: ignore[no-untyped-call]
    mean: Tensor = total / len(targets_N)
    return mean


@torch.no_grad()
def token_losses(x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float = 0.0) -> Tensor:
    """Nats of each token, (N,) in fp32: `cross_entropy` for scoring."""
    head_VC = head_VC.to(x_NC.dtype)
    losses = []
    for x_nC, targets_n in _parts(x_NC, targets_N, len(head_VC)):
        logits_nV = capped(F.linear(x_nC, head_VC).float(), soft_cap)[:, :vocab_size]
        losses.append(F.cross_entropy(logits_nV, targets_n, reduction="none"))
    return torch.cat(losses)


def capped(logits: Tensor, soft_cap: float) -> Tensor:
    """cap * tanh(logits / cap): close to the identity well below the cap, never beyond it."""
    return soft_cap * torch.tanh(logits / soft_cap) if soft_cap else logits


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_NC: Tensor,
        head_VC: Tensor,
        targets_N: Tensor,
        vocab_size: int,
        soft_cap: float,
    ) -> Tensor:
        to_gradient = _kernel(x_NC.device.type)
        low_VC = head_VC.to(x_NC.dtype)
        total = torch.zeros((), device=x_NC.device)
        x_gradients = []
        head_gradient_VC: Tensor | None = None
        for x_nC, targets_n in _parts(x_NC, targets_N, len(head_VC)):
            logits_nV = F.linear(x_nC, low_VC)
            loss_n, logits_nV = to_gradient(logits_nV, targets_n, vocab_size, soft_cap)
            total += loss_n.sum()
            x_gradients.append(logits_nV @ low_VC)
            part_VC = logits_nV.T @ x_nC
            head_gradient_VC = part_VC.float() if head_gradient_VC is None else head_gradient_VC.add_(part_VC)
            del logits_nV
        ctx.save_for_backward(torch.cat(x_gradients), head_gradient_VC)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient_NC, head_gradient_VC = ctx.saved_tensors
        # A mean over 65,536 tokens: the scale comes last, where fp32 does not lose what bf16 would round away.
        return x_gradient_NC * gradients[0].to(x_gradient_NC.dtype), head_gradient_VC * gradients[0], *(None,) * 3


def logits_to_gradient(logits_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float) -> tuple[Tensor, Tensor]:
    """Losses (n,) and, in the memory of `logits_nV` and their type, the gradient of the losses' sum: p - 1[target]."""
    squashed_nV = capped(logits_nV.float(), soft_cap)
    if vocab_size < logits_nV.shape[1]:
        squashed_nV[:, vocab_size:] = -torch.inf  # padding: no probability, no gradient
    log_p_nV = squashed_nV.log_softmax(-1)
    loss_n = -log_p_nV.gather(1, targets_n[:, None])[:, 0]
    gradient_nV = log_p_nV.exp_()
    gradient_nV.scatter_add_(1, targets_n[:, None], gradient_nV.new_full((len(targets_n), 1), -1.0))
    if soft_cap:
        gradient_nV *= 1 - (capped(logits_nV.float(), soft_cap) / soft_cap).square()
    return loss_n, gradient_nV.to(logits_nV.dtype)


@cache
def _kernel(device_type: str) -> Callable[[Tensor, Tensor, int, float], tuple[Tensor, Tensor]]:
    """The fastest form of `logits_to_gradient` for a device."""
    if device_type == "cuda" and importlib.util.find_spec("triton"):
        from model.loss_kernel import logits_to_gradient as fused

        return fused
    return logits_to_gradient


def _parts(x_NC: Tensor, targets_N: Tensor, vocabulary: int) -> list[tuple[Tensor, Tensor]]:
    count = _part_count(x_NC, vocabulary)
    return list(zip(x_NC.tensor_split(count), targets_N.tensor_split(count), strict=True))


def _part_count(x_NC: Tensor, vocabulary: int) -> int:
    """As few nearly equal parts as keep a part's logits within LOGIT_BYTES."""
    most = max(1, LOGIT_BYTES[x_NC.device.type] // (vocabulary * x_NC.element_size()))
    return -(-len(x_NC) // most)
