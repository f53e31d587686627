"""The loss in parts against the loss of all logits: values and gradients."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model import loss as ours


def plain(x_NC: Tensor, head_VC: Tensor, targets_N: Tensor, vocab_size: int, soft_cap: float) -> Tensor:
    logits_NV = F.linear(x_NC, head_VC)
    if soft_cap:
        logits_NV = soft_cap * torch.tanh(logits_NV / soft_cap)
    return F.cross_entropy(logits_NV[:, :vocab_size], targets_N)


def with_gradients(function: object, x_NC: Tensor, head_VC: Tensor, *rest: object) -> list[Tensor]:
    x_NC, head_VC = x_NC.clone().requires_grad_(), head_VC.clone().requires_grad_()
    value = function(x_NC, head_VC, *rest)  # type: ignore[operator]
    (2 * value).backward()
    assert x_NC.grad is not None
    assert head_VC.grad is not None
    return [value.detach(), x_NC.grad, head_VC.grad]


@settings(max_examples=40)
@given(
    tokens=st.integers(1, 40),
    padding=st.integers(0, 20),
    part_bytes=st.sampled_from([1, 700, 3000, 10**6]),
    soft_cap=st.sampled_from([0.0, 2.0, 30.0]),
    seed=st.integers(0, 2**16),
)
def test_parts_equal_the_whole(tokens: int, padding: int, part_bytes: int, soft_cap: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x_NC = torch.randn(tokens, 8, generator=generator)
    head_VC = torch.randn(50 + padding, 8, generator=generator)
    targets_N = torch.randint(0, 50, (tokens,), generator=generator)
    rest = (targets_N, 50, soft_cap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ours.LOGIT_BYTES, "cpu", part_bytes)
        found = with_gradients(ours.cross_entropy, x_NC, head_VC, *rest)
        losses_N = ours.token_losses(x_NC, head_VC, *rest)
    expected = with_gradients(plain, x_NC, head_VC, *rest)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).abs().max() < 1e-6 * max(1.0, float(theirs.abs().max()))
    assert abs(float(losses_N.mean() - expected[0])) < 1e-6 * max(1.0, float(expected[0]))
    if padding:
        assert found[2][50:].abs().max() == 0


def test_a_part_holds_no_more_logits_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ours.LOGIT_BYTES, "cpu", 4 * 64 * 10)
    sizes: list[int] = []
    to_gradient = ours.logits_to_gradient

    def watched(logits_nV: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        sizes.append(len(logits_nV))
        return to_gradient(logits_nV, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ours, "_kernel", lambda device_type: watched)
    with_gradients(ours.cross_entropy, torch.randn(37, 8), torch.randn(64, 8), torch.zeros(37, dtype=torch.long), 60)
    assert sum(sizes) == 37
    assert max(sizes) == 10


@pytest.mark.parametrize("soft_cap", [0.0, 15.0])
def test_eight_bits_on_a_cpu_come_near_the_plain_loss(monkeypatch: pytest.MonkeyPatch, soft_cap: float) -> None:
    """The loop over the parts, with PyTorch's operations instead of the Triton kernels."""
    kernels: Any = types.ModuleType("model.loss_kernel")
    kernels.GRADIENT_SCALE = 2.0**12
    kernels.transposed = lambda matrix: matrix.t().contiguous()

    def logits_to_fp8_gradient(logits_nV: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        loss_n, gradient_nV = ours.logits_to_gradient(logits_nV.float(), *rest)
        return loss_n, (gradient_nV * kernels.GRADIENT_SCALE).to(torch.float8_e5m2)

    kernels.logits_to_fp8_gradient = logits_to_fp8_gradient
    monkeypatch.setitem(sys.modules, "model.loss_kernel", kernels)
    monkeypatch.setitem(ours.LOGIT_BYTES, "cpu", 30_000)
    monkeypatch.setattr(ours, "_kernel", None)  # the path without fp8 would fail
    generator = torch.Generator().manual_seed(0)
    x_NC = torch.randn(256, 64, generator=generator).bfloat16()
    head_VC = torch.randn(320, 64, generator=generator) / 8
    rest = (torch.randint(0, 300, (256,), generator=generator), 300, soft_cap)
    expected = with_gradients(plain, x_NC.float(), head_VC, *rest)
    try:
        found = with_gradients(ours.cross_entropy, x_NC, head_VC, *rest, True)
    finally:
        sys.modules.pop("model.loss_fp8", None)  # it has the kernels above
    assert abs(float(found[0] - expected[0])) < 1e-2 * float(expected[0])
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert (mine.float() - theirs).norm() < 8e-2 * theirs.norm()


@pytest.mark.gpu
def test_cuda_kernel_equals_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    x_NC = torch.randn(4096, 64, device="cuda", generator=generator).bfloat16()
    head_VC = torch.randn(50304, 64, device="cuda", generator=generator) / 8
    targets_N = torch.randint(0, 50257, (4096,), device="cuda", generator=generator)
    for soft_cap in (0.0, 15.0):
        rest = (targets_N, 50257, soft_cap)
        expected = with_gradients(plain, x_NC.float(), head_VC.bfloat16().float(), *rest)
        for kernel in (ours._kernel("cuda"), ours.logits_to_gradient):
            monkeypatch.setattr(ours, "_kernel", lambda device_type, kernel=kernel: kernel)
            found = with_gradients(ours.cross_entropy, x_NC, head_VC, *rest)
            monkeypatch.undo()
            assert abs(float(found[0] - expected[0])) < 1e-3 * float(expected[0])
            for mine, theirs in zip(found[1:], expected[1:], strict=True):
                assert (mine.float() - theirs).norm() < 1e-2 * theirs.norm()
                assert mine.isfinite().all()


@pytest.mark.gpu
def test_eight_bits_come_near_the_plain_loss() -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    x_NC = torch.randn(4096, 128, device="cuda", generator=generator).bfloat16()
    head_VC = torch.randn(50304, 128, device="cuda", generator=generator) / 128**0.5
    targets_N = torch.randint(0, 50257, (4096,), device="cuda", generator=generator)
    for soft_cap in (0.0, 15.0):
        rest = (targets_N, 50257, soft_cap)
        expected = with_gradients(plain, x_NC.float(), head_VC, *rest)
        found = with_gradients(ours.cross_entropy, x_NC, head_VC, *rest, True)
        assert abs(float(found[0] - expected[0])) < 1e-2 * float(expected[0])
        for mine, theirs in zip(found[1:], expected[1:], strict=True):
            assert (mine.float() - theirs).norm() < 8e-2 * theirs.norm()
            assert mine.isfinite().all()
