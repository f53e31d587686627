"""Softmax, loss and gradient of the logits of one part of the tokens, in one kernel (Triton, CUDA only).

One program computes one row: the logits of one token. It reads the row twice, the second time from the cache, and
writes it once. The first pass keeps, in each thread, the highest logit and the sum of the exponentials relative to it
(online softmax, arXiv:1805.02867). The second pass writes p - 1[target]. All arithmetic is fp32. The gradient
overwrites the logits; for products in fp8 it goes into a matrix of its own, multiplied by GRADIENT_SCALE.

The number of instructions decides the speed. A version that rescaled the sum for every logit, not once for the EACH
logits that a thread reads at a time, and that compared every position with the target, was limited by arithmetic and
not by memory: 2.2 ms instead of an expected 0.9 for 16,384 rows of 50,304 on an H200.

Tensor names: n tokens of one part, V vocabulary (padded).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

THREADS = 1024  # of a program
EACH = 8  # logits that a thread reads at a time: 16 bytes of bf16
# Gradients in float8_e5m2 are multiplied by this. The format's largest number is 57,344 and its smallest 2^-16: the
# largest gradient, 1, stays far below the largest number, and probabilities down to 4e-9 stay above the smallest.
GRADIENT_SCALE = 2.0**12
TILE = 64  # rows and columns that one program transposes


@triton.jit
def _kernel(
    logits_ptr,
    gradients_ptr,
    targets_ptr,
    losses_ptr,
    vocab_size,
    columns,
    cap,
    scale,
    CAPPED: tl.constexpr,
    THREADS: tl.constexpr,
    EACH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * columns
    gradients_ptr += row * columns
    target = tl.load(targets_ptr + row)
    ids = tl.arange(0, THREADS)[:, None] * EACH + tl.arange(0, EACH)[None, :]
    # Blocks of THREADS * EACH logits that lie inside the vocabulary are read without a mask: a mask that ends at a
    # vocabulary size that is no multiple of 8 would forbid wide loads.
    whole = vocab_size // (THREADS * EACH) * (THREADS * EACH)
    # Each thread has a highest logit and a sum of its own, so that one rescaling serves the EACH logits that it reads
    # at a time. The start is finite, because a thread may read nothing but -inf, and -inf - -inf is not a number.
    highest = tl.full((THREADS,), -1e30, tl.float32)
    total = tl.zeros((THREADS,), tl.float32)
    for start in range(0, whole, THREADS * EACH):
        x = _capped(tl.load(logits_ptr + start + ids).to(tl.float32), cap, CAPPED)
        highest, total = _add(highest, total, x)
    for start in range(whole, columns, THREADS * EACH):
        x = tl.load(logits_ptr + start + ids, mask=start + ids < columns, other=0.0).to(tl.float32)
        x = tl.where(start + ids < vocab_size, _capped(x, cap, CAPPED), -float("inf"))
        highest, total = _add(highest, total, x)
    top = tl.max(highest, 0)
    log_z = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    at_target = tl.load(logits_ptr + target).to(tl.float32)
    tl.store(losses_ptr + row, log_z - _capped(at_target, cap, CAPPED))
    tl.debug_barrier()  # all threads have read the target's logit before one of them overwrites it
    for start in range(0, whole, THREADS * EACH):
        x = tl.load(logits_ptr + start + ids).to(tl.float32)
        gradient = _probability(x, log_z, cap, CAPPED) * _slope(x, cap, scale, CAPPED)
        tl.store(gradients_ptr + start + ids, gradient.to(gradients_ptr.dtype.element_ty))
    for start in range(whole, columns, THREADS * EACH):
        x = tl.load(logits_ptr + start + ids, mask=start + ids < columns, other=0.0).to(tl.float32)
        gradient = _probability(x, log_z, cap, CAPPED) * _slope(x, cap, scale, CAPPED)
        gradient = tl.where(start + ids < vocab_size, gradient, 0.0).to(gradients_ptr.dtype.element_ty)
        tl.store(gradients_ptr + start + ids, gradient, mask=start + ids < columns)
    tl.debug_barrier()  # the target's gradient is written last, over p
    gradient = (_probability(at_target, log_z, cap, CAPPED) - 1.0) * _slope(at_target, cap, scale, CAPPED)
    tl.store(gradients_ptr + target, gradient.to(gradients_ptr.dtype.element_ty))


@triton.jit
def _add(highest, total, x):
    """Each thread's highest logit and sum of exponentials, with the logits `x` added."""
    raised = tl.maximum(highest, tl.max(x, 1))
    return raised, total * tl.exp(highest - raised) + tl.sum(tl.exp(x - raised[:, None]), 1)


