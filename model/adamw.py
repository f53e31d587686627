"""AdamW (arXiv:1711.05101) with GPT-3's settings: the optimizer "adamw"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from model.config import ModelConfig, TrainConfig


def make(
    weights: Mapping[str, nn.Parameter], shape: ModelConfig | None, config: TrainConfig
) -> list[torch.optim.Optimizer]:
    """One AdamW for all weights; see `model.optim.Maker`."""
    return [adamw(weights.values(), config)]


def adamw(weights: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on every weight of two dimensions, embeddings included, as in nanoGPT and llm.c.

    Biases and the scales of norms have no decay: a scale should not be pulled to zero.
    """
    weights = list(weights)
    groups = [
        {"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]
    # fused: one pass over all weights instead of one kernel an operation and tensor; on CPU and CUDA alike.
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)
