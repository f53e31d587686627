"""Several processes, one a GPU, that train one model: started by `torchrun`, which tells each its place.

Every process takes its share of a batch, and the gradients are averaged. With sharding "none" each holds the whole
model and optimiser (DistributedDataParallel); with "full" weights, gradients and optimiser state are cut into equal
parts, and a block's weights are gathered when they are needed (FSDP2, `fully_shard`). Validation is shared out too.
Samples and the judgement of an update are made by all alike, from the same numbers, so that all take the same
decisions; the first one prints and writes.

A checkpoint always holds whole tensors, in the form that one process has them: whatever number of processes and
sharding wrote it, any other may go on from it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from model.device import compute_dtype
from model.gpt import GPT


class Place(NamedTuple):
    """Of this process among all."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0


ALONE = Place()


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[Place, torch.device]]:
    """This process's place, and the device that it is to use; joined to the others inside."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # The others wait while the first packs the tokens for the first time.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield Place(dist.get_rank(), world), device
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def first_goes_first(place: Place) -> Iterator[None]:
    """The first process does what is inside, then all others do."""
    if place.world > 1 and not place.first:
        dist.barrier()
    yield
    if place.world > 1 and place.first:
        dist.barrier()


def spread(model: GPT, sharding: str, place: Place, device: torch.device) -> nn.Module:
    """The module to call for the loss: `model`, or what makes it one of many."""
    if place.world == 1:
        return model
    if sharding == "none":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (place.world,))
    # Weights travel in what they are multiplied in; gradients are summed in fp32.
    policy = MixedPrecisionPolicy(param_dtype=compute_dtype(device), reduce_dtype=torch.float32)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    return model


@contextlib.contextmanager
def gradients_stay_here(module: nn.Module, stay: bool) -> Iterator[None]:
    """Backward passes inside are not the update's last: add up, do not average over the processes yet."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(not stay)
    with module.no_sync() if stay and isinstance(module, DistributedDataParallel) else contextlib.nullcontext():
        yield


def total(values: Tensor, place: Place) -> Tensor:
    """The sum over all processes of `values`, at each of them."""
    if place.world > 1:
        dist.all_reduce(values)
    return values


def average(values: Tensor, place: Place) -> Tensor:
    """The mean over all processes of `values`, at each of them."""
    return total(values, place) / place.world


# --- whole tensors -----------------------------------------------------------------------------------------


def whole(state: Any) -> Any:
    """`state` with each sharded tensor put together; all processes must ask for it."""
    if isinstance(state, DTensor):
        return state.full_tensor().detach()
    if isinstance(state, dict):
        return {name: whole(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [whole(value) for value in state]
    return state


def whole_model(model: GPT) -> GPT:
    """`model` as one process has it; all processes must ask for it."""
    if not isinstance(model, FSDPModule):
        return model
    with torch.device("meta"):
        copy = GPT(model.config)
    copy.load_state_dict(whole(model.state_dict()), assign=True)
    copy.cos_TD, copy.sin_TD = model.cos_TD, model.sin_TD
    return copy


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give `optimizer` the whole state of one process, cut as its weights are."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, values in state["state"].items():
        weight = weights[index]
        if isinstance(weight, DTensor):
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    on_device = value.to(weight.device)
                    values[name] = distribute_tensor(on_device, weight.device_mesh, weight.placements)
    optimizer.load_state_dict(state)


def clip(model: nn.Module, most: float) -> Tensor:
    """Scale all gradients so that their global L2 norm is at most `most` (0: as they are); the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), most or float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
