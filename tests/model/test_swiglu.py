"""The fused SwiGLU and its gradients against the definition, called directly and in a compiled function."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.gpt import gated


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("width", [384, 2304, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swiglu_equals_its_definition(dtype: torch.dtype, width: int, compiled: bool) -> None:
    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return gated(x @ weight)

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        gate, up = (x.double() @ weight.double()).to(dtype).double().chunk(2, -1)
        return F.silu(gate) * up

    generator = torch.Generator("cuda").manual_seed(width)
    x = torch.randn(3, 50, 64, device="cuda", dtype=dtype, generator=generator)
    weight = torch.randn(64, 2 * width, device="cuda", dtype=dtype, generator=generator) / 8
    outgoing = torch.randn(3, 50, width, device="cuda", dtype=dtype, generator=generator)
    results = []
    for function in (torch.compile(ours, dynamic=False) if compiled else ours, plain):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        value = function(*leaves)
        value.backward(outgoing.to(value.dtype))
        results.append([value.detach().double(), *(leaf.grad.double() for leaf in leaves if leaf.grad is not None)])
    assert len(results[0]) == 3
    most = 1e-5 if dtype == torch.float32 else 1e-2
    for found, expected in zip(*results, strict=True):
        assert (found - expected).norm() < most * expected.norm()
