"""What a training run is made of: the model's shape, what determines its weights, and how the run is
carried out.

Three frozen dataclasses, each checked once when it is made; ValueError names the field and the fix.
`ModelConfig` and `TrainConfig` are stored in every checkpoint and must be the same when a run is resumed.
`RunOptions` may differ: a run started on a GPU can be continued on a CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The embedding is padded to this many rows: matrix units work in tiles of 64 (nanoGPT reports +25% from
# 50,257 -> 50,304, https://github.com/karpathy/nanoGPT). The padding is never a target, never sampled.
VOCABULARY_TILE = 64


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only Transformer in Qwen3's shape (arXiv:2505.09388): the field names there stand in
    brackets.
    """

    vocab_size: int  # ids the tokenizer can produce, end of text included
    context: int  # longest sequence, tokens [max_position_embeddings]
    layers: int  # blocks of attention + MLP [num_hidden_layers]
    width: int  # residual stream, channels [hidden_size]
    heads: int  # query heads [num_attention_heads]
    kv_heads: int  # key and value heads, each shared by heads / kv_heads queries [num_key_value_heads]
    head_dim: int  # channels a head, even because RoPE turns pairs [head_dim]
    mlp_width: int  # SwiGLU's inner channels; 8/3 of the width keeps GPT-2's parameters [intermediate_size]
    rope_theta: float = 10_000.0  # base of the rotation periods (RoFormer, arXiv:2104.09864) [rope_theta]
    norm_eps: float = 1e-6  # added to the mean square (Qwen3) [rms_norm_eps]

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "context",
            "layers",
            "width",
            "heads",
            "kv_heads",
            "head_dim",
            "mlp_width",
        ):
            _at_least(self, name, 1)
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads}: should divide heads = {self.heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim = {self.head_dim}: should be even, RoPE turns channels in pairs")

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` up to the next multiple of VOCABULARY_TILE."""
        return -(-self.vocab_size // VOCABULARY_TILE) * VOCABULARY_TILE


@dataclass(frozen=True)
class TrainConfig:
    """All that, beside model and data, determines the weights."""

    steps: int  # optimiser updates
    batch_tokens: int  # tokens an update, a multiple of the context
    lr: float  # peak learning rate
    warmup_steps: int  # linear from 0 to the peak
    schedule: str = "cosine"  # "cosine" down to min_lr_ratio, or "wsd": constant, then linear over the last part
    min_lr_ratio: float = 0.1  # learning rate at the end / peak (Chinchilla, arXiv:2203.15556)
    decay_fraction: float = 0.2  # share of the steps that WSD's decay takes (arXiv:2405.18392 finds 10-20%)
    weight_decay: float = 0.1  # on matrices only; this and the betas as in GPT-3 (arXiv:2005.14165, appendix B)
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip_norm: float = 1.0  # largest global L2 norm of the gradient
    validation_fraction: float = 0.02  # share of the windows, at the end of the stream, that is never trained on
    seed: int = 0  # initial weights and order of the windows

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens"):
            _at_least(self, name, 1)
        for name in ("warmup_steps", "weight_decay", "seed", "beta1", "beta2"):
            _at_least(self, name, 0)
        for name in ("lr", "eps", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: should be above 0")
        for name in ("min_lr_ratio", "decay_fraction", "validation_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: should be between 0 and 1")
        if self.schedule not in ("cosine", "wsd"):
            raise ValueError(f"schedule = {self.schedule!r}: should be cosine or wsd")


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out and watched. Counts are in steps; 0 switches a thing off."""

    device: str = "auto"  # "auto" takes CUDA where there is one
    compile: bool | None = None  # torch.compile; None: on CUDA only
    micro_batch_tokens: int = 0  # most tokens in one forward pass; 0: MICRO_BATCH_TOKENS of the device
    log_every: int = 10
    validate_every: int = 100
    validation_windows: int = 64  # most windows in one validation
    sample_every: int = 100
    sample_prompts: tuple[str, ...] = ("The",)
    sample_tokens: int = 48
    checkpoint_every: int = 100
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        for name in ("micro_batch_tokens", "log_every", "validate_every", "sample_every", "checkpoint_every"):
            _at_least(self, name, 0)
        for name in ("validation_windows", "sample_tokens", "keep_checkpoints"):
            _at_least(self, name, 1)


# Logits dominate: 32,768 tokens x 50,304 ids are 6.6 GB in fp32. A CPU gains nothing beyond its caches.
MICRO_BATCH_TOKENS = {"cuda": 32_768, "cpu": 1_024}

# name -> (summary, ModelConfig without the vocabulary, TrainConfig). Heads of 128 channels keep a GPU's
# attention kernels busier than GPT-2's 64 at equal parameters (modded-nanogpt, nanochat). Steps, batch,
# learning rate and warm-up of the GPT-2 presets: llm.c's scripts/run_gpt2_124M.sh and run_gpt2_350M.sh.
PRESETS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "tiny": (
        "4 x 128, context 256: a demo, about a minute on two CPU cores",
        {
            "context": 256,
            "layers": 4,
            "width": 128,
            "heads": 4,
            "kv_heads": 2,
            "head_dim": 32,
            "mlp_width": 384,
        },
        {"steps": 300, "batch_tokens": 2_048, "lr": 4e-3, "warmup_steps": 20},
    ),
    "nano": (
        "6 x 384, context 512: an hour on a CPU, minutes on a GPU",
        {
            "context": 512,
            "layers": 6,
            "width": 384,
            "heads": 6,
            "kv_heads": 3,
            "head_dim": 64,
            "mlp_width": 1024,
        },
        {"steps": 2_000, "batch_tokens": 16_384, "lr": 1e-3, "warmup_steps": 100},
    ),
    "gpt2-124m": (
        "12 x 768, context 1024: GPT-2 small's size, 10 B tokens",
        {
            "context": 1024,
            "layers": 12,
            "width": 768,
            "heads": 6,
            "kv_heads": 6,
            "head_dim": 128,
            "mlp_width": 2048,
        },
        {"steps": 19_073, "batch_tokens": 524_288, "lr": 6e-4, "warmup_steps": 700},
    ),
    "gpt2-350m": (
        "24 x 1024, context 1024: GPT-2 medium's size, 31 B tokens",
        {
            "context": 1024,
            "layers": 24,
            "width": 1024,
            "heads": 8,
            "kv_heads": 8,
            "head_dim": 128,
            "mlp_width": 2688,
        },
        {"steps": 60_000, "batch_tokens": 524_288, "lr": 3e-4, "warmup_steps": 700},
    ),
}


def from_preset(
    name: str, vocab_size: int, context: int | None = None, **changes: Any
) -> tuple[ModelConfig, TrainConfig]:
    """The preset's configurations; `changes` are TrainConfig fields, None meaning the preset's own value.

    Raises ValueError naming the field where a value is out of bounds, the name is unknown, or the batch is
    not a whole number of sequences.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: should be one of {', '.join(PRESETS)}")
    _, shape, training = PRESETS[name]
    model = ModelConfig(vocab_size=vocab_size, **{**shape, "context": context or shape["context"]})
    given = {field: value for field, value in changes.items() if value is not None}
    merged = {**training, **given}
    # A run shorter than the preset's warm-up would never reach its learning rate.
    merged["warmup_steps"] = min(merged["warmup_steps"], merged["steps"] // 5)
    train = TrainConfig(**merged)
    if train.batch_tokens % model.context:
        below = train.batch_tokens // model.context * model.context
        fitting = f"{below or model.context} or {below + model.context}" if below else f"{model.context}"
        raise ValueError(f"batch_tokens = {train.batch_tokens}: should be a multiple of the context, {fitting}")
    return model, train


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """`name: ours, not theirs` for each entry of two nested mappings that is not equal, in order of names."""
    found = []
    for name in sorted({*ours, *theirs}):
        left, right = ours.get(name), theirs.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += [f"{name}.{line}" for line in differences(left, right)]
        elif left != right:
            found.append(f"{name}: {left}, not {right}")
    return found


def _at_least(config: Any, name: str, low: int) -> None:
    if not getattr(config, name) >= low:
        raise ValueError(f"{name} = {getattr(config, name)}: should be at least {low}")


def as_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """Plain values, as checkpoints and config.json hold them."""
    return dataclasses.asdict(config)
