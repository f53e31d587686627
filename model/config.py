"""The settings of a training run: the model's shape, the training that determines its weights, and the options.

Each is a frozen dataclass that is checked when it is made; a ValueError, or a TypeError for a value of a wrong type,
names the field and the fix. `ModelConfig` and
`TrainConfig` are stored in every checkpoint. A run that is resumed must have the stored settings; only the number of
steps, the warm-up and the size of a batch may change. `RunOptions` may change freely: a run that was started on a GPU
can go on on a CPU. `model/presets.py` has named settings.

This module does not import PyTorch, so that a command can show its help at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bpe import arguments
from bpe.parse import brief

# The number of rows of the embedding is a multiple of this, because matrix units work in tiles of 64. nanoGPT
# (https://github.com/karpathy/nanoGPT) reports +25% speed for 50,304 rows instead of 50,257. Rows beyond the
# vocabulary are padding, which is never a target and never sampled.
VOCABULARY_TILE = 64

POSITIONS = ("rope", "learned")
NORMS = ("rms", "layer")
ACTIVATIONS = ("swiglu", "gelu", "relu2")
SCHEDULES = ("cosine", "wsd", "linear")
SHARDINGS = ("none", "full")
# The table of optimizers: a name, and the module that has its `make` (model/optim.py).
OPTIMIZERS: Mapping[str, str] = {"adamw": "model.adamw", "muon": "model.muon"}
TRACKERS = ("tensorboard", "wandb")  # the names in the table of model/track.py


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder-only Transformer.

    The defaults are Qwen3's shape (arXiv:2505.09388). Learned positions, layer norm, GELU and biases make it GPT-2's.
    Qwen3's names of the fields stand in brackets. Raises ValueError, naming the field, for a value out of bounds,
    TypeError for one of a wrong type.

    >>> from model import ModelConfig
    >>> shape = ModelConfig(300, context=16, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64)
    >>> shape.padded_vocab_size
    320
    """

    vocab_size: int  # ids that the tokenizer can produce, end-of-text included
    context: int  # longest sequence, tokens [max_position_embeddings]
    layers: int  # blocks of attention and MLP [num_hidden_layers]
    width: int  # channels of the residual stream [hidden_size]
    heads: int  # query heads [num_attention_heads]
    kv_heads: int  # key and value heads, each shared by heads / kv_heads queries [num_key_value_heads]
    head_dim: int  # channels a head; an even number, because RoPE turns pairs of channels [head_dim]
    mlp_width: int  # inner channels of the MLP [intermediate_size]
    positions: str = "rope"  # "rope" (RoFormer, arXiv:2104.09864) or "learned", added to the embedding (GPT-2)
    norm: str = "rms"  # "rms" (arXiv:1910.07467) or "layer" (GPT-2)
    activation: str = "swiglu"  # "swiglu" (arXiv:2002.05202), "gelu" (GPT-2's tanh form), "relu2" (arXiv:2109.08668)
    qk_norm: bool = True  # RMS norm of each head's queries and keys before their product (arXiv:2010.04245)
    bias: bool = False  # whether linear maps and layer norms of the blocks have biases, as GPT-2's do
    tied: bool = True  # the embedding is also the output head [tie_word_embeddings]
    # Sliding attention window, tokens: a query sees itself and the keys before it, so many in all; 0: no window
    # [sliding_window].
    window: int = 0
    full_every: int = 4  # with a window: every full_every-th layer and the last one see all tokens (Gemma 3, nanochat)
    soft_cap: float = 0.0  # logits become cap * tanh(logits / cap) (Gemma 2, arXiv:2408.00118); 0: no cap
    rope_theta: float = 10_000.0  # base of the rotation periods [rope_theta]
    norm_eps: float = 1e-6  # added to the mean square or variance (Qwen3; GPT-2 has 1e-5) [rms_norm_eps]

    def __post_init__(self) -> None:
        _check_fields(self)
        for name in ("vocab_size", "context", "layers", "width", "heads", "kv_heads", "head_dim", "mlp_width"):
            _at_least(self, name, 1)
        _at_least(self, "window", 0)
        _at_least(self, "full_every", 1)
        for name in ("soft_cap", "norm_eps"):
            _at_least(self, name, 0)
        _above_zero(self, "rope_theta")
        _finite(self, "soft_cap", "norm_eps", "rope_theta")
        _one_of(self, "positions", POSITIONS)
        _one_of(self, "norm", NORMS)
        _one_of(self, "activation", ACTIVATIONS)
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads}: should divide heads = {self.heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim = {self.head_dim}: should be even, RoPE turns channels in pairs")

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` rounded up to a multiple of VOCABULARY_TILE."""
        return -(-self.vocab_size // VOCABULARY_TILE) * VOCABULARY_TILE

    def window_of(self, layer: int) -> int:
        """The attention window of `layer` (from 0) in tokens; 0 if the layer sees all tokens."""
        full = layer == self.layers - 1 or (layer + 1) % self.full_every == 0
        return 0 if full or self.window >= self.context else self.window


@dataclass(frozen=True)
class TrainConfig:
    """The settings of the training. Together with the model's shape and the data they determine the weights.

    Raises ValueError, naming the field, for a value out of bounds, TypeError for one of a wrong type.

    >>> from model import TrainConfig
    >>> TrainConfig(steps=100, batch_tokens=2048, lr=1e-3, warmup_steps=10).schedule
    'cosine'
    """

    steps: int  # updates of the weights
    batch_tokens: int  # tokens an update, a multiple of the context
    lr: float  # peak learning rate
    warmup_steps: int  # updates in which the learning rate rises linearly from 0 to the peak
    # The learning rate after the warm-up. "cosine" and "linear" decay until the last update; "wsd" stays at the peak
    # and decays linearly over the last part of the run.
    schedule: str = "cosine"
    min_lr_ratio: float = 0.1  # learning rate at the end / peak (Chinchilla, arXiv:2203.15556)
    decay_fraction: float = 0.2  # share of the steps that the decay of "wsd" takes (arXiv:2405.18392 finds 10-20%)
    optimizer: str = "adamw"  # a name in OPTIMIZERS; "muon" is Muon for the blocks' matrices, AdamW for other weights
    muon_momentum: float = 0.95  # Nesterov momentum (https://kellerjordan.github.io/posts/muon/)
    weight_decay: float = 0.1  # on matrices only; this and the betas as in GPT-3 (arXiv:2005.14165, appendix B)
    beta1: float = 0.9  # AdamW: decay of the gradients' mean
    beta2: float = 0.95  # AdamW: decay of the squared gradients' mean
    eps: float = 1e-8  # AdamW: added to the denominator
    clip_norm: float = 1.0  # a gradient with a larger global L2 norm is scaled down to it; 0: never
    # An update is skipped if its loss or gradient norm is so many deviations above the recent mean (OLMo 2,
    # model/guard.py); 0: never.
    spike_sigmas: float = 6.0
    doc_mask: bool = False  # attention stays within a document
    # Share of the documents that is held out: used for validation and never trained on. A hash of the id decides.
    validation_fraction: float = 0.02
    seed: int = 0  # of the initial weights and of the order of the windows

    def __post_init__(self) -> None:
        _check_fields(self)
        for name in ("steps", "batch_tokens"):
            _at_least(self, name, 1)
        for name in ("warmup_steps", "weight_decay", "seed", "beta1", "beta2", "clip_norm", "spike_sigmas"):
            _at_least(self, name, 0)
        for name in ("beta1", "beta2"):
            if not getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: should be below 1")
        for name in ("lr", "eps"):
            _above_zero(self, name)
        _finite(self, "lr", "eps", "weight_decay")
        for name in ("min_lr_ratio", "decay_fraction", "validation_fraction", "muon_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: should be between 0 and 1")
        _one_of(self, "schedule", SCHEDULES)
        _one_of(self, "optimizer", tuple(OPTIMIZERS))


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out and watched. An `..._every` is a number of steps; 0 means never.

    Raises ValueError, naming the field, for a value out of bounds, TypeError for one of a wrong type.

    >>> from model import RunOptions
    >>> RunOptions(device="cpu", sample_every=0).validate_every
    100
    """

    device: str = "auto"  # "cpu", "cuda" or "cuda:N"; "auto" takes CUDA if there is a CUDA device
    compile: bool | None = None  # whether to use torch.compile; None: on CUDA only
    micro_batch_tokens: int = 0  # most tokens in one forward pass of one process; 0: chosen by device and model
    checkpoint_activations: bool = False  # compute a block's activations again in the backward pass: less memory
    fp8_head: bool = False  # compute the output head in 8 bits, on Ada, Hopper and later: faster and less exact
    sharding: str = "none"  # with several processes: "none" copies the model to each (DDP), "full" shards it (FSDP2)
    log_every: int = 10
    validate_every: int = 100
    validation_windows: int = 64  # most windows in one validation
    sample_every: int = 100
    sample_prompts: tuple[str, ...] = ("The",)
    sample_tokens: int = 48  # most tokens of a sample
    checkpoint_every: int = 100
    keep_checkpoints: int = 3  # newest checkpoints that are kept
    trackers: tuple[str, ...] = ()  # names in TRACKERS: programs that get the metrics too, beside metrics.jsonl

    def __post_init__(self) -> None:
        _check_fields(self)
        for name in ("micro_batch_tokens", "log_every", "validate_every", "sample_every", "checkpoint_every"):
            _at_least(self, name, 0)
        for name in ("validation_windows", "sample_tokens", "keep_checkpoints"):
            _at_least(self, name, 1)
        _one_of(self, "sharding", SHARDINGS)


class Settings(NamedTuple):
    """All settings of a run."""

    model: ModelConfig
    train: TrainConfig
    options: RunOptions


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """A line `name: our value, not their value` for each unequal entry of two nested mappings, in order of names."""
    lines = []
    for name in sorted({*ours, *theirs}):
        left, right = ours.get(name), theirs.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += [f"{name}.{line}" for line in differences(left, right)]
        elif left != right:
            lines.append(f"{brief(name)}: {brief(left)}, not {brief(right)}")
    return lines


def check_field(name: str, kind: str, value: Any) -> Any:
    """`value` for the field `name`, whose annotation is `kind`: scalars of NumPy become Python's, lists tuples.

    Raises TypeError for a value of another type, and ValueError for a number of 64 bits and more.
    """
    if kind == "int":
        number = arguments.whole_number(name, value)
        if not number < 1 << 63:
            raise ValueError(f"{name} = {number}: should be below 2 ** 63")
        return number
    if kind == "float":
        return arguments.real(name, value)  # NaN is out of the bounds that are checked next
    if kind == "str":
        return arguments.string(name, value)
    if kind == "tuple[str, ...]":
        return arguments.strings(name, value)
    optional = kind == "bool | None"
    flag = arguments.plain(value)
    if not isinstance(flag, bool) and not (optional and flag is None):
        words = "True, False or None" if optional else "True or False"
        raise TypeError(f"{name} = {brief(repr(value))}: should be {words}")
    return flag


def _check_fields(config: Any) -> None:
    """`check_field` for every field of a frozen dataclass."""
    for field in dataclasses.fields(config):
        object.__setattr__(config, field.name, check_field(field.name, str(field.type), getattr(config, field.name)))


def _finite(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) == math.inf:
            raise ValueError(f"{name} = inf: should be a finite number")


def _above_zero(config: Any, name: str) -> None:
    if not getattr(config, name) > 0:
        raise ValueError(f"{name} = {getattr(config, name)}: should be above 0")


def _at_least(config: Any, name: str, low: int) -> None:
    if not getattr(config, name) >= low:
        raise ValueError(f"{name} = {getattr(config, name)}: should be at least {low}")


def _one_of(config: Any, name: str, known: tuple[str, ...]) -> None:
    if getattr(config, name) not in known:
        raise ValueError(
            f"{name} = {brief(repr(getattr(config, name)))}: should be {', '.join(known[:-1])} or {known[-1]}"
        )


def as_dict(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """The fields as a dict of plain values, which checkpoints and config.json hold."""
    return dataclasses.asdict(config)
