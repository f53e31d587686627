"""The model: token ids in, next-token logits or the loss out. Qwen3's shape (arXiv:2505.09388), nothing else.

Token embedding; then, for each layer, attention and a SwiGLU MLP, each reading an RMS-normalised copy of
the residual stream and adding to it; a last norm; the embedding again as output head. Attention normalises
queries and keys (QK-norm) before it rotates them (RoPE), and shares key and value heads between query heads
(GQA).

Tensor names carry their shape: B batch, T new tokens, S tokens seen so far, C channels (width), H query
heads, K key/value heads, D channels a head, F the MLP's inner channels, V vocabulary.

The shape is a published one so that the weights can be named for other tools without custom code; each
linear map that reads the same input is one matrix (`qkv`, `gate_up`) because one large product is faster
than three.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, computed in fp32 (arXiv:1910.07467)."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).type_as(x)


class LayerCache:
    """Keys and values of one layer, for up to `context` tokens: what earlier tokens leave for later ones."""

    def __init__(self, config: ModelConfig, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (batch, config.kv_heads, config.context, config.head_dim)
        self.k_BKSD = torch.empty(shape, device=device, dtype=dtype)
        self.v_BKSD = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0  # S, tokens held

    def append(self, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Add T tokens; return the keys and values of all S tokens."""
        end = self.length + k_BKTD.shape[2]
        self.k_BKSD[:, :, self.length : end] = k_BKTD
        self.v_BKSD[:, :, self.length : end] = v_BKTD
        self.length = end
        return self.k_BKSD[:, :, :end], self.v_BKSD[:, :, :end]


def rope_tables(context: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin, each (context, head_dim / 2), of position * theta**(-2i / head_dim) (arXiv:2104.09864)."""
    frequency_D = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle_TD = torch.outer(torch.arange(context, dtype=torch.float64), frequency_D)
    return angle_TD.cos().float(), angle_TD.sin().float()


def rotate(x_BTHD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn the channel pairs (i, i + D/2) by their position's angles; computed in the tables' fp32."""
    cos_T1D, sin_T1D = cos_TD[:, None], sin_TD[:, None]
    first, second = x_BTHD.chunk(2, dim=-1)
    turned = torch.cat((first * cos_T1D - second * sin_T1D, second * cos_T1D + first * sin_T1D), dim=-1)
    return turned.type_as(x_BTHD)


def attend(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor) -> Tensor:
    """Causal softmax(q k / sqrt(D)) v, (B, H, T, D); the T queries are the last of the S positions."""
    T, S = q_BHTD.shape[2], k_BKSD.shape[2]
    # A causal flag means "query t sees keys 0..t", which is wrong for queries that continue a cache.
    mask_TS = None if T in (1, S) else torch.ones(T, S, dtype=torch.bool, device=q_BHTD.device).tril(S - T)
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BKSD,
        v_BKSD,
        attn_mask=mask_TS,
        is_causal=T == S and T > 1,
        enable_gqa=q_BHTD.shape[1] != k_BKSD.shape[1],
    )


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * config.head_dim, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps)
        self.out = nn.Linear(config.heads * config.head_dim, config.width, bias=False)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor, cache: LayerCache | None) -> Tensor:
        B, T, _ = x_BTC.shape
        heads = self.qkv(x_BTC).view(B, T, -1, self.head_dim)
        q_BTHD, k_BTKD, v_BTKD = heads.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        q_BHTD = rotate(self.q_norm(q_BTHD), cos_TD, sin_TD).transpose(1, 2)
        k_BKSD = rotate(self.k_norm(k_BTKD), cos_TD, sin_TD).transpose(1, 2)
        v_BKSD = v_BTKD.transpose(1, 2)
        if cache is not None:
            k_BKSD, v_BKSD = cache.append(k_BKSD, v_BKSD)
        y_BHTD = attend(q_BHTD, k_BKSD, v_BKSD)
        y_BTC: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(B, T, -1))
        return y_BTC


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)) (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate_up(x_BTC).chunk(2, dim=-1)
        y_BTC: Tensor = self.down(F.silu(gate_BTF) * up_BTF)
        return y_BTC


class Block(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor, cache: LayerCache | None) -> Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), cos_TD, sin_TD, cache)
        y_BTC: Tensor = x_BTC + self.mlp(self.mlp_norm(x_BTC))
        return y_BTC


