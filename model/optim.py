"""The optimisers of a run, and the learning rate as a pure function of the step.

"adamw" is one AdamW, as GPT-3 used it. "muon" is two optimisers: Muon (`model/muon.py`) for the matrices of the
blocks, and the same AdamW for all else: Muon's geometry is that of a linear map, which an embedding's rows and a
norm's scale are not. Both take the same learning rate and weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from model.config import ModelConfig, TrainConfig
from model.muon import Muon


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """To be stepped one after the other; together they hold every parameter that is trained, once.

    `model` has its ModelConfig as `config` if the optimiser is Muon. Make it before the optimisers what it is to be in
    training: on its device, and sharded.
    """
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if config.optimizer == "adamw":
        return [_adamw(named.values(), config)]
    inner = {name: weight for name, weight in named.items() if "blocks." in name and weight.dim() == 2}
    assert isinstance(model.config, ModelConfig)
    by_rows: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for name, weight in inner.items():
        by_rows.setdefault(row_parts(name, model.config), []).append(weight)
    groups = [{"params": weights, "rows": rows or None} for rows, weights in by_rows.items()]
    muon = Muon(groups, lr=config.lr, momentum=config.muon_momentum, weight_decay=config.weight_decay)
    return [muon, _adamw([weight for name, weight in named.items() if name not in inner], config)]


def _adamw(weights: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101), weight decay on whatever has two dimensions, embeddings included: nanoGPT's and
    llm.c's rule. A norm's scale is not to be pulled to zero.
    """
    weights = list(weights)
    groups = [
        {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    # fused: one pass over all weights instead of one kernel an operation and tensor; on CPU and CUDA alike.
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def row_parts(name: str, config: ModelConfig) -> tuple[int, ...]:
    """Heights of the linear maps that parameter `name` stacks on top of each other, (): it is one map."""
    if name.endswith("attention.qkv.weight"):
        keys = config.kv_heads * config.head_dim
        return (config.heads * config.head_dim, keys, keys)
    if name.endswith("mlp.gate_up.weight"):
        return (config.mlp_width, config.mlp_width)
    return ()


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], lr: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr


def zero_gradients(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Of update `step` (from 0): linear warm-up to the peak, then down to min_lr_ratio of it.

    "cosine": half a cosine over the rest (arXiv:1608.03983). "linear": a straight line over the rest
    (arXiv:2310.07831). "wsd": constant, then a straight line over the last decay_fraction of all steps, at
    most over all after the warm-up (arXiv:2404.06395).
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    rest = max(1, config.steps - config.warmup_steps)
    if config.schedule == "wsd":
        decay = min(rest, max(1, round(config.steps * config.decay_fraction)))
    else:
        decay = rest
    remaining = min(1.0, max(0.0, (config.steps - step) / decay))  # 1 at the peak, 0 at the end
    if config.schedule == "cosine":
        remaining = (1 - math.cos(math.pi * remaining)) / 2
    floor = config.lr * config.min_lr_ratio
    return floor + (config.lr - floor) * remaining
