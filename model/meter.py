"""The speed of a run, its share of the devices' peak (MFU), its memory, and the time to its end.

MFU, model FLOP utilisation, is tokens a second * FLOPs a token / (peak of one device * processes). FLOPs a token are
those that the model needs, as PaLM counts them (arXiv:2204.02311, appendix B; `model.gpt.flops_per_token`): 6 for each
weight of a matrix product (2 forward, 4 backward), and 12 * heads * head_dim * context in each layer for attention, or
the layer's attention window instead of the context. The output head counts, tied or not. Looking up embeddings counts
nothing, and neither does computing activations a second time to save memory. The peak is the stated one for dense bf16
products, whatever clock or power limit the device has.

The time for validation, samples and checkpoints lies outside `start` and `stop`. It is part of the time to the end, but
of no other figure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bpe.terminal.text import duration

# Stated peak of dense bf16 products with fp32 sums, TFLOP/s; data sheets state twice that for tensor cores "with
# sparsity". A device has the peak of the first row whose words are all in its name.
PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    ("H100 PCIe", 756.5),  # H100 data sheet: 1,513 with sparsity
    ("H100 NVL", 835.5),  # H100 data sheet: 1,671 with sparsity
    ("H100", 989.5),  # H100 data sheet, SXM: 1,979 with sparsity
    ("H800 PCIe", 756.5),  # as H100: an H800 differs in NVLink and fp64 only
    ("H800", 989.5),  # as H100
    ("H200 NVL", 835.5),  # H200 data sheet: 1,671 with sparsity
    ("H200", 989.5),  # H200 data sheet, SXM: 1,979 with sparsity
    ("GH200", 989.5),  # GH200 data sheet: 1,979 with sparsity
    ("H20", 148.0),  # H20 data sheet, dense
    ("GB200", 2500.0),  # GB200 NVL72 data sheet: 360 PFLOPS with sparsity in 72 devices
    ("B200", 2250.0),  # DGX B200 data sheet: 36 PFLOPS with sparsity in 8 devices
    ("A100", 312.0),  # A100 data sheet, dense
    ("A800", 312.0),  # as A100
    ("A40", 149.7),  # A40 data sheet, dense
    ("A30", 165.0),  # A30 data sheet, dense
    ("A10", 125.0),  # A10 data sheet, dense
    ("L40S", 362.0),  # L40S data sheet, dense
    ("L40", 181.0),  # L40 data sheet, dense
    ("L4", 121.0),  # L4 data sheet: 242 with sparsity
    ("5090", 209.5),  # NVIDIA RTX Blackwell GPU architecture, appendix
    ("4090", 165.2),  # NVIDIA Ada GPU architecture, appendix A
    ("3090 Ti", 80.0),  # NVIDIA Ampere GA102 GPU architecture, appendix A
    ("3090", 71.0),  # NVIDIA Ampere GA102 GPU architecture, appendix A
)
# Words in the name of a smaller device that otherwise has the name of a row, or of a slice of a device.
LESSER = {"Laptop", "D", "MIG"}


def peak_flops(device_name: str) -> float | None:
    """The stated peak of dense bf16 products, FLOP/s, of a device by its name in CUDA; None if it is not known."""
    words = set(re.split(r"[\s\-]+", device_name.upper()))
    if words & {word.upper() for word in LESSER}:
        return None
    return next((1e12 * peak for model, peak in PEAK_TFLOPS if set(model.upper().split()) <= words), None)


class Meter:
    """Measures the steps of one process, in which all processes compute their tokens: `start` and `stop` each step."""

    def __init__(
        self,
        tokens_per_step: int,
        flops_per_token: int,
        device: torch.device,
        processes: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`tokens_per_step` counts the tokens of all `processes`, each of which has one device like `device`.

        `clock` returns seconds.
        """
        self.tokens_per_step, self.flops_per_token = tokens_per_step, flops_per_token
        self.device, self.clock = device, clock
        peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self.peak = peak * processes if peak else None
        self.steps, self.first_seconds, self.seconds = 0, 0.0, 0.0
        self.began = self.started = clock()

    def start(self) -> None:
        """A step begins."""
        self.started = self.clock()

    def stop(self) -> dict[str, Any]:
        """A step ends, after its loss was read, so that the device has done its work. Returns figures for the metrics.

        The figures are `tokens_per_second`, `mfu` (0 to 1, if the device's peak is known), and on CUDA `memory_bytes`,
        the most bytes that tensors have taken on this process's device so far.
        """
        seconds = max(self.clock() - self.started, 1e-9)
        if self.steps == 0:
            self.first_seconds, self.began = seconds, self.clock()
        self.steps += 1
        self.seconds += seconds
        speed = self.tokens_per_step / seconds
        figures: dict[str, Any] = {"tokens_per_second": round(speed)}
        mfu = self.mfu(speed)
        if mfu is not None:
            figures["mfu"] = round(mfu, 4)
        if self.device.type == "cuda":
            figures["memory_bytes"] = torch.cuda.max_memory_allocated(self.device)
        return figures

    @property
    def average(self) -> float:
        """Tokens a second over all steps so far except the first, in which PyTorch compiles."""
        if self.steps < 2:
            return self.tokens_per_step / self.first_seconds if self.steps else 0.0
        return self.tokens_per_step * (self.steps - 1) / (self.seconds - self.first_seconds)

    def mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOP utilisation at this speed, 0 to 1; None if the device's peak is not known."""
        return tokens_per_second * self.flops_per_token / self.peak if self.peak else None

    def remaining(self, steps: int) -> float | None:
        """Seconds that so many more `steps` should take, validation, samples and checkpoints included.

        None before the second step.
        """
        return (self.clock() - self.began) / (self.steps - 1) * steps if self.steps > 1 else None


def progress(row: Mapping[str, Any], steps: int, remaining: float | None = None) -> str:
    """A row of metrics.jsonl as a line of text. `steps` is the run's last step, `remaining` the seconds until then."""
    parts = [f"step {row['step']:>{len(str(steps))}}/{steps}", f"loss {row['loss']:.4f}", f"lr {row['lr']:.2e}"]
    parts += [f"norm {row['grad_norm']:.2f}", f"{row['tokens_per_second']:,} tokens/s"]
    if row.get("mfu") is not None:
        parts.append(f"mfu {row['mfu']:.1%}")
    if row.get("memory_bytes") is not None:
        parts.append(f"{row['memory_bytes'] / 1e9:.1f} GB")
    if remaining is not None:
        parts.append(f"eta {duration(remaining)}")
    return "  ".join(parts)
