"""Sampling without a cache: a whole forward pass for every token of every sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.gpt import GPT


@torch.no_grad()
def continuation(
    model: GPT, prompt: Sequence[int], end_of_text: int, most: int, draw: Callable[[Tensor, int], int]
) -> tuple[list[int], bool]:
    """Up to `most` ids after `prompt`, and whether an end-of-text token was drawn. `draw(logits_V, step)` is an id."""
    context = model.config.context
    seen = [end_of_text, *prompt][-context:]
    drawn: list[int] = []
    for step in range(most):
        if len(seen) > context:
            seen = seen[-max(1, context // 2) :]
        token = draw(model.logits(torch.tensor([seen]))[0, -1], step)
        if token == end_of_text:
            return drawn, True
        drawn.append(token)
        seen.append(token)
    return drawn, False
