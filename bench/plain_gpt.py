"""The peer of the training benchmarks, a minimal GPT and its update; and an update of ours.

The peer is what nanoGPT's `train.py` does (https://github.com/karpathy/nanoGPT), written anew without its data loading
and logging: GPT-2's block without biases, learned positions, LayerNorm, GELU, SDPA attention, tied head, and one
cross-entropy over all logits; one forward and backward pass for each micro-batch, under bf16 autocast on CUDA, and
fused AdamW. The benchmark on a GPU compiles the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import kernels
from model.device import autocast
from model.gpt import GPT
from model.optim import zero_gradients
from model.parallel import clip
from model.train import accumulate_gradients


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        qkv = self.qkv(self.norm_1(x_BTC)).split(C, dim=2)
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2) for part in qkv)
        y_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTC = x_BTC + self.out(y_BHTD.transpose(1, 2).reshape(B, T, C))
        y_BTC: Tensor = x_BTC + self.down(F.gelu(self.up(self.norm_2(x_BTC))))
        return y_BTC


class PlainGPT(nn.Module):
    """`model(tokens, targets)` is the mean loss in nats."""

    def __init__(self, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                adds = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if adds else 0.02)

    def forward(self, x_BT: Tensor, y_BT: Tensor) -> Tensor:
        x_BTC = self.tokens(x_BT) + self.positions(torch.arange(x_BT.shape[1], device=x_BT.device))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        logits_BTV = F.linear(self.norm(x_BTC), self.tokens.weight)
        return F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten())


def plain_optimizer(model: nn.Module, lr: float) -> torch.optim.AdamW:
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def our_update(
    model: GPT, optimizers: Sequence[torch.optim.Optimizer], x_BT: Tensor, y_BT: Tensor, micro_batch: int, most: float
) -> None:
    """One update over all rows, `micro_batch` at a time, of a gradient of at most the norm `most`."""
    with kernels(x_BT.device):
        accumulate_gradients(model, x_BT, y_BT, micro_batch)
    clip(model, most)
    for optimizer in optimizers:
        optimizer.step()
    zero_gradients(optimizers)


def plain_update(
    model: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    x_BT: Tensor,
    y_BT: Tensor,
    micro_batch: int,
) -> Tensor:
    """One update over all rows, `micro_batch` at a time; the mean loss, on the device."""
    parts = list(zip(x_BT.split(micro_batch), y_BT.split(micro_batch), strict=True))
    total = torch.zeros((), device=x_BT.device)
    for x_mT, y_mT in parts:
        with autocast(x_BT.device):
            loss = loss_of(x_mT, y_mT) / len(parts)
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total
