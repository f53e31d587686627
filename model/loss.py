"""Cross-entropy over a large vocabulary, computed for a part of the tokens at a time.

In: the hidden states of N tokens, the output head and the targets. Out: the loss, and in the backward pass the
gradients of the hidden states and of the head.

The logits of 64 sequences of 1,024 tokens over 100,000 ids take 13 GB in bf16 and twice that in fp32, and softmax and
its gradient read and write them several times. Here only the logits of one part of the tokens exist at a time, at most
`LOGIT_BYTES`. The forward pass already computes the gradients: it overwrites a part's logits with their gradient and
multiplies that by the head and by the hidden states. The backward pass only scales the results. So no matrix product is
computed twice. The idea is that of Liger kernel (arXiv:2410.10989) and of torchtitan's chunked loss. Softmax and sums
are fp32, whatever the products are computed in.

Tensor names: N tokens, n tokens of one part, C channels, V vocabulary (padded).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Most bytes of logits in one part. On CUDA few large products are fastest; on a CPU a part should stay near its caches.
LOGIT_BYTES = {"cuda": 2**31, "cpu": 2**22}

# For each part of the tokens: the sum of its losses (fp32), the gradient of its hidden states (n, C), and what it adds
# to the gradient of the head (V, C).
Parts = Iterator[tuple[Tensor, Tensor, Tensor]]


def cross_entropy(
    x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float = 0.0, fp8: bool = False
) -> Tensor:
    """The mean loss in nats a token, a scalar in fp32: -log softmax(head x) at the target.

    `x_NC` are hidden states, `head_VC` is the output head, `targets_N` are ids in int64. The softmax is over the first
    `vocab_size` ids; with a `soft_cap` over cap * tanh(logits / cap). With `fp8` the products are computed in 8 bits,
    on CUDA (model/loss_fp8.py), if the matrices have sizes that allow it. Differentiable once in `x_NC` and `head_VC`.
    """
    make_parts: Callable[[Tensor, Tensor], Parts] | None = None
    if fp8:
        from model.loss_fp8 import fp8_parts

        make_parts = fp8_parts(x_NC, head_VC, targets_N, part_count(x_NC, len(head_VC)), vocab_size, soft_cap)
    if make_parts is None:

        def make_parts(x_NC: Tensor, head_VC: Tensor) -> Parts:
            return _parts_in_dtype(x_NC, head_VC, targets_N, vocab_size, soft_cap)

    total: Tensor = _SummedLoss.apply(x_NC, head_VC, make_parts)  # type: ignore[no-untyped-call]
    return total / len(targets_N)


@torch.no_grad()
def token_losses(x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float = 0.0) -> Tensor:
    """The loss of each token in nats, (N,) in fp32, for scoring; parameters as in `cross_entropy`. Has no gradient."""
    head_VC = head_VC.to(x_NC.dtype)
    losses = []
    for x_nC, targets_n in _split(x_NC, targets_N, len(head_VC)):
        logits_nV = capped(F.linear(x_nC, head_VC).float(), soft_cap)[:, :vocab_size]
        losses.append(F.cross_entropy(logits_nV, targets_n, reduction="none"))
    return torch.cat(losses)


def capped(logits: Tensor, soft_cap: float) -> Tensor:
    """cap * tanh(logits / cap): close to the identity well below the cap, never beyond it; 0 means no cap."""
    return soft_cap * torch.tanh(logits / soft_cap) if soft_cap else logits


class _SummedLoss(torch.autograd.Function):
    """The sum of all tokens' losses, from the parts that `make_parts(x_NC, head_VC)` yields."""

    @staticmethod
    def forward(ctx: Any, x_NC: Tensor, head_VC: Tensor, make_parts: Callable[[Tensor, Tensor], Parts]) -> Tensor:
        total = torch.zeros((), device=x_NC.device)
        x_gradients = []
        head_gradient_VC: Tensor | None = None
        for loss, x_gradient_nC, part_VC in make_parts(x_NC, head_VC):
            total += loss
            x_gradients.append(x_gradient_nC)
            head_gradient_VC = part_VC.float() if head_gradient_VC is None else head_gradient_VC.add_(part_VC)
        ctx.save_for_backward(torch.cat(x_gradients).to(x_NC.dtype), head_gradient_VC)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient_NC, head_gradient_VC = ctx.saved_tensors
        # The loss is a mean over up to 65,536 tokens. Dividing last keeps in fp32 what bf16 would round away.
        return x_gradient_NC * gradients[0].to(x_gradient_NC.dtype), head_gradient_VC * gradients[0], None


def _parts_in_dtype(x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float) -> Parts:
    """The parts with all products in the dtype of `x_NC`."""
    to_gradient = _kernel(x_NC.device.type)
    low_VC = head_VC.to(x_NC.dtype)
    for x_nC, targets_n in _split(x_NC, targets_N, len(head_VC)):
        logits_nV = F.linear(x_nC, low_VC)
        loss_n, gradient_nV = to_gradient(logits_nV, targets_n, vocab_size, soft_cap)
        del logits_nV  # where the gradient is a tensor of its own
        yield loss_n.sum(), gradient_nV @ low_VC, gradient_nV.T @ x_nC
        del gradient_nV  # before the next part's logits are made


def logits_to_gradient(logits_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float) -> tuple[Tensor, Tensor]:
    """Logits -> losses, (n,) in fp32, and the gradient of their sum, p - 1[target], (n, V) in the logits' dtype.

    The logits may be overwritten.
    """
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


def _split(x_NC: Tensor, targets_N: Tensor, vocabulary: int) -> list[tuple[Tensor, Tensor]]:
    """Hidden states (n, C) and targets (n,) of each part."""
    count = part_count(x_NC, vocabulary)
    return list(zip(x_NC.tensor_split(count), targets_N.tensor_split(count), strict=True))


def part_count(x_NC: Tensor, vocabulary: int) -> int:
    """The smallest number of nearly equal parts that keeps a part's logits within LOGIT_BYTES."""
    most = max(1, LOGIT_BYTES[x_NC.device.type] // (vocabulary * x_NC.element_size()))
    return -(-len(x_NC) // most)
