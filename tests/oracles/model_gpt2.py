"""GPT-2 and how it is trained, written down from its descriptions, in double precision.

The model: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3, after "Improving
Language Understanding by Generative Pre-Training" (2018), section 4.1; names of weights as published with it, matrices
stored (in, out). The update: AdamW (arXiv:1711.05101, algorithm 2, with decay on matrices only), after clipping by the
gradient's global norm (arXiv:1211.5063). Gradients are PyTorch's, of this forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Weights = dict[str, Tensor]  # float64, by published name


def loss(weights: Weights, layers: int, heads: int, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean nats a target."""
    T = inputs_BT.shape[1]
    x_BTC = weights["wte.weight"][inputs_BT] + weights["wpe.weight"][torch.arange(T)]
    for layer in range(layers):
        own = {name.removeprefix(f"h.{layer}."): w for name, w in weights.items() if name.startswith(f"h.{layer}.")}
        x_BTC = x_BTC + attention(own, heads, layer_norm(x_BTC, own["ln_1.weight"], own["ln_1.bias"]))
        h_BTF = layer_norm(x_BTC, own["ln_2.weight"], own["ln_2.bias"]) @ own["mlp.c_fc.weight"] + own["mlp.c_fc.bias"]
        x_BTC = x_BTC + gelu(h_BTF) @ own["mlp.c_proj.weight"] + own["mlp.c_proj.bias"]
    logits_BTV = layer_norm(x_BTC, weights["ln_f.weight"], weights["ln_f.bias"]) @ weights["wte.weight"].T
    p_BTV = logits_BTV.exp() / logits_BTV.exp().sum(-1, keepdim=True)
    return -p_BTV.gather(-1, targets_BT[..., None]).log().mean()


def attention(own: Weights, heads: int, x_BTC: Tensor) -> Tensor:
    T, D = x_BTC.shape[1], x_BTC.shape[2] // heads
    q_BTC, k_BTC, v_BTC = (x_BTC @ own["attn.c_attn.weight"] + own["attn.c_attn.bias"]).chunk(3, dim=-1)
    future_TS = torch.arange(T)[None, :] > torch.arange(T)[:, None]
    mixed = []
    for head in range(heads):
        mine = slice(head * D, (head + 1) * D)
        scores_BTS = q_BTC[..., mine] @ k_BTC[..., mine].transpose(1, 2) / math.sqrt(D)
        seen_BTS = scores_BTS.exp().masked_fill(future_TS, 0)
        mixed.append(seen_BTS / seen_BTS.sum(-1, keepdim=True) @ v_BTC[..., mine])
    return torch.cat(mixed, dim=-1) @ own["attn.c_proj.weight"] + own["attn.c_proj.bias"]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def gelu(x: Tensor) -> Tensor:
    """The approximation of arXiv:1606.08415, section 2, which GPT-2 uses."""
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def warmup_and_cosine(step: int, steps: int, warmup: int, peak: float, last: float) -> float:
    """Learning rate of update `step` (from 0): up in a straight line, down along half a cosine to `last`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / (steps - warmup)
    return last + (peak - last) * 0.5 * (1 + math.cos(math.pi * share))


def train(
    start: Mapping[str, Tensor],
    layers: int,
    heads: int,
    batches: Iterable[tuple[Tensor, Tensor]],
    rates: Iterable[float],
    betas: tuple[float, float],
    eps: float,
    decay: float,
    clip: float,
) -> tuple[list[float], list[float]]:
    """The loss and the gradient's norm before each update."""
    weights = {name: weight.double() for name, weight in start.items()}
    mean = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    square = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    losses, norms = [], []
    for t, ((inputs_BT, targets_BT), rate) in enumerate(zip(batches, rates, strict=True), start=1):
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        now = loss(weights, layers, heads, inputs_BT, targets_BT)
        gradients = dict(zip(weights, torch.autograd.grad(now, list(weights.values())), strict=True))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        losses.append(now.item())
        norms.append(norm)
        for name, gradient in gradients.items():
            clipped = gradient * min(1.0, clip / norm)
            mean[name] = betas[0] * mean[name] + (1 - betas[0]) * clipped
            square[name] = betas[1] * square[name] + (1 - betas[1]) * clipped**2
            unbiased, size = mean[name] / (1 - betas[0] ** t), (square[name] / (1 - betas[1] ** t)).sqrt()
            weight = weights[name].detach()
            pull = decay * weight if weight.dim() == 2 else 0.0
            weights[name] = weight - rate * (unbiased / (size + eps) + pull)
    return losses, norms
