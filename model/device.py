"""The choices that depend on the device: which device, the precision, the size of a forward pass, copies to it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig

# Most tokens in one forward pass. More would not be faster: a CPU's caches are full, and a GPU is busy with a matrix
# product of 64 k rows.
CPU_TOKENS = 1_024
CUDA_TOKENS = 65_536
MODULE_BYTES = 20_000  # of a layer's objects in Python, at least
ACTIVATION_SHARE = 0.5  # share of a GPU's memory for activations; weights, optimizer and the loss take the rest


def micro_batch_tokens(device: torch.device, config: ModelConfig, checkpointed: bool = False) -> int:
    """Tokens in one forward and backward pass that are fast and fit the device's memory.

    `checkpointed`: activations are computed again in the backward pass.
    """
    if device.type != "cuda":
        return CPU_TOKENS
    memory = torch.cuda.get_device_properties(device).total_memory
    return min(CUDA_TOKENS, int(memory * ACTIVATION_SHARE) // activation_bytes(config, checkpointed))


def activation_bytes(config: ModelConfig, checkpointed: bool = False) -> int:
    """About how many bytes of activations, in bf16, a token's forward pass keeps for the backward pass.

    These are the inputs and outputs of each matrix product and norm. If activations are `checkpointed`, they are the
    residual stream before each block, and all activations of one block.
    """
    attention = (2 * config.heads + 2 * config.kv_heads) * config.head_dim
    mlp = config.mlp_width * (3 if config.activation == "swiglu" else 2)
    block = 2 * (4 * config.width + 2 * attention + mlp)
    return 2 * config.width * config.layers + block if checkpointed else config.layers * block


def check_memory(config: ModelConfig) -> None:
    """Raises ValueError if the weights of a model with `config` do not fit the memory of machine and process.

    Every model is made in the machine's memory, also for a GPU. To ask for more than there is would end the process.
    """
    heads = (2 * config.heads + 2 * config.kv_heads) * config.head_dim
    layer = config.width * (heads + (3 if config.activation == "swiglu" else 2) * config.mlp_width)
    embeddings = (1 if config.tied else 2) * config.padded_vocab_size * config.width
    # RoPE's tables are 2 numbers a channel; while they are made, in fp64, they take twice that (`rope_tables`).
    positions = config.context * (4 * config.head_dim + (config.width if config.positions == "learned" else 0))
    needed = 4 * (config.layers * layer + embeddings + positions) + config.layers * MODULE_BYTES
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS))
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min([physical, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    if needed > memory:
        raise ValueError(
            f"layers = {config.layers}, width = {config.width}, vocab_size = {config.vocab_size}, context = "
            f"{config.context}: the model needs {needed / 1e9:,.1f} GB of memory, there are {memory / 1e9:,.1f}"
        )


def pick_device(name: str) -> torch.device:
    """The device of a name: "cpu", "cuda", "cuda:N", or "auto" for CUDA if there is a CUDA device and else the CPU.

    Raises ValueError for another name, and for CUDA without a CUDA device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"device = {name!r}: should be auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device = {name!r}: no CUDA device is available, choose cpu")
    if name.startswith("cuda:") and int(name[5:]) >= torch.cuda.device_count():
        raise ValueError(f"device = {name!r}: there are {torch.cuda.device_count()}, numbered from 0")
    return torch.device(name)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The dtype of matrix products: bf16 on CUDA, fp32 on a CPU. bf16 has fp32's range and needs no loss scaling."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which matrix products are computed in `compute_dtype`, while weights and sums stay in fp32."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def has_fp8(device: torch.device) -> bool:
    """Whether the device multiplies 8-bit floating-point numbers, as Ada, Hopper and later GPUs do."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor on `device`. A copy to CUDA starts from pinned memory and so runs beside computation."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
