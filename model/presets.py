"""Presets: model shapes and training settings with a name.

`124m` to `1558m` have Qwen3's shape and as many parameters as GPT-2's four sizes. Heads have 128 channels, which keep a
GPU's attention kernels busier than GPT-2's 64 (modded-nanogpt, nanochat). Two query heads share a key head, and the
parameters that this saves go into the MLP, which is three times the width. `gpt2-124m` to `gpt2-1558m` are GPT-2's own
shapes.

Steps, batch sizes, learning rates and warm-ups of the four sizes are those of llm.c's scripts/run_gpt2_*.sh, which
reproduce GPT-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bpe import arguments
from model.config import ModelConfig, TrainConfig


class Preset(NamedTuple):
    """Where the settings of a run start."""

    summary: str  # for the help of `model pretrain`
    shape: Mapping[str, Any]  # fields of ModelConfig, except `vocab_size`
    training: Mapping[str, Any]  # fields of TrainConfig


def _shape(context: int, layers: int, width: int, heads: int, kv_heads: int, head_dim: int, mlp: int) -> dict[str, Any]:
    return {
        "context": context,
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "mlp_width": mlp,
    }


def _gpt2(layers: int, width: int) -> dict[str, Any]:
    """GPT-2's own shape (https://github.com/openai/gpt-2): heads of 64 channels, an MLP of four times the width."""
    heads = width // 64
    kinds = {"positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "bias": True}
    return {**_shape(1024, layers, width, heads, heads, 64, 4 * width), **kinds, "norm_eps": 1e-5}


def _training(steps: int, batch_tokens: int, lr: float, warmup_steps: int, **more: Any) -> dict[str, Any]:
    return {"steps": steps, "batch_tokens": batch_tokens, "lr": lr, "warmup_steps": warmup_steps, **more}


_124M = _training(19_073, 524_288, 6e-4, 700, min_lr_ratio=0.0)  # 10 B tokens
_350M = _training(60_000, 524_288, 3e-4, 700, min_lr_ratio=0.0)  # 31 B tokens
_774M = _training(286_102, 524_288, 2.5e-4, 700, min_lr_ratio=0.0)  # 150 B tokens
_1558M = _training(32_000, 1_048_576, 6e-4, 700)  # 34 B tokens

PRESETS: Mapping[str, Preset] = {
    "tiny": Preset(
        "4 x 128, context 256: a demo, about a minute on two CPU cores",
        _shape(256, 4, 128, 2, 1, 64, 384),
        _training(300, 2_048, 4e-3, 20),
    ),
    "nano": Preset(
        "6 x 384, context 512: an hour on a CPU, minutes on a GPU",
        _shape(512, 6, 384, 6, 3, 64, 1024),
        _training(2_000, 16_384, 1e-3, 100),
    ),
    "124m": Preset("12 x 768, context 1024: 10 B tokens", _shape(1024, 12, 768, 6, 3, 128, 2304), _124M),
    "350m": Preset("24 x 1024, context 1024: 31 B tokens", _shape(1024, 24, 1024, 8, 4, 128, 3072), _350M),
    "774m": Preset("36 x 1280, context 1024: 150 B tokens", _shape(1024, 36, 1280, 10, 5, 128, 3840), _774M),
    "1558m": Preset("48 x 1600, context 1024: 34 B tokens", _shape(1024, 48, 1600, 12, 6, 128, 4864), _1558M),
    "gpt2-124m": Preset("GPT-2 small's own shape", _gpt2(12, 768), _124M),
    "gpt2-350m": Preset("GPT-2 medium's own shape", _gpt2(24, 1024), _350M),
    "gpt2-774m": Preset("GPT-2 large's own shape", _gpt2(36, 1280), _774M),
    "gpt2-1558m": Preset("GPT-2 XL's own shape", _gpt2(48, 1600), _1558M),
}


def from_preset(
    name: str,
    vocab_size: int,
    shape: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    tokens: int | None = None,
    done: tuple[int, int] = (0, 0),
) -> tuple[ModelConfig, TrainConfig]:
    """The configurations of the preset `name`, with changes.

    `shape` and `training` change fields of ModelConfig and TrainConfig; a None changes nothing. `tokens` sets the
    steps: so many tokens in all, rounded up to whole updates. For a run that continues, `done` are the updates made so
    far and their tokens (the batch size may have changed).

    Raises ValueError, naming the field, if the name is unknown, a value is out of bounds, both steps and tokens are
    set, or the batch is not a whole number of sequences.

    >>> from model import from_preset
    >>> model_config, train_config = from_preset("tiny", vocab_size=1024, training={"steps": 50})
    >>> model_config.layers, train_config.warmup_steps
    (4, 10)
    """
    if arguments.string("preset", name) not in PRESETS:
        raise ValueError(f"preset {name!r}: should be one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    model = ModelConfig(vocab_size=vocab_size, **{**preset.shape, **_changes(shape)})
    changes = _changes(training)
    fields = {**preset.training, **changes}
    if tokens is not None:
        if "steps" in changes:
            raise ValueError("steps and tokens: give one of them, the other follows from it")
        steps_done, tokens_done = done
        fields["steps"] = max(1, steps_done + -(-max(0, tokens - tokens_done) // max(1, fields["batch_tokens"])))
    if "warmup_steps" not in changes:
        # A run that is shorter than the preset's warm-up would never reach its learning rate.
        fields["warmup_steps"] = min(fields["warmup_steps"], fields["steps"] // 5)
    train = TrainConfig(**fields)
    if train.batch_tokens % model.context:
        below = train.batch_tokens // model.context * model.context
        fitting = f"{below or model.context} or {below + model.context}" if below else f"{model.context}"
        raise ValueError(f"batch_tokens = {train.batch_tokens}: should be a multiple of the context, {fitting}")
    return model, train


def _changes(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that are not None."""
    return {field: value for field, value in (fields or {}).items() if value is not None}
