"""Several processes that train one model, one process for each GPU, as `torchrun` starts them.

Every process computes a share of each batch, and the gradients are averaged. With sharding "none" each process holds
the whole model and optimizer (DistributedDataParallel). With "full" weights, gradients and optimizer state are cut into
equal shards, and a block's weights are gathered when they are needed (FSDP2, `fully_shard`). The processes also share
out validation. All processes draw the samples and judge the updates, from equal numbers, so that they all decide
alike. The first process prints and writes.

A checkpoint always holds unsharded tensors, whatever number of processes and sharding wrote it. So a run can continue
with another number of processes or another sharding.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from bpe.parse import brief
from model.device import compute_dtype
from model.gpt import GPT


class Place(NamedTuple):
    """One process among all that train a model."""

    rank: int  # number of the process, from 0
    world: int  # number of processes
    device: torch.device  # that the process computes on

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[Place]:
    """Join this process to the other ones that `torchrun` started, and yield its place.

    `device` says which kind of device to use; on CUDA each process takes the device of its LOCAL_RANK.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Place(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Long, because all processes wait while the first one packs the tokens for the first time.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield Place(dist.get_rank(), world, device)
    finally:
        dist.destroy_process_group()
        _end_threads()


def _end_threads() -> None:
    """Let go of the process groups that PyTorch still holds when they are destroyed, so that their threads end here.

    DTensor remembers operations with their DeviceMesh, and a DeviceMesh holds its groups. A thread of gloo's that lets
    go of a tensor while the interpreter ends aborts the process ("terminate called without an active exception").
    """
    for mesh in [thing for thing in gc.get_objects() if type(thing) is DeviceMesh]:
        getattr(mesh, "_pg_registry", {}).clear()
    gc.collect()  # the model's hooks make cycles of references


@contextlib.contextmanager
def first_goes_first(place: Place) -> Iterator[None]:
    """The first process runs the body of the `with`; when it is done, all other processes run theirs."""
    if place.world > 1 and not place.first:
        dist.barrier()
    yield
    if place.world > 1 and place.first:
        dist.barrier()


def distribute(model: GPT, sharding: str, place: Place) -> nn.Module:
    """Share `model` between the processes; returns the module to call for the loss.

    With sharding "none" that is a DistributedDataParallel around `model`, with "full" it is `model`, whose weights
    become DTensors, and for one process it is `model` unchanged.
    """
    if place.world == 1:
        return model
    if sharding == "none":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    mesh = init_device_mesh(place.device.type, (place.world,))
    # Weights are sent in the precision of the products; gradients are summed in fp32.
    policy = MixedPrecisionPolicy(param_dtype=compute_dtype(place.device), reduce_dtype=torch.float32)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    return model


@contextlib.contextmanager
def gradients_averaged(module: nn.Module, averaged: bool) -> Iterator[None]:
    """Whether a backward pass inside averages the gradients over the processes.

    Only the last backward pass of an update has to; the passes before it add to the process's own gradients.
    """
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(averaged)
    if isinstance(module, DistributedDataParallel) and not averaged:
        with module.no_sync():
            yield
    else:
        yield


def total(values: Tensor, place: Place) -> Tensor:
    """The sum of `values` over all processes; every process gets it. `values` may be overwritten."""
    if place.world > 1:
        dist.all_reduce(values)
    return values


def average(values: Tensor, place: Place) -> Tensor:
    """The mean of `values` over all processes; every process gets it. `values` may be overwritten."""
    return total(values, place) / place.world


# --- shards and unsharded tensors --------------------------------------------------------------------------


def unsharded(state: Any) -> Any:
    """A copy of the nested `state` in which each sharded tensor is gathered. All processes must call this together."""
    if isinstance(state, DTensor):
        return state.full_tensor().detach()
    if isinstance(state, dict):
        return {name: unsharded(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [unsharded(value) for value in state]
    return state


def unsharded_model(model: GPT) -> GPT:
    """`model`, or a copy with gathered weights if they are sharded. All processes must call this together."""
    if not isinstance(model, FSDPModule):
        return model
    with torch.device("meta"):
        copy = GPT(model.config)
    copy.load_state_dict(unsharded(model.state_dict()), assign=True)
    copy.cos_TD, copy.sin_TD = model.cos_TD, model.sin_TD
    return copy


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an unsharded state into `optimizer`, sharded as the optimizer's weights are. Changes `state`.

    The settings of `optimizer` stay, because they follow from those of the run. Raises ValueError for a tensor that is
    neither of its weight's shape nor one number, and what a state without tensors makes Python raise.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    kinds = [{name: value.dim() > 0 for name, value in values.items()} for values in state["state"].values()]
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError("its optimizer has other values for some weights than for others")
    for index, values in state["state"].items():
        weight = weights[index]
        for name, value in values.items():
            if value.dim() and value.shape != weight.shape:
                raise ValueError(f"{brief(name)} of weight {index} has another shape than the weight")
            if isinstance(weight, DTensor) and value.shape == weight.shape:
                on_device = value.to(weight.device)
                values[name] = distribute_tensor(on_device, weight.device_mesh, weight.placements)
    optimizer.load_state_dict({"state": state["state"], "param_groups": optimizer.state_dict()["param_groups"]})


def clip(model: nn.Module, most: float) -> Tensor:
    """Scale all gradients so that their global L2 norm is at most `most`; 0 leaves them as they are.

    Returns the norm before, a scalar tensor on the model's device (arXiv:1211.5063).
    """
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), most or float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
