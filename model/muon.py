"""Muon: momentum whose matrix is made orthogonal before it is applied. The optimizer "muon".

In: matrices and their gradients. Out: each matrix after decoupled weight decay, moved by lr * 0.2 * sqrt(longer side)
times the nearest orthogonal matrix of its Nesterov momentum. The method is Keller Jordan's
(https://kellerjordan.github.io/posts/muon/). The factor is Moonlight's (arXiv:2502.16982): it gives an update the root
mean square of AdamW's updates, 0.2, so that one learning rate and one weight decay serve both optimizers.

Muon is for the matrices inside the blocks; AdamW takes all other weights. Muon's geometry is that of a linear map, and
an embedding's rows and a norm's scales are not linear maps.

Some matrices are several linear maps on top of each other: queries, keys and values. Each map is made orthogonal by
itself, because the whole matrix has one spectrum that none of the maps has alone.

Matrices of one shape are multiplied together, as one stack. A stack has at most STACK_NUMBERS numbers. That bounds the
memory that a step needs beside weights and momentum, which is about four stacks: the stack, its next value and two Gram
matrices. Several processes that hold the same gradients, whole (DDP) or in shards (FSDP2, as DTensors), each make a
share of every stack orthogonal and exchange the results.

Tensor names: N matrices of a stack, n the share of one process, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.adamw import adamw
from model.config import ModelConfig, TrainConfig

# p(x) = a x + b x^3 + c x^5 on the singular values: five rounds take all of [0.0015, 1] into [0.68, 1.21].
# The coefficients trade convergence to 1 for a steep slope at 0; training does not notice (Jordan's post).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
EPS = 1e-7  # a matrix of smaller norm is not blown up to full size
ADAMW_RMS = 0.2  # root mean square of AdamW's updates, relative to the learning rate
STACK_NUMBERS = 1 << 26  # 128 MB in bf16


def make(
    weights: Mapping[str, nn.Parameter], shape: ModelConfig | None, config: TrainConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all other weights; see `model.optim.Maker`."""
    assert shape is not None, "Muon needs the model's shape, to know the maps in its matrices"
    inner = {name: weight for name, weight in weights.items() if "blocks." in name and weight.dim() == 2}
    by_rows: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for name, weight in inner.items():
        by_rows.setdefault(row_parts(name, shape), []).append(weight)
    groups = [{"params": matrices, "rows": rows or None} for rows, matrices in by_rows.items()]
    muon = Muon(groups, lr=config.lr, momentum=config.muon_momentum, weight_decay=config.weight_decay)
    return [muon, adamw([weight for name, weight in weights.items() if name not in inner], config)]


def row_parts(name: str, shape: ModelConfig) -> tuple[int, ...]:
    """Heights of the linear maps that the parameter `name` stacks on top of each other; () if it is one map."""
    if name.endswith("attention.qkv.weight"):
        key_rows = shape.kv_heads * shape.head_dim
        return (shape.heads * shape.head_dim, key_rows, key_rows)
    if name.endswith("mlp.gate_up.weight"):
        return (shape.mlp_width, shape.mlp_width)
    return ()


class Muon(torch.optim.Optimizer):
    """Muon for matrices. Its state is a `momentum_buffer` for each matrix, in the matrix's shape, sharding and dtype.

    `params` are matrices, or groups of them. A group's "rows" are the heights of the maps stacked in each of its
    matrices, or None if a matrix is one map (not an empty tuple, which distributed checkpoints lose). `dtype` is the
    precision of the products; None takes bf16 on CUDA, where it is many times as fast and exact enough, and the
    weights' dtype elsewhere.

    Raises ValueError for a parameter that is not a matrix, and for rows that do not add up to its height.
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
        """One update of matrices that have one shape and belong to one group."""
        dtype = self.dtype or (torch.bfloat16 if weights[0].is_cuda else weights[0].dtype)
        stack_NRC = torch.stack([_unsharded(self._nesterov(weight, group["momentum"]).to(dtype)) for weight in weights])
        maps = [
            orthogonalise_shared(map_NRC).mul_(ADAMW_RMS * max(map_NRC.shape[1:]) ** 0.5)
            for map_NRC in torch.split(stack_NRC, group["rows"] or stack_NRC.shape[1], dim=1)
        ]
        for index, weight in enumerate(weights):
            update_RC = torch.cat([map_NRC[index] for map_NRC in maps])
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(_sharded_as(weight, update_RC), alpha=-group["lr"])

    def _nesterov(self, weight: Tensor, momentum: float) -> Tensor:
        """Add the gradient to the momentum; return the momentum one step ahead (Nesterov), sharded as the weight."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer = state["momentum_buffer"]
        buffer.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(buffer, momentum)