@triton.jit
def _capped(x, cap, CAPPED: tl.constexpr):
    if CAPPED:
        x = cap * _tanh(x / cap)
    return x


@triton.jit
def _probability(x, log_z, cap, CAPPED: tl.constexpr):
    return tl.exp(_capped(x, cap, CAPPED) - log_z)


@triton.jit
def _slope(x, cap, scale, CAPPED: tl.constexpr):
    """The derivative of the capped logit with respect to the logit, times `scale`."""
    if CAPPED:
        squashed = _tanh(x / cap)
        scale = scale * (1.0 - squashed * squashed)
    return scale


@triton.jit
def _tanh(x):
    # The exponential of a number that is not positive cannot overflow.
    small = tl.exp(-2.0 * tl.abs(x))
    size = (1.0 - small) / (1.0 + small)
    return tl.where(x < 0, -size, size)


def logits_to_gradient(logits_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float) -> tuple[Tensor, Tensor]:
    """What `model.loss.logits_to_gradient` computes; the gradient overwrites the logits."""
    return _run(logits_nV, logits_nV, targets_n, vocab_size, soft_cap, 1.0)


def logits_to_fp8_gradient(
    logits_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float
) -> tuple[Tensor, Tensor]:
    """Losses (n,) in fp32, and the gradient of their sum times GRADIENT_SCALE, (n, V) in float8_e5m2."""
    gradients_nV = torch.empty_like(logits_nV, dtype=torch.float8_e5m2)
    return _run(logits_nV, gradients_nV, targets_n, vocab_size, soft_cap, GRADIENT_SCALE)


def _run(
    logits_nV: Tensor, gradients_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float, scale: float
) -> tuple[Tensor, Tensor]:
    rows, columns = logits_nV.shape
    losses_n = torch.empty(rows, device=logits_nV.device, dtype=torch.float32)
    settings = (vocab_size, columns, soft_cap or 1.0, scale)
    _kernel[(rows,)](
        logits_nV.contiguous(),
        gradients_nV,
        targets_n,
        losses_n,
        *settings,
        CAPPED=soft_cap > 0,
        THREADS=THREADS,
        EACH=EACH,
        num_warps=THREADS // 32,
    )
    return losses_n, gradients_nV


@triton.jit
def _transpose_kernel(from_ptr, to_ptr, rows, columns, TILE: tl.constexpr):
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    column = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tile = tl.load(from_ptr + row[:, None].to(tl.int64) * columns + column[None, :], mask=inside, other=0)
    tl.store(to_ptr + column[:, None].to(tl.int64) * rows + row[None, :], tl.trans(tile), mask=tl.trans(inside))


def transposed(bytes_RC: Tensor) -> Tensor:
    """A transposed copy, (C, R), of a matrix in any 8-bit dtype."""
    rows, columns = bytes_RC.shape
    copy_CR = torch.empty((columns, rows), dtype=bytes_RC.dtype, device=bytes_RC.device)
    grid = (triton.cdiv(rows, TILE), triton.cdiv(columns, TILE))
    _transpose_kernel[grid](bytes_RC.view(torch.uint8), copy_CR.view(torch.uint8), rows, columns, TILE=TILE)
    return copy_CR
