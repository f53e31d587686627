"""The model, a decoder-only Transformer. In: token ids. Out: logits of the next tokens, or the loss.

The token embedding is the start of the residual stream. Then, in each layer, attention and an MLP each read a
normalised copy of the residual stream and add to it. After a last norm the output head, which may be the embedding
again, gives the logits. The default settings are Qwen3's shape (arXiv:2505.09388): attention normalises queries and
keys (QK-norm) before it rotates them (RoPE), and several query heads share a key and value head (GQA). Other settings
make the model GPT-2.

Tensor names carry their shape: B batch, T tokens, C channels (width), H query heads, K key/value heads, D channels a
head, F inner channels of the MLP, V vocabulary.

The shape is a published one, so that other tools can read the weights without custom code. Linear maps that read one
input are one matrix (`qkv`, `gate_up`), because one large product is faster than several small ones. On CUDA the
residual stream is bf16, which halves the bytes that elementwise operations move; norms, rotations and the loss are
computed in fp32.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bpe import arguments
from model.attention import Mask, Masks, attend, training_masks
from model.config import ModelConfig
from model.device import compute_dtype
from model.loss import capped, cross_entropy, token_losses

fused_swiglu: Callable[[Tensor], Tensor] | None = None
if importlib.util.find_spec("triton"):  # PyTorch for CUDA installs it
    from model.swiglu import swiglu as fused_swiglu

Rotation = tuple[Tensor, Tensor]  # cos and sin, each (T, D)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, computed in fp32 (arXiv:1910.07467)."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).type_as(x)


class LayerNorm(nn.Module):
    """(x - mean) / deviation * weight + bias over the last dimension, computed in fp32 (arXiv:1607.06450)."""

    def __init__(self, channels: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.weight.shape, self.weight, self.bias, self.eps).type_as(x)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm over the width that `config.norm` names."""
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps)
    return LayerNorm(config.width, config.norm_eps, config.bias)


def rope_tables(context: int, head_dim: int, theta: float) -> Rotation:
    """cos and sin of each position's angles, each (context, head_dim) in fp32 (RoPE, arXiv:2104.09864).

    The channels i and i + head_dim / 2 have the angle position * theta**(-2i / head_dim). The first half of the sines
    is negated, as `rotate` needs it.
    """
    frequency_D = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle_TD = torch.outer(torch.arange(context, dtype=torch.float64), frequency_D)
    cos_TD, sin_TD = angle_TD.cos().float(), angle_TD.sin().float()
    return torch.cat((cos_TD, cos_TD), dim=-1), torch.cat((-sin_TD, sin_TD), dim=-1)


