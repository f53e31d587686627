"""What a training run is made of: the model's shape, what determines its weights, and how the run is
carried out.

Three frozen dataclasses, each checked once when it is made; ValueError names the field and the fix.
`ModelConfig` and `TrainConfig` are stored in every checkpoint and must be the same when a run is resumed,
but for the number of steps and the batch. `RunOptions` may differ: a run started on a GPU can be continued
on a CPU. `model/presets.py` has the ones with a name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The embedding is padded to this many rows: matrix units work in tiles of 64 (nanoGPT reports +25% from
# 50,257 -> 50,304, https://github.com/karpathy/nanoGPT). The padding is never a target, never sampled.
VOCABULARY_TILE = 64

POSITIONS = ("rope", "learned")
NORMS = ("rms", "layer")
ACTIVATIONS = ("swiglu", "gelu", "relu2")
OPTIMIZERS = ("adamw", "muon")
SCHEDULES = ("cosine", "wsd", "linear")
SHARDINGS = ("none", "full")
TRACKERS = ("tensorboard", "wandb")


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only Transformer. As it stands, Qwen3's shape (arXiv:2505.09388; the field names there stand in
    brackets); with learned positions, layer norm, GELU and biases GPT-2's.
    """

    vocab_size: int  # ids the tokenizer can produce, end of text included
    context: int  # longest sequence, tokens [max_position_embeddings]
    layers: int  # blocks of attention + MLP [num_hidden_layers]
    width: int  # residual stream, channels [hidden_size]
    heads: int  # query heads [num_attention_heads]
    kv_heads: int  # key and value heads, each shared by heads / kv_heads queries [num_key_value_heads]
    head_dim: int  # channels a head, even because RoPE turns pairs [head_dim]
    mlp_width: int  # the MLP's inner channels [intermediate_size]
    positions: str = "rope"  # "rope" (RoFormer, arXiv:2104.09864) or "learned", added to the embedding (GPT-2)
    norm: str = "rms"  # "rms" (arXiv:1910.07467) or "layer" (GPT-2)
    activation: str = "swiglu"  # "swiglu" (arXiv:2002.05202), "gelu" (GPT-2's tanh form), "relu2" (arXiv:2109.08668)
    qk_norm: bool = True  # RMS-normalise queries and keys of each head before they meet (arXiv:2010.04245)
    bias: bool = False  # of the blocks' linear maps and layer norms (GPT-2 has them)
    tied: bool = True  # the output head is the embedding [tie_word_embeddings]
    window: int = 0  # tokens a sliding-window layer sees, itself included; 0: all of them [sliding_window]
    full_every: int = 4  # with a window, every so manieth layer and the last one see all (Gemma 3, nanochat)
    soft_cap: float = 0.0  # logits become cap * tanh(logits / cap) (Gemma 2, arXiv:2408.00118); 0: as they are
    rope_theta: float = 10_000.0  # base of the rotation periods [rope_theta]
    norm_eps: float = 1e-6  # added to the mean square or variance (Qwen3; GPT-2 has 1e-5) [rms_norm_eps]

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "layers", "width", "heads", "kv_heads", "head_dim", "mlp_width"):
            _at_least(self, name, 1)
        _at_least(self, "window", 0)
        _at_least(self, "full_every", 1)
        _at_least(self, "soft_cap", 0)
        _one_of(self, "positions", POSITIONS)
        _one_of(self, "norm", NORMS)
        _one_of(self, "activation", ACTIVATIONS)
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads}: should divide heads = {self.heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim = {self.head_dim}: should be even, RoPE turns channels in pairs")

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` up to the next multiple of VOCABULARY_TILE."""
        return -(-self.vocab_size // VOCABULARY_TILE) * VOCABULARY_TILE

    def window_of(self, layer: int) -> int:
        """Tokens that `layer` (from 0) sees, itself included; 0: all."""
        full = layer == self.layers - 1 or (layer + 1) % self.full_every == 0
        return 0 if full or self.window >= self.context else self.window


@dataclass(frozen=True)
class TrainConfig:
    """All that, beside model and data, determines the weights."""

    steps: int  # optimiser updates
    batch_tokens: int  # tokens an update, a multiple of the context
    lr: float  # peak learning rate
    warmup_steps: int  # linear from 0 to the peak
    # "cosine" down to min_lr_ratio; "wsd": constant, then linear over the last part; "linear" all the way
    schedule: str = "cosine"
    min_lr_ratio: float = 0.1  # learning rate at the end / peak (Chinchilla, arXiv:2203.15556)
    decay_fraction: float = 0.2  # share of the steps that WSD's decay takes (arXiv:2405.18392 finds 10-20%)
    optimizer: str = "adamw"  # or "muon" for the blocks' matrices, with AdamW for the rest
    muon_momentum: float = 0.95  # Nesterov (https://kellerjordan.github.io/posts/muon/)
    weight_decay: float = 0.1  # on matrices only; this and the betas as in GPT-3 (arXiv:2005.14165, appendix B)
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip_norm: float = 1.0  # largest global L2 norm of the gradient; 0: never clipped
    spike_sigmas: float = (
        6.0  # skip an update whose loss or norm is so far above the last ones' mean (OLMo 2); 0: never
    )
    doc_mask: bool = False  # attention stays within a document
    validation_fraction: float = 0.02  # share of the documents, by a hash of their id, that is never trained on
    seed: int = 0  # initial weights and order of the windows

    def __post_init__(self) -> None:
        for name in ("steps", "batch_tokens"):
            _at_least(self, name, 1)
        for name in ("warmup_steps", "weight_decay", "seed", "beta1", "beta2", "clip_norm", "spike_sigmas"):
            _at_least(self, name, 0)
        for name in ("lr", "eps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: should be above 0")
        for name in ("min_lr_ratio", "decay_fraction", "validation_fraction", "muon_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: should be between 0 and 1")
        _one_of(self, "schedule", SCHEDULES)
        _one_of(self, "optimizer", OPTIMIZERS)


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out and watched. Counts are in steps; 0 switches a thing off."""

    device: str = "auto"  # "auto" takes CUDA where there is one
    compile: bool | None = None  # torch.compile; None: on CUDA only
    micro_batch_tokens: int = 0  # most tokens in one forward pass of one process; 0: by device and model
    checkpoint_activations: bool = False  # compute a block's activations again in the backward pass: less memory
    fp8_head: bool = False  # compute the output head in 8 bits: Ada, Hopper and later, faster and coarser
    sharding: str = "none"  # of several processes: "none" copies all to each (DDP), "full" cuts all (FSDP2)
    log_every: int = 10
    validate_every: int = 100
    validation_windows: int = 64  # most windows in one validation
    sample_every: int = 100
    sample_prompts: tuple[str, ...] = ("The",)
    sample_tokens: int = 48
    checkpoint_every: int = 100
    keep_checkpoints: int = 3
    trackers: tuple[str, ...] = ()  # of TRACKERS: where metrics go beside metrics.jsonl

    def __post_init__(self) -> None:
        for name in ("micro_batch_tokens", "log_every", "validate_every", "sample_every", "checkpoint_every"):
            _at_least(self, name, 0)
        for name in ("validation_windows", "sample_tokens", "keep_checkpoints"):
            _at_least(self, name, 1)
        _one_of(self, "sharding", SHARDINGS)


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


def _one_of(config: Any, name: str, known: tuple[str, ...]) -> None:
    if getattr(config, name) not in known:
        raise ValueError(f"{name} = {getattr(config, name)!r}: should be {', '.join(known[:-1])} or {known[-1]}")


def as_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """Plain values, as checkpoints and config.json hold them."""
    return dataclasses.asdict(config)
