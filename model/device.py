"""The one place where CPU and CUDA differ: choosing a device, its precision, and getting batches there."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

# Tokens in one forward pass, if nothing else is asked for. A CPU gains nothing beyond its caches.
MICRO_BATCH_TOKENS = {"cuda": 65_536, "cpu": 1_024}


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


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A tensor on `device`; to CUDA from pinned memory, so that the copy runs beside computation."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
