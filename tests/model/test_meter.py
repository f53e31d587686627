"""The meter's figures, with a clock that the tests set."""

from __future__ import annotations

import pytest
import torch

from model.config import ModelConfig
from model.gpt import flops_per_token
from model.meter import PEAK_TFLOPS, Meter, peak_flops, progress


class Clock:
    """A clock whose seconds pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def on_cuda(monkeypatch: pytest.MonkeyPatch, name: str, used: int = 31_400_000_000) -> torch.device:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: used)
    return torch.device("cuda", 0)


def step(meter: Meter, clock: Clock, seconds: float, pause: float = 0.0) -> dict[str, object]:
    """One step that takes `seconds`, then a pause for validation."""
    meter.start()
    clock.now += seconds
    figures = meter.stop()
    clock.now += pause
    return figures


def test_speed_leaves_out_pauses_and_the_first_step(clock: Clock) -> None:
    meter = Meter(1000, 1, torch.device("cpu"), clock=clock)
    assert (meter.average, meter.remaining(3)) == (0.0, None)
    assert step(meter, clock, 10.0) == {"tokens_per_second": 100}
    assert (meter.average, meter.remaining(3)) == (100.0, None)
    clock.now += 100
    assert step(meter, clock, 0.5, pause=7.0) == {"tokens_per_second": 2000}
    assert step(meter, clock, 1.5) == {"tokens_per_second": 667}
    assert meter.average == pytest.approx(1000.0)
    assert meter.mfu(1000.0) is None


def test_time_to_the_end_has_the_pauses_in_it(clock: Clock) -> None:
    meter = Meter(1000, 1, torch.device("cpu"), clock=clock)
    step(meter, clock, 60.0)  # compiles
    step(meter, clock, 1.0, pause=3.0)
    step(meter, clock, 2.0)
    assert meter.remaining(10) == pytest.approx(30.0)


def test_mfu_is_of_all_devices(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_cuda(monkeypatch, "NVIDIA H100 80GB HBM3")
    meter = Meter(2_000_000, 10**9, device, processes=2, clock=clock)
    figures = step(meter, clock, 2.0)
    assert figures == {
        "tokens_per_second": 1_000_000,
        "mfu": round(1e15 / (2 * 989.5e12), 4),
        "memory_bytes": 31_400_000_000,
    }
    assert meter.mfu(1.979e6) == pytest.approx(1.0)
    unknown = Meter(2_000, 10**9, on_cuda(monkeypatch, "NVIDIA X1"), clock=clock)
    assert "mfu" not in step(unknown, clock, 1.0)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA H20", 148.0),
        ("NVIDIA GH200 480GB", 989.5),
        ("NVIDIA B200", 2250.0),
        ("NVIDIA GB200", 2500.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A100-PCIE-40GB", 312.0),
        ("NVIDIA A100 80GB PCIe", 312.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L40", 181.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 3090", 71.0),
        ("NVIDIA GeForce RTX 3090 Ti", 80.0),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("Tesla T4", None),
        ("NVIDIA A1000", None),
    ],
)
def test_peaks_by_the_names_that_cuda_gives(name: str, tflops: float | None) -> None:
    assert peak_flops(name) == (None if tflops is None else pytest.approx(1e12 * tflops))


def test_every_peak_can_be_reached() -> None:
    for part, tflops in PEAK_TFLOPS:
        assert peak_flops(f"NVIDIA {part}") == pytest.approx(1e12 * tflops)


def test_flops_are_palm_s() -> None:
    """6 FLOPs a weight of a matrix product, the head among them, and 12 layers * heads * head_dim * context."""
    shape = ModelConfig(vocab_size=100, context=16, layers=2, width=64, heads=4, kv_heads=2, head_dim=16, mlp_width=96)
    weights = 2 * (64 * 128 + 64 * 64 + 3 * 64 * 96) + 64 * 100
    assert flops_per_token(shape) == 6 * weights + 12 * 2 * 4 * 16 * 16


def test_progress_is_one_line() -> None:
    row = {"step": 120, "loss": 3.21009, "lr": 4e-3, "grad_norm": 0.7071, "tokens_per_second": 1_234_567}
    short = "step 120/300  loss 3.2101  lr 4.00e-03  norm 0.71  1,234,567 tokens/s"
    assert progress(row, 300) == short
    on_gpu = {**row, "mfu": 0.4123, "memory_bytes": 31_400_000_000}
    assert progress(on_gpu, 300, remaining=3_720.0) == f"{short}  mfu 41.2%  31.4 GB  eta 1h02m"
    assert progress({**row, "step": 5}, 10_000).startswith("step     5/10000  loss")


@pytest.mark.gpu
def test_memory_of_a_real_device() -> None:
    device = torch.device("cuda")
    meter = Meter(1, 1, device)
    torch.empty(1 << 20, device=device)
    meter.start()
    assert meter.stop()["memory_bytes"] >= 1 << 22
