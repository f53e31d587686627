"""The one place where CPU and CUDA differ: choosing a device, its precision, and getting batches there."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig

CPU_TOKENS = 1_024  # of one forward pass: a CPU gains nothing beyond its caches
CUDA_TOKENS = 65_536  # nor a GPU beyond this, where a matrix product has 64 k rows
ACTIVATION_SHARE = 0.5  # of a GPU's memory; the rest is for weights, optimiser and the loss


def micro_batch_tokens(device: torch.device, config: ModelConfig, checkpointed: bool = False) -> int:
    """Tokens in one forward and backward pass that are fast and fit the device's memory."""
    if device.type != "cuda":
        return CPU_TOKENS
    memory = torch.cuda.get_device_properties(device).total_memory
    return min(CUDA_TOKENS, int(memory * ACTIVATION_SHARE) // activation_bytes(config, checkpointed))


def activation_bytes(config: ModelConfig, checkpointed: bool = False) -> int:
    """About what the backward pass needs of a token's forward pass, in bytes of bf16: inputs and outputs of each
    matrix product and norm; with checkpoints the residual stream at each block and one block's whole.
    """
    attention = (2 * config.heads + 2 * config.kv_heads) * config.head_dim
    mlp = config.mlp_width * (3 if config.activation == "swiglu" else 2)
    block = 2 * (4 * config.width + 2 * attention + mlp)
    return 2 * config.width * config.layers + block if checkpointed else config.layers * block


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises ValueError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device = {name!r}: should be auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device = {name!r}: no CUDA device is available, choose cpu")
    return torch.device(name)


def compute_dtype(device: torch.device) -> torch.dtype:
    """What matrix products are computed in: bf16 has fp32's range, so that CUDA needs no loss scaling."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Matrix products in `compute_dtype`, weights and sums in fp32."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def has_fp8(device: torch.device) -> bool:
    """Does it multiply 8-bit numbers? Ada, Hopper and later do."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A tensor on `device`; to CUDA from pinned memory, so that the copy runs beside computation."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