def rotate(x_BTHD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn each channel pair (i, i + D/2) by its position's angle, computed in fp32; the result has x's dtype."""
    swapped_BTHD = x_BTHD.roll(x_BTHD.shape[-1] // 2, dims=-1)  # each channel's partner
    return (x_BTHD * cos_TD[:, None] + swapped_BTHD * sin_TD[:, None]).type_as(x_BTHD)


class Attention(nn.Module):
    """out(attention(q, k, v)) of x (B, T, C), with q, k and v from one linear map of x."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        rows = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.width, rows, bias=config.bias)
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.out = nn.Linear(config.heads * config.head_dim, config.width, bias=config.bias)

    def forward(self, x_BTC: Tensor, rotation: Rotation | None, mask: Mask | None) -> Tensor:
        B, T, _ = x_BTC.shape
        qkv_BTHD = self.qkv(x_BTC).view(B, T, -1, self.head_dim)
        # Queries and keys are normalised and rotated together: half as many operations, each of which costs a CPU time.
        qk_BTHD, v_BTKD = qkv_BTHD.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        if self.qk_norm:
            normed_BTHD = F.rms_norm(qk_BTHD.float(), (self.head_dim,), eps=self.q_norm.eps)
            qk_BTHD = (normed_BTHD * self.qk_weight_HD()).type_as(qk_BTHD)
        if rotation is not None:
            qk_BTHD = rotate(qk_BTHD, *rotation)
        q_BTHD, k_BTKD = qk_BTHD.split((self.heads, self.kv_heads), dim=2)
        y_BHTD = attend(q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2), mask)
        y_BTC: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(B, T, -1))
        return y_BTC

    def qk_weight_HD(self) -> Tensor:
        """The weights of QK-norm for all query heads and then all key heads, (H + K, D)."""
        q_weight_D, k_weight_D = self.q_norm.weight, self.k_norm.weight
        return torch.cat((q_weight_D.expand(self.heads, -1), k_weight_D.expand(self.kv_heads, -1)))


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x)) (SwiGLU, arXiv:2002.05202), or down(activation(up(x)))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        if config.activation == "swiglu":
            self.gate_up = nn.Linear(config.width, 2 * config.mlp_width, bias=config.bias)
        else:
            self.up = nn.Linear(config.width, config.mlp_width, bias=config.bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        if self.activation == "swiglu":
            h_BTF = gated(self.gate_up(x_BTC))
        elif self.activation == "gelu":
            h_BTF = F.gelu(self.up(x_BTC), approximate="tanh")
        else:
            h_BTF = F.relu(self.up(x_BTC)).square()
        y_BTC: Tensor = self.down(h_BTF)
        return y_BTC


def gated(gate_up_BTF: Tensor) -> Tensor:
    """silu(gate) * up, (..., F), of a tensor (..., 2 F) whose left half are the gates and right half the ups."""
    if fused_swiglu is not None and gate_up_BTF.is_cuda:
        fused_BTF: Tensor = fused_swiglu(gate_up_BTF)
        return fused_BTF
    gate_BTF, up_BTF = gate_up_BTF.chunk(2, dim=-1)
    return F.silu(gate_BTF) * up_BTF


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + mlp(norm(x)), of x (B, T, C)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config)

    def forward(self, x_BTC: Tensor, rotation: Rotation | None, mask: Mask | None) -> Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), rotation, mask)
        y_BTC: Tensor = x_BTC + self.mlp(self.mlp_norm(x_BTC))
        return y_BTC


