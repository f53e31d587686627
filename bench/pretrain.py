"""Training speed of the tiny preset beside a plain GPT-2 of the same size, on the same batches in the same run.

The peer is what the well-known minimal trainers do (nanoGPT's recipe, written anew here): GPT-2's block with learned
positions, LayerNorm and GELU, SDPA attention, AdamW in PyTorch's default form, and one forward pass for the whole
batch. Both run in fp32 on the CPU, or in bf16 on CUDA, and do a whole update: forward, backward, clipping, AdamW.

On a machine that is not idle set OMP_WAIT_POLICY=PASSIVE, as the `model` command does.

    python -m bench.pretrain [--steps 10] [--vocab 4096] [--device cpu] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import print_json, print_row, ratios
from model.config import ModelConfig
from model.device import MICRO_BATCH_TOKENS, autocast, pick_device, to_device
from model.gpt import GPT, parameter_count
from model.optim import make_optimizer
from model.presets import from_preset
from model.train import accumulate_gradients


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        qkv = self.qkv(self.norm_1(x_BTC)).split(C, dim=2)
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in qkv)
        y_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTC = x_BTC + self.out(y_BHTD.transpose(1, 2).reshape(B, T, C))
        y_BTC: Tensor = x_BTC + self.down(F.gelu(self.up(self.norm_2(x_BTC))))
        return y_BTC


class PlainGPT2(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.padded_vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(PlainBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x_BT: Tensor, y_BT: Tensor) -> Tensor:
        x_BTC = self.tokens(x_BT) + self.positions(torch.arange(x_BT.shape[1], device=x_BT.device))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        logits_BTV = F.linear(self.norm(x_BTC), self.tokens.weight)
        return F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="timed updates of each (median)")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    device = pick_device(options.device)
    config, training = from_preset("tiny", options.vocab)
    rows = training.batch_tokens // config.context
    ids_BT = np.random.default_rng(0).integers(0, options.vocab, (rows, config.context + 1))
    x_BT, y_BT = to_device(ids_BT[:, :-1], device), to_device(ids_BT[:, 1:], device)

    ours = GPT(config).to(device)
    our_optimizer = make_optimizer(ours, training)
    micro_batch = max(1, MICRO_BATCH_TOKENS[device.type] // config.context)

    def our_update() -> None:
        accumulate_gradients(ours, x_BT, y_BT, micro_batch)
        finish(ours, our_optimizer)

    peer = PlainGPT2(config).to(device)
    peer_optimizer = torch.optim.AdamW(peer.parameters(), lr=training.lr, betas=(0.9, 0.95), weight_decay=0.1)

    def peer_update() -> None:
        with autocast(device):
            loss = peer(x_BT, y_BT)
        loss.backward()
        finish(peer, peer_optimizer)

    seconds = alternate({"ours": our_update, "plain-gpt2": peer_update}, options.steps, device)
    rates = {name: training.batch_tokens / each for name, each in seconds.items()}
    speed, peers = rates.pop("ours"), rates
    print(f"{parameter_count(ours):,} parameters, the peer {parameter_count(peer):,}; {device}")
    print_row("pretrain tiny", "tokens/s", speed, peers, higher_is_better=True)
    if options.json:
        print_json("pretrain", ratios(speed, peers, higher_is_better=True), {"tokens_per_second": speed}, peers)


def finish(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def alternate(updates: dict[str, Callable[[], None]], repeats: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each update, in turns, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    for repeat in range(repeats + 2):
        for name, update in updates.items():
            start = time.perf_counter()
            update()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat >= 2:  # two to warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
