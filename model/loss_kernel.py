"""Softmax, loss and gradient of a part's logits in one kernel (Triton, CUDA only): a row is read twice, the second
time from the cache, and written once, in place.

One program has one row. The first pass over it keeps the running maximum and the sum of exponentials below it (online
softmax, arXiv:1805.02867); the second writes p - 1[target]. All arithmetic is fp32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 8192  # ids at a time, 16 bytes a thread
WARPS = 32


@triton.jit
def _kernel(
    logits_ptr,
    targets_ptr,
    losses_ptr,
    row_stride,
    vocab_size,
    columns,
    cap,
    CAPPED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * row_stride
    target = tl.load(targets_ptr + row)
    ids = tl.arange(0, BLOCK)
    highest = tl.full((BLOCK,), -float("inf"), tl.float32)  # by lane; brought together after the pass
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, vocab_size, BLOCK):
        inside = start + ids < vocab_size
        x = tl.load(logits_ptr + start + ids, mask=inside, other=-float("inf")).to(tl.float32)
        if CAPPED:
            x = tl.where(inside, cap * _tanh(x / cap), -float("inf"))
        raised = tl.maximum(highest, x)
        # A lane that has seen nothing yet: its sum is 0 and stays so.
        scale = tl.where(raised == -float("inf"), 0.0, tl.exp(highest - raised))
        total = total * scale + tl.where(inside, tl.exp(x - raised), 0.0)
        highest = raised
    top = tl.max(highest, 0)
    log_z = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    at_target = tl.load(logits_ptr + target).to(tl.float32)
    if CAPPED:
        at_target = cap * _tanh(at_target / cap)
    tl.store(losses_ptr + row, log_z - at_target)
    tl.debug_barrier()  # the target's logit is read by all before one of them overwrites it
    for start in range(0, columns, BLOCK):
        inside = start + ids < columns
        x = tl.load(logits_ptr + start + ids, mask=inside, other=0.0).to(tl.float32)
        slope = tl.full((BLOCK,), 1.0, tl.float32)
        if CAPPED:
            squashed = _tanh(x / cap)
            slope = 1.0 - squashed * squashed
            x = cap * squashed
        gradient = tl.exp(x - log_z) - tl.where(start + ids == target, 1.0, 0.0)
        gradient = tl.where(start + ids < vocab_size, gradient * slope, 0.0)  # padding: no probability
        tl.store(logits_ptr + start + ids, gradient.to(logits_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _tanh(x):
    # By the exponential of a number that is not positive, so that it cannot overflow.
    small = tl.exp(-2.0 * tl.abs(x))
    size = (1.0 - small) / (1.0 + small)
    return tl.where(x < 0, -size, size)


def logits_to_gradient(logits_nV: Tensor, targets_n: Tensor, vocab_size: int, soft_cap: float) -> tuple[Tensor, Tensor]:
    """As `model.loss.logits_to_gradient`."""
    losses_n = torch.empty(len(logits_nV), device=logits_nV.device, dtype=torch.float32)
    _kernel[(len(logits_nV),)](
        logits_nV,
        targets_n,
        losses_n,
        logits_nV.stride(0),
        vocab_size,
        logits_nV.shape[1],
        soft_cap or 1.0,
        CAPPED=soft_cap > 0,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return losses_n, logits_nV
