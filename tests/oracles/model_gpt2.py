"""GPT-2 and its training, written from the papers that describe them, in double precision.

The model is that of Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.3, which
builds on "Improving Language Understanding by Generative Pre-Training" (2018), section 4.1. Weights have their
published names, and matrices are stored (in, out). The update is AdamW (arXiv:1711.05101, algorithm 2, with decay on
matrices only) after clipping by the gradient's global norm (arXiv:1211.5063). PyTorch differentiates the forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Weights = dict[str, Tensor]  # float64, by published name


def loss(weights: Weights, layers: int, heads: int, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """The mean loss of all targets in nats. Inputs and targets are ids, (B, T)."""
    T = inputs_BT.shape[1]
    x_BTC = weights["wte.weight"][inputs_BT] + weights["wpe.weight"][torch.arange(T)]
    for layer in range(layers):
        block = {name.removeprefix(f"h.{layer}."): w for name, w in weights.items() if name.startswith(f"h.{layer}.")}
        x_BTC = x_BTC + attention(block, heads, layer_norm(x_BTC, block["ln_1.weight"], block["ln_1.bias"]))
        y_BTC = layer_norm(x_BTC, block["ln_2.weight"], block["ln_2.bias"])
        h_BTF = y_BTC @ block["mlp.c_fc.weight"] + block["mlp.c_fc.bias"]
        x_BTC = x_BTC + gelu(h_BTF) @ block["mlp.c_proj.weight"] + block["mlp.c_proj.bias"]
    logits_BTV = layer_norm(x_BTC, weights["ln_f.weight"], weights["ln_f.bias"]) @ weights["wte.weight"].T
    p_BTV = logits_BTV.exp() / logits_BTV.exp().sum(-1, keepdim=True)
    return -p_BTV.gather(-1, targets_BT[..., None]).log().mean()


def attention(block: Weights, heads: int, x_BTC: Tensor) -> Tensor:
    """Causal attention with the weights of one block, (B, T, C)."""
    T, D = x_BTC.shape[1], x_BTC.shape[2] // heads
    q_BTC, k_BTC, v_BTC = (x_BTC @ block["attn.c_attn.weight"] + block["attn.c_attn.bias"]).chunk(3, dim=-1)
    future_TS = torch.arange(T)[None, :] > torch.arange(T)[:, None]
    mixed = []
    for head in range(heads):
        channels = slice(head * D, (head + 1) * D)
        scores_BTS = q_BTC[..., channels] @ k_BTC[..., channels].transpose(1, 2) / math.sqrt(D)
        seen_BTS = scores_BTS.exp().masked_fill(future_TS, 0)
        mixed.append(seen_BTS / seen_BTS.sum(-1, keepdim=True) @ v_BTC[..., channels])
    return torch.cat(mixed, dim=-1) @ block["attn.c_proj.weight"] + block["attn.c_proj.bias"]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / deviation * weight + bias over the last dimension."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def gelu(x: Tensor) -> Tensor:
    """GELU in the approximation that GPT-2 uses (arXiv:1606.08415, section 2)."""
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


def warmup_and_cosine(step: int, steps: int, warmup: int, peak: float, last: float) -> float:
    """The learning rate of update `step` (from 0): a linear warm-up to `peak`, then half a cosine down to `last`."""
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
    """Train from the weights `start`: the loss and the gradient's norm before each update.

    There is an update for each batch of inputs and targets and its learning rate in `rates`.
    """
    weights = {name: weight.double() for name, weight in start.items()}
    mean = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    square = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    losses, norms = [], []
    for t, ((inputs_BT, targets_BT), rate) in enumerate(zip(batches, rates, strict=True), start=1):
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        nats = loss(weights, layers, heads, inputs_BT, targets_BT)
        gradients = dict(zip(weights, torch.autograd.grad(nats, list(weights.values())), strict=True))
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        losses.append(nats.item())
        norms.append(norm)
        for name, gradient in gradients.items():
            clipped = gradient * min(1.0, clip / norm)
            mean[name] = betas[0] * mean[name] + (1 - betas[0]) * clipped
            square[name] = betas[1] * square[name] + (1 - betas[1]) * clipped**2
            unbiased, root = mean[name] / (1 - betas[0] ** t), (square[name] / (1 - betas[1] ** t)).sqrt()
            weight = weights[name].detach()
            decayed = decay * weight if weight.dim() == 2 else 0.0
            weights[name] = weight - rate * (unbiased / (root + eps) + decayed)
    return losses, norms
