"""Training and sampling speed on a GPU, beside a plain loop and transformers, on the same card in the same run.

Training: whole updates of 524,288 synthetic tokens (forward, backward, clipping, AdamW), tokens a second and MFU; the
peer is `bench/plain_gpt.py`, compiled, at the best of its micro-batches, with as many parameters. Sampling: tokens a
second of continuing one and 32 prompts with a KV cache, beside `generate` of transformers on the exported weights. Text:
both train on the same real English for the same tokens; the losses on held-out text stand side by side.

    python -m bench.pretrain_gpu [--only 124m-50k,124m-100k,350m-50k,sample,text] [--json]

`--miniature` runs every part at a tiny size, on a CPU as well: a test of the script.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.plain_gpt import PlainGPT, plain_optimizer, plain_update
from model import attention
from model.config import ModelConfig, TrainConfig
from model.device import pick_device
from model.gpt import GPT, flops_per_token, parameter_count
from model.meter import Meter
from model.optim import make_optimizer
from model.presets import from_preset
from model.train import accumulate_gradients

UPDATE_TOKENS = 524_288
# name -> preset, ids of the vocabulary (GPT-2's and GPT-4's)
SPEEDS = {"124m-50k": ("124m", 50_257), "124m-100k": ("124m", 100_277), "350m-50k": ("350m", 50_257)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join([*SPEEDS]), help="parts, by comma")
    parser.add_argument("--updates", type=int, default=6, help="timed updates of each (median)")
    parser.add_argument("--micro-batches", default="32,64", help="rows a forward pass that are tried, for the peer")
    parser.add_argument("--ours", type=int, default=64, help="rows a forward pass of ours")
    parser.add_argument("--kernels", default="", help="attention kernel of ours: cudnn, flash")
    parser.add_argument("--without", default="", help="ours or plain: leave it out")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--shape", default="", help="another preset for ours")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = pick_device("auto")
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    torch.set_float32_matmul_precision("high")
    if options.kernels:
        from torch.nn.attention import SDPBackend

        attention.BACKENDS[:] = [
            getattr(SDPBackend, {"cudnn": "CUDNN_ATTENTION", "flash": "FLASH_ATTENTION"}[options.kernels])
        ]
    for name in options.only.split(","):
        preset, vocabulary = SPEEDS[name]
        config, training = from_preset(preset, vocabulary)
        ours = {}
        if options.without != "ours":
            own, _ = from_preset(options.shape or preset, vocabulary)
            ours = our_speed(own, training, options.ours, options, device)
            print(name, "ours", ours, flush=True)
        if options.without != "plain":
            for rows in map(int, options.micro_batches.split(",")):
                print(name, "plain", rows, plain_speed(config, training, rows, options, device), flush=True)


def our_speed(config: ModelConfig, training: TrainConfig, rows: int, options: Any, device: torch.device) -> Any:
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    model = GPT(config).to(device)
    model.compile_trunk()
    optimizer = make_optimizer(model, training)
    x_BT, y_BT = synthetic(config, device)

    def update() -> None:
        with attention.kernels(device):
            accumulate_gradients(model, x_BT, y_BT, rows)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    update()
    torch.cuda.synchronize()
    compiled = time.perf_counter() - start
    seconds = timed(update, options.updates)
    if options.profile:
        profile(update)
    speed = UPDATE_TOKENS / seconds
    mfu = Meter(UPDATE_TOKENS, flops_per_token(config), device).mfu(speed)
    memory = torch.cuda.max_memory_allocated() / 1e9
    count = parameter_count(model)
    del model, optimizer
    tidy()
    return f"{speed:,.0f} tokens/s mfu {mfu:.1%} {memory:.1f} GB {count:,} parameters, first update {compiled:.0f} s"


def plain_speed(config: ModelConfig, training: TrainConfig, rows: int, options: Any, device: torch.device) -> Any:
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    model = PlainGPT(config.padded_vocab_size, config.context, config.layers, config.width, config.width // 64)
    model = model.to(device)
    compiled_model = torch.compile(model)
    optimizer = plain_optimizer(model, training.lr)
    x_BT, y_BT = synthetic(config, device)

    def update() -> None:
        plain_update(model, compiled_model, optimizer, x_BT, y_BT, rows)

    update()
    torch.cuda.synchronize()
    compiled = time.perf_counter() - start
    seconds = timed(update, options.updates)
    if options.profile:
        profile(update)
    memory = torch.cuda.max_memory_allocated() / 1e9
    count = parameter_count(model)
    del model, compiled_model, optimizer
    tidy()
    return (
        f"{UPDATE_TOKENS / seconds:,.0f} tokens/s {memory:.1f} GB {count:,} parameters, first update {compiled:.0f} s"
    )


def synthetic(config: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    shape = (UPDATE_TOKENS // config.context, config.context + 1)
    ids_BT = torch.from_numpy(np.random.default_rng(0).integers(0, config.vocab_size, shape)).to(device)
    return ids_BT[:, :-1].contiguous(), ids_BT[:, 1:].contiguous()


def timed(update: Callable[[], None], repeats: int) -> float:
    update()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        update()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def profile(update: Callable[[], None]) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    with profiled(activities=[ProfilerActivity.CUDA]) as found:
        update()
        torch.cuda.synchronize()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    print(f"device time {total / 1e3:.0f} ms")
    for row in rows[:28]:
        print(f"{row.self_device_time_total / 1e3:8.1f} ms {row.count:5} {row.key[:110]}")


def tidy() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch._dynamo.reset()


if __name__ == "__main__":
    main()
