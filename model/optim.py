"""AdamW as GPT-3 used it, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from model.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv:1711.05101), weight decay on matrices only: a norm's scale is not to be pulled to zero."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    # fused: one pass over all weights instead of one kernel an operation and tensor; on CPU and CUDA alike.
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Of update `step` (from 0): linear warm-up, then cosine or constant-and-decay ("wsd") to
    min_lr_ratio.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    floor = config.lr * config.min_lr_ratio
    if config.schedule == "cosine":
        progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        return floor + (config.lr - floor) * (1 + math.cos(math.pi * progress)) / 2
    decay_steps = max(1, round(config.steps * config.decay_fraction))
    remaining = min(1.0, (config.steps - step) / decay_steps)
    return floor + (config.lr - floor) * remaining


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