def orthogonalise(stack_NRC: Tensor) -> Tensor:
    """About U V^T for each matrix U S V^T of the stack (N, R, C).

    The singular values of the result lie in [0.68, 1.21], but singular values that were below 0.0015 of the matrix's
    norm become smaller; bf16 widens both bounds a little. This is a Newton-Schulz iteration: an odd polynomial of a
    matrix changes its singular values alone. A matrix of zeros stays zero.
    """
    a, b, c = COEFFICIENTS
    tall = stack_NRC.shape[1] > stack_NRC.shape[2]
    x_NRC = stack_NRC.mT if tall else stack_NRC  # for the smaller Gram matrix
    # The Frobenius norm is at least the largest singular value, so all of them start in [0, 1].
    x_NRC = x_NRC / x_NRC.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(ROUNDS):
        gram_NRR = x_NRC @ x_NRC.mT
        gram_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, gram_NRR, x_NRC, beta=a)
    return x_NRC.mT if tall else x_NRC


def orthogonalise_shared(stack_NRC: Tensor) -> Tensor:
    """`orthogonalise` for a stack that all processes hold: each computes a share, and all get the same bits."""
    processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if processes == 1:
        return orthogonalise(stack_NRC)
    count = len(stack_NRC)
    share = -(-count // processes)
    first = dist.get_rank() * share
    result_nRC = stack_NRC.new_zeros(share, *stack_NRC.shape[1:])
    share_nRC = stack_NRC[first : first + share]  # the last shares may be smaller, or empty
    if len(share_nRC):
        result_nRC[: len(share_nRC)] = orthogonalise(share_nRC)
    all_NRC = stack_NRC.new_empty(share * processes, *stack_NRC.shape[1:])
    dist.all_gather(list(torch.split(all_NRC, share)), result_nRC)
    return all_NRC[:count]


def _stacks(weights: list[Tensor]) -> list[list[Tensor]]:
    """The weights grouped by shape, in order, with at most STACK_NUMBERS numbers in a group."""
    by_shape: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        by_shape.setdefault(weight.shape, []).append(weight)
    stacks = []
    for shape, group in by_shape.items():
        most = max(1, STACK_NUMBERS // shape.numel())
        stacks += [group[start : start + most] for start in range(0, len(group), most)]
    return stacks


def _is_sharded(matrix: Tensor) -> bool:
    """Whether it is a DTensor. Does not import DTensor: that takes half a second, and not every build has it."""
    return hasattr(matrix, "device_mesh")


def _unsharded(matrix: Tensor) -> Tensor:
    """The whole matrix, gathered from the processes if they hold shards of it."""
    return matrix.full_tensor() if _is_sharded(matrix) else matrix  # type: ignore[attr-defined]


def _sharded_as(weight: Tensor, matrix: Tensor) -> Tensor:
    """The shard of `matrix` that belongs to this process's shard of `weight`.

    Every process has the whole matrix, so nothing is sent.
    """
    if not _is_sharded(weight):
        return matrix
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(weight, DTensor)
    return distribute_tensor(matrix, weight.device_mesh, weight.placements, src_data_rank=None)