class GPT(nn.Module):
    """The whole model: `model(tokens, targets)` is the loss, `model.logits(tokens)` the logits.

    Tokens and targets are ids, int64 (B, T); logits are (B, T, V); the loss is the mean in nats a token. Weights are
    fp32, and a new model has random ones. model/decode.py generates text from it.

    >>> import torch
    >>> from model import GPT, ModelConfig
    >>> shape = ModelConfig(300, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> GPT(shape).logits(torch.zeros(2, 8, dtype=torch.int64)).shape
    torch.Size([2, 8, 300])
    """

    cos_TD: Tensor
    sin_TD: Tensor

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config: ModelConfig = arguments.instance("config", config, ModelConfig, "which from_preset makes too")
        self.checkpoint_activations = False
        self.fp8_head = False
        self.trunk: Callable[..., Tensor] = self.hidden  # or its compiled form
        self.embedding = nn.Embedding(config.padded_vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = make_norm(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.padded_vocab_size, bias=False)
        cos_TD, sin_TD = rope_tables(config.context, config.head_dim, config.rope_theta)
        self.register_buffer("cos_TD", cos_TD, persistent=False)
        self.register_buffer("sin_TD", sin_TD, persistent=False)
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        """Draw the weights. They depend on `seed` alone, not on what was drawn before."""
        generator = torch.Generator().manual_seed(seed)
        # With 1 / sqrt(width) logits start with a deviation of 1 at any width. GPT-2's 0.02 gives that for a width of
        # 2,500 only: with the tiny preset the loss is 0.6 nats higher after 150 steps.
        plain_std = 0.02 if self.config.positions == "learned" else self.config.width**-0.5
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() >= 2:
                # 2 x layers maps add to the residual stream. As in GPT-2, their sum has the variance of one plain map.
                adds = name.endswith(("attention.out.weight", "mlp.down.weight"))
                std = plain_std / (2 * self.config.layers) ** 0.5 if adds else plain_std
                nn.init.normal_(weight, std=std, generator=generator)

    def compile_trunk(self, by_block: bool = False) -> None:
        """Let training run a compiled form of all but the loss, which has a kernel of its own.

        `by_block` compiles each block by itself, because FSDP2 gathers weights between the blocks.
        """
        if by_block:
            for block in self.blocks:
                block.compile(dynamic=False)
        else:
            self.trunk = torch.compile(self.hidden, dynamic=False)

    @property
    def head_VC(self) -> Tensor:
        """The weights of the output head; rows beyond the vocabulary are padding."""
        return self.embedding.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, tokens_BT: Tensor, targets_BT: Tensor, reduction: str = "mean", end_of_text: int | None = None
    ) -> Tensor:
        """Cross-entropy in nats: the mean over all targets, or (B, T) with reduction="none", which has no gradient.

        Tokens and targets are ids, (B, T) in int64. With `end_of_text`, attention stays within a document. Raises
        ValueError if T is more than the context.
        """
        # Scoring uses the uncompiled form: it is rare, and compiling takes longer than it would save.
        trunk = self.trunk if torch.is_grad_enabled() else self.hidden
        x_BTC = trunk(tokens_BT, training_masks(self.config, tokens_BT, end_of_text))
        x_NC, targets_N = x_BTC.flatten(0, 1), targets_BT.flatten()
        vocab_size, soft_cap = self.config.vocab_size, self.config.soft_cap
        if reduction == "none":
            return token_losses(x_NC, self.head_VC, targets_N, vocab_size, soft_cap).view_as(targets_BT)
        return cross_entropy(x_NC, self.head_VC, targets_N, vocab_size, soft_cap, fp8=self.fp8_head)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Logits after each token, (B, T, V) in fp32, without the vocabulary's padding.

        Raises ValueError if T is more than the context.
        """
        return self.head(self.hidden(tokens_BT, training_masks(self.config, tokens_BT, None)))

    def hidden(self, tokens_BT: Tensor, masks: Masks) -> Tensor:
        """The output of the last norm, (B, T, C), in the device's `compute_dtype`."""
        length = tokens_BT.shape[1]
        if length > self.config.context:
            raise ValueError(f"{length} tokens: should be at most the context, {self.config.context}")
        x_BTC = self.embedding(tokens_BT)
        if self.positions is not None:
            x_BTC = x_BTC + self.positions.weight[:length]
        x_BTC = x_BTC.to(compute_dtype(x_BTC.device))
        rotation = (self.cos_TD[:length], self.sin_TD[:length]) if self.positions is None else None
        for layer, block in enumerate(self.blocks):
            mask = masks[self.config.window_of(layer)]
            if self.checkpoint_activations and torch.is_grad_enabled():
                x_BTC = checkpoint(block, x_BTC, rotation, mask, use_reentrant=False)
            else:
                x_BTC = block(x_BTC, rotation, mask)
        normed_BTC: Tensor = self.norm(x_BTC)
        return normed_BTC

    def head(self, x_BTC: Tensor) -> Tensor:
        """fp32 logits of the vocabulary without its padding, which therefore has no probability."""
        logits_BTV = F.linear(x_BTC, self.head_VC)[..., : self.config.vocab_size].float()
        return capped(logits_BTV, self.config.soft_cap)


def parameter_count(model: nn.Module) -> int:
    """The number of trained numbers; a tied embedding counts once."""
    return sum(weight.numel() for weight in model.parameters())


def flops_per_token(config: ModelConfig) -> int:
    """FLOPs of training (forward and backward) a token, as PaLM counts them (arXiv:2204.02311, appendix B).

    Each weight of a matrix product counts 6, and attention counts 12 H D T in each layer, where T is the context or the
    layer's attention window. The output head counts, the look-up of embeddings does not. As is the custom, causal
    attention counts as if every token saw all T tokens.
    """
    attention = config.width * (2 * config.heads + 2 * config.kv_heads) * config.head_dim
    matrices = 3 if config.activation == "swiglu" else 2
    layer = attention + matrices * config.width * config.mlp_width
    seen = sum(config.window_of(layer) or config.context for layer in range(config.layers))
    scores = 12 * config.heads * config.head_dim * seen
    return 6 * (config.layers * layer + config.width * config.vocab_size) + scores