class GPT(nn.Module):
    """`model(tokens, targets)` is the loss; `model.logits(tokens, caches)` is for sampling."""

    cos_TD: Tensor
    sin_TD: Tensor

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.padded_vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        cos_TD, sin_TD = rope_tables(config.context, config.head_dim, config.rope_theta)
        self.register_buffer("cos_TD", cos_TD, persistent=False)
        self.register_buffer("sin_TD", sin_TD, persistent=False)
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        """Same seed, same weights, whatever was drawn before."""
        generator = torch.Generator().manual_seed(seed)
        # 1 / sqrt(width): logits start with a deviation of 1 at any width. GPT-2's 0.02 is that for a width of
        # 2,500 only; on the tiny preset it costs 0.6 nats after 150 steps.
        width_std = self.config.width**-0.5
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            # Each of the 2 x layers additions adds variance to the residual stream (GPT-2 scales them so).
            adds = name.endswith(("attention.out.weight", "mlp.down.weight"))
            std = width_std / (2 * self.config.layers) ** 0.5 if adds else width_std
            nn.init.normal_(weight, std=std, generator=generator)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy in nats: the mean over all targets, or (B, T) with reduction="none"."""
        logits_BTV = self.logits(tokens_BT)
        loss_N = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction=reduction)
        return loss_N if reduction == "mean" else loss_N.view_as(targets_BT)

    def logits(self, tokens_BT: Tensor, caches: list[LayerCache] | None = None) -> Tensor:
        """fp32 logits (B, T, V), V without the embedding's padding.

        With `caches` (see `new_caches`) the tokens continue those seen by earlier calls.
        """
        return self.head(self.hidden(tokens_BT, caches))

    def hidden(self, tokens_BT: Tensor, caches: list[LayerCache] | None = None) -> Tensor:
        """The last norm's output (B, T, C)."""
        start = caches[0].length if caches else 0
        end = start + tokens_BT.shape[1]
        if end > self.config.context:
            raise ValueError(f"{end} tokens: should be at most the context, {self.config.context}")
        cos_TD, sin_TD = self.cos_TD[start:end], self.sin_TD[start:end]
        x_BTC = self.embedding(tokens_BT)
        for layer, block in enumerate(self.blocks):
            x_BTC = block(x_BTC, cos_TD, sin_TD, caches[layer] if caches else None)
        normed: Tensor = self.norm(x_BTC)
        return normed

    def head(self, x_BTC: Tensor) -> Tensor:
        """Logits of the real ids only: the padding's columns are cut away, so they have no probability."""
        return F.linear(x_BTC, self.embedding.weight)[..., : self.config.vocab_size].float()

    def new_caches(self, batch: int, dtype: torch.dtype = torch.float32) -> list[LayerCache]:
        """An empty cache a layer, for `batch` sequences of up to `context` tokens."""
        device = self.embedding.weight.device
        return [LayerCache(self.config, batch, device, dtype) for _ in self.blocks]


def parameter_count(model: nn.Module) -> int:
    """Trained numbers, the tied embedding once."""
    return sum(weight.numel() for weight in model.parameters())


def flops_per_token(config: ModelConfig) -> int:
    """Training FLOPs (forward and backward) a token: 6 a matrix weight, and 12 L C T for attention (PaLM,
    appendix B).
    """
    attention = config.width * (2 * config.heads + 2 * config.kv_heads) * config.head_dim
    layer = attention + 3 * config.width * config.mlp_width
    scores = 12 * config.layers * config.heads * config.head_dim * config.context
    return 6 * (config.layers * layer + config.width * config.vocab_size) + scores
