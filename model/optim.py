"""The optimizers of a run, by name, and the learning rate as a pure function of the step.

`model.config.OPTIMIZERS` is the table of optimizers: a name and the module that has its `make`. A run may have several
optimizers, each for some of the weights; all take the same learning rate and weight decay.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import nn

from model.config import OPTIMIZERS, ModelConfig, TrainConfig


class Maker(Protocol):
    """What a module in the table of optimizers has as `make`."""

    def __call__(
        self, weights: Mapping[str, nn.Parameter], shape: ModelConfig | None, config: TrainConfig, /
    ) -> list[torch.optim.Optimizer]:
        """Optimizers that together hold every weight once. `shape` is None for a module that is no `GPT`."""
        ...


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """The optimizers that `config.optimizer` names; an update steps each of them once.

    Move the model to its device and shard it before this call, because optimizers keep the weights that they are given.
    """
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    shape = getattr(model, "config", None)
    make: Maker = importlib.import_module(OPTIMIZERS[config.optimizer]).make
    return make(weights, shape if isinstance(shape, ModelConfig) else None, config)


def set_learning_rate(optimizers: Sequence[torch.optim.Optimizer], lr: float) -> None:
    """Give all optimizers the learning rate of the next update."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr


def zero_gradients(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Drop the gradients of all weights, which frees their memory."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update `step` (from 0): a linear warm-up to the peak, then a decay to min_lr_ratio of it.

    "cosine" decays along half a cosine from the warm-up to the end (arXiv:1608.03983), "linear" along a straight line
    (arXiv:2310.07831). "wsd" stays at the peak and decays along a straight line over the last decay_fraction of all
    steps, or over all steps after the warm-up if these are fewer (arXiv:2404.06395).
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
