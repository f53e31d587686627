"""Muon: momentum whose matrix is made orthogonal before it is applied, for the matrices inside the blocks.

In: matrices and their gradients. Out: each matrix moved by lr * 0.2 * sqrt(longer side) * (nearest
orthogonal matrix of its Nesterov momentum), after decoupled weight decay. The method is Keller Jordan's
(https://kellerjordan.github.io/posts/muon/); the factor is Moonlight's (arXiv:2502.16982), which gives an
update the root mean square of AdamW's, 0.2, so that one learning rate and one weight decay serve both.

A matrix that is several linear maps on top of each other (queries, keys and values) is orthogonalised map
by map: together they would share one spectrum that none of them has alone.

Matrices of one shape go through the products as one stack. A stack has at most STACK_NUMBERS numbers, which
bounds what a step needs beside weights and momentum (about four times that: the stack, its next value, and
two Gram matrices). Several processes that hold the same gradients, whole (DDP) or in shards (FSDP2, as
DTensors), orthogonalise a share of each stack each and exchange the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# p(x) = a x + b x^3 + c x^5 on the singular values: five rounds take all of [0.0015, 1] into [0.68, 1.21].
# The steep slope at 0 was chosen over convergence to 1; training does not notice (Jordan's post).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
EPS = 1e-7  # a matrix of smaller norm is not blown up to full size
ADAMW_RMS = 0.2
STACK_NUMBERS = 1 << 26  # 128 MB in bf16


class Muon(torch.optim.Optimizer):
    """State: a `momentum_buffer` a matrix, in its shape, sharding and precision.

    `params`: matrices, or groups of them; a group's "rows" are the heights of the maps stacked in each of its
    matrices, None for one map (not an empty tuple: distributed checkpoints lose those). `dtype` is what products
    are computed in; None: bf16 on CUDA, where it is many times as fast and exact enough, else the weights' own.

    Raises ValueError for a parameter that is not a matrix or not as high as its rows.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "rows": None})
        self.dtype = dtype
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.dim() != 2:
                    raise ValueError(f"a parameter of shape {tuple(weight.shape)}: Muon should be given matrices only")
                if group["rows"] and sum(group["rows"]) != weight.shape[0]:
                    raise ValueError(f"rows = {group['rows']}: should add up to the matrix's {weight.shape[0]}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of all matrices that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in _stacks([weight for weight in group["params"] if weight.grad is not None]):
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Matrices of one shape."""
        dtype = self.dtype or (torch.bfloat16 if weights[0].is_cuda else weights[0].dtype)
        stack_NRC = torch.stack([_whole(self._nesterov(weight, group["momentum"]).to(dtype)) for weight in weights])
        maps = [
            orthogonalise_shared(map_NRC).mul_(ADAMW_RMS * max(map_NRC.shape[1:]) ** 0.5)
            for map_NRC in torch.split(stack_NRC, group["rows"] or stack_NRC.shape[1], dim=1)
        ]
        for index, weight in enumerate(weights):
            update_RC = torch.cat([map_NRC[index] for map_NRC in maps])
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(_sharded_as(weight, update_RC), alpha=-group["lr"])

    def _nesterov(self, weight: Tensor, momentum: float) -> Tensor:
        """The momentum after this gradient, looked at one step ahead; in the weight's own sharding."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer = state["momentum_buffer"]
        buffer.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(buffer, momentum)


def orthogonalise(stack_NRC: Tensor) -> Tensor:
    """For each matrix U S V^T of the stack about U V^T: with singular values in [0.68, 1.21], but for
    those that were below 0.0015 of the matrix's norm, which become smaller (bf16 widens both a little).

    A Newton-Schulz iteration: odd polynomials of a matrix act on its singular values alone. Zeros stay zeros.
    """
    a, b, c = COEFFICIENTS
    tall = stack_NRC.shape[1] > stack_NRC.shape[2]
    x_NRC = stack_NRC.mT if tall else stack_NRC  # the Gram matrix is then the smaller one
    # The Frobenius norm is at least the largest singular value, so all of them start in [0, 1].
    x_NRC = x_NRC / x_NRC.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ROUNDS):
        gram_NRR = x_NRC @ x_NRC.mT
        gram_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, gram_NRR, x_NRC, beta=a)
    return x_NRC.mT if tall else x_NRC


def orthogonalise_shared(stack_NRC: Tensor) -> Tensor:
    """The same, of a stack that all processes hold: each does a share, and all end with the same bits."""
    processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if processes == 1:
        return orthogonalise(stack_NRC)
    count = len(stack_NRC)
    share = -(-count // processes)
    first = dist.get_rank() * share
    mine_nRC = stack_NRC.new_zeros(share, *stack_NRC.shape[1:])  # the last shares may be smaller, or empty
    own_nRC = stack_NRC[first : first + share]
    if len(own_nRC):
        mine_nRC[: len(own_nRC)] = orthogonalise(own_nRC)
    all_NRC = stack_NRC.new_empty(share * processes, *stack_NRC.shape[1:])
    dist.all_gather(list(torch.split(all_NRC, share)), mine_nRC)
    return all_NRC[:count]


def _stacks(weights: list[Tensor]) -> list[list[Tensor]]:
    """The weights by shape, in order, as many together as STACK_NUMBERS allows."""
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        by_shape.setdefault(weight.shape, []).append(weight)
    stacks = []
    for shape, same in by_shape.items():
        most = max(1, STACK_NUMBERS // shape.numel())
        stacks += [same[start : start + most] for start in range(0, len(same), most)]
    return stacks


def _is_sharded(matrix: Tensor) -> bool:
    """A DTensor? Asked without that module, which takes half a second to import and is not in every build."""
    return hasattr(matrix, "device_mesh")


def _whole(matrix: Tensor) -> Tensor:
    """All of a matrix whose shards lie with several processes."""
    return matrix.full_tensor() if _is_sharded(matrix) else matrix  # type: ignore[attr-defined]


def _sharded_as(weight: Tensor, matrix: Tensor) -> Tensor:
    """The part of `matrix` that this process holds of `weight`; every process has all of it, nothing is sent."""
    if not _is_sharded(weight):
        return matrix
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(weight, DTensor)
    return distribute_tensor(matrix, weight.device_mesh, weight.placements, src_data_rank=None)
