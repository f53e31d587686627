"""The loss with its three products in 8-bit floating point, which Hopper and later GPUs compute twice as fast as bf16.

The output head is a third to a half of a small model's work. Hidden states and head go into float8_e4m3 with one scale
each (their largest number becomes the largest there is), gradients of logits into float8_e5m2 with a fixed one, as
their largest is known (formats: arXiv:2209.05433; the head alone in fp8, as modded-nanogpt trains). Softmax, loss and
sums stay as they are (model/loss.py). cuBLAS multiplies 8-bit matrices only where both have the summed dimension last,
hence the transposed copies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.loss_kernel import GRADIENT_SCALE, logits_to_fp8_gradient, transposed

LARGEST = 448.0  # of float8_e4m3fn
MULTIPLE = 16  # of both dimensions of a matrix, for cuBLAS


def summed_loss(
    x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, parts: int, vocab_size: int, soft_cap: float
) -> Tensor | None:
    """The sum of all tokens' losses, computed in at least so many parts of one size; None where matrices have sizes
    that cuBLAS does not multiply.
    """
    tiles, left = divmod(len(x_NC), MULTIPLE)
    if left or x_NC.shape[1] % MULTIPLE or len(head_VC) % MULTIPLE:
        return None
    count = next(count for count in range(parts, tiles + 1) if tiles % count == 0) if parts < tiles else tiles
    total: Tensor = _SummedLoss.apply(x_NC, head_VC, targets_N, count, vocab_size, soft_cap)  # type: ignore[no-untyped-call]
    return total


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, parts: int, vocab_size: int, soft_cap: float
    ) -> Tensor:
        x8_NC, x_scale = quantised(x_NC)
        head8_VC, head_scale = quantised(head_VC)
        head8_CV = transposed(head8_VC)
        gradient_scale = torch.full((), 1 / GRADIENT_SCALE, device=x_NC.device)
        total = torch.zeros((), device=x_NC.device)
        x_gradients = []
        head_gradient_VC: Tensor | None = None
        for x8_nC, targets_n in zip(x8_NC.tensor_split(parts), targets_N.tensor_split(parts), strict=True):
            logits_nV = product(x8_nC, head8_VC, x_scale, head_scale)
            loss_n, gradient8_nV = logits_to_fp8_gradient(logits_nV, targets_n, vocab_size, soft_cap)
            del logits_nV
            total += loss_n.sum()
            x_gradients.append(product(gradient8_nV, head8_CV, gradient_scale, head_scale))
            part_VC = product(transposed(gradient8_nV), transposed(x8_nC), gradient_scale, x_scale)
            head_gradient_VC = part_VC.float() if head_gradient_VC is None else head_gradient_VC.add_(part_VC)
        ctx.save_for_backward(torch.cat(x_gradients).to(x_NC.dtype), head_gradient_VC)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient_NC, head_gradient_VC = ctx.saved_tensors
        return x_gradient_NC * gradients[0].to(x_gradient_NC.dtype), head_gradient_VC * gradients[0], *(None,) * 4


def quantised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """In float8_e4m3, and the number (on the device) that it has to be multiplied by."""
    scale = torch.linalg.vector_norm(matrix, float("inf"), dtype=torch.float32).clamp_min(1e-12) / LARGEST
    return (matrix * scale.reciprocal()).to(torch.float8_e4m3fn), scale


def product(left_IK: Tensor, right_JK: Tensor, left_scale: Tensor, right_scale: Tensor) -> Tensor:
    """left right^T in bf16."""
    result: Tensor = torch._scaled_mm(
        left_IK, right_JK.t(), left_scale, right_scale, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return result
