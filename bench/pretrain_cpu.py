"""Training speed of the tiny preset on a CPU, beside a plain loop with a model of the same size, in the same run.

    python -m bench.pretrain_cpu [--updates 20] [--vocab 4096] [--threads 2] [--json]

The peer (`plain_loop`) is `bench/plain_gpt.py`, at the faster of two micro-batches. Both are eager, in fp32, and make a
whole update on the same tokens: forward, backward, clipping, fused AdamW.

On a machine that is not idle, set GOMP_SPINCOUNT=1000, as the `model` command does: threads that spin hinder others.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from bench.harness import print_json, print_row, ratios
from bench.plain_gpt import PlainGPT, our_update, plain_optimizer, plain_update
from model.device import micro_batch_tokens
from model.gpt import GPT, parameter_count
from model.optim import make_optimizers
from model.presets import from_preset

HEADS = 4  # of the peer, as in nanoGPT's model of this width (its README, "I only have a macbook")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20, help="timed updates of each (median)")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    device = torch.device("cpu")
    config, training = from_preset("tiny", options.vocab)
    rows = training.batch_tokens // config.context
    ids_BT = np.random.default_rng(0).integers(0, options.vocab, (rows, config.context + 1))
    x_BT, y_BT = torch.from_numpy(ids_BT[:, :-1]), torch.from_numpy(ids_BT[:, 1:])

    ours = GPT(config)
    optimizers = make_optimizers(ours, training)
    micro_batch = micro_batch_tokens(device, config) // config.context

    def our_whole() -> None:
        our_update(ours, optimizers, x_BT, y_BT, micro_batch, training.clip_norm)

    def plain(micro_batch: int) -> tuple[PlainGPT, Callable[[], object]]:
        model = PlainGPT(config.padded_vocab_size, config.context, config.layers, config.width, HEADS)
        optimizer = plain_optimizer(model, training.lr)
        return model, lambda: plain_update(model, model, optimizer, x_BT, y_BT, micro_batch)

    peer, whole_batch = plain(rows)
    updates = {"ours": our_whole, "whole batch": whole_batch, "micro-batch": plain(micro_batch)[1]}
    rates = {name: training.batch_tokens / seconds for name, seconds in alternate(updates, options.updates).items()}
    speed = rates.pop("ours")
    peers = {"plain_loop": max(rates.values())}
    print(f"{parameter_count(ours):,} parameters, the peer {parameter_count(peer):,}; {options.threads} threads")
    print_row("pretrain tiny", "tokens/s", speed, peers, higher_is_better=True)
    if options.json:
        print_json("pretrain_cpu", ratios(speed, peers, higher_is_better=True), {"tokens_per_second": speed}, peers)


def alternate(updates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each update, in turns, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in updates}
    for repeat in range(repeats + 2):
        for name, update in updates.items():
            start = time.perf_counter()
            update()
            if repeat >= 2:  # two to warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
