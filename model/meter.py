"""How fast a run goes: tokens a second, and the share of the device's peak that they use (MFU)."""

from __future__ import annotations

import time

import torch

# Dense bf16 peak, FLOP/s, by a part of the device's name (NVIDIA's data sheets, SXM parts, without sparsity).
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


class Meter:
    """Tokens a second between readings; time spent on validation, samples and checkpoints is left out."""

    def __init__(self, tokens_per_step: int, flops_per_token: int, device: torch.device) -> None:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        peaks = [peak for part, peak in PEAK_FLOPS.items() if part in name]
        self.peak = peaks[0] if peaks else None
        self.tokens_per_step, self.flops_per_token = tokens_per_step, flops_per_token
        self.tokens, self.seconds = 0, 0.0
        self.started = time.perf_counter()

    def start(self) -> None:
        self.started = time.perf_counter()

    def stop(self) -> float:
        """End of a step: its tokens a second."""
        seconds = time.perf_counter() - self.started
        self.tokens += self.tokens_per_step
        self.seconds += seconds
        return self.tokens_per_step / seconds

    @property
    def average(self) -> float:
        """Tokens a second over all steps so far."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOP utilisation, 0 to 1; None where the device's peak is not known."""
        return tokens_per_second * self.flops_per_token / self.peak if self.peak else None
