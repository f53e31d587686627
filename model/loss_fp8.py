"""The loss with its three matrix products in 8-bit floating point, which Hopper and later GPUs compute twice as fast.

The output head is a third to a half of a small model's work. Hidden states and head are converted to float8_e4m3, each
with one scale, so that its largest number becomes the largest that the format has. Gradients of logits are converted
to float8_e5m2 with a fixed scale, because their largest value is known. (The formats: arXiv:2209.05433; only the head
in fp8: modded-nanogpt.) Softmax, loss and sums are as in model/loss.py. cuBLAS multiplies 8-bit matrices only if the
summed dimension is the last one of both, hence the transposed copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from model.loss_kernel import GRADIENT_SCALE, logits_to_fp8_gradient, transposed

Parts = Iterator[tuple[Tensor, Tensor, Tensor]]  # as in model/loss.py, which imports this module

LARGEST = 448.0  # the largest number of float8_e4m3fn
MULTIPLE = 16  # cuBLAS wants both dimensions of a matrix to be multiples of this


def fp8_parts(
    x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, least_parts: int, vocab_size: int, soft_cap: float
) -> Callable[[Tensor, Tensor], Parts] | None:
    """What yields the parts for `model.loss.cross_entropy`: at least `least_parts` parts of one size.

    None if a matrix has a size that cuBLAS does not multiply.
    """
    tiles, rest = divmod(len(x_NC), MULTIPLE)
    if rest or x_NC.shape[1] % MULTIPLE or len(head_VC) % MULTIPLE:
        return None
    fitting = (count for count in range(least_parts, tiles + 1) if tiles % count == 0)
    count = next(fitting) if least_parts < tiles else tiles

    def make_parts(x_NC: Tensor, head_VC: Tensor) -> Parts:
        x8_NC, x_scale = quantised(x_NC)
        head8_VC, head_scale = quantised(head_VC)
        head8_CV = transposed(head8_VC)
        gradient_scale = torch.full((), 1 / GRADIENT_SCALE, device=x_NC.device)
        for x8_nC, targets_n in zip(x8_NC.tensor_split(count), targets_N.tensor_split(count), strict=True):
            logits_nV = product(x8_nC, head8_VC, x_scale, head_scale)
            loss_n, gradient8_nV = logits_to_fp8_gradient(logits_nV, targets_n, vocab_size, soft_cap)
            del logits_nV
            x_gradient_nC = product(gradient8_nV, head8_CV, gradient_scale, head_scale)
            part_VC = product(transposed(gradient8_nV), transposed(x8_nC), gradient_scale, x_scale)
            yield loss_n.sum(), x_gradient_nC, part_VC

    return make_parts


def quantised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix divided by a scale, in float8_e4m3fn, and that scale: an fp32 scalar on the matrix's device."""
    scale = torch.linalg.vector_norm(matrix, float("inf"), dtype=torch.float32).clamp_min(1e-12) / LARGEST
    return (matrix * scale.reciprocal()).to(torch.float8_e4m3fn), scale


def product(left_IK: Tensor, right_JK: Tensor, left_scale: Tensor, right_scale: Tensor) -> Tensor:
    """left @ right.T, (I, J) in bf16, of two 8-bit matrices with their scales."""
    result_IJ: Tensor = torch._scaled_mm(
        left_IK, right_JK.t(), left_scale, right_scale, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return result_IJ
