"""The shapes of `ModelConfig` that Hugging Face's transformers has a class for, and how both sides write them.

Each `Architecture` is one class of transformers. It says which fields a `ModelConfig` must have to fit the class,
translates settings into the class's config.json and back, and lists `Piece`s: the tensors of transformers that make up
one tensor of ours. Export splits our tensors by that list and import joins theirs by it, so that the two cannot differ.
In this module "ours" are our names and tensors, and "theirs" those of transformers
(https://github.com/huggingface/transformers, src/transformers/models/{qwen3,llama,gpt2}).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bpe.parse import brief
from model.config import ModelConfig, as_dict
from model.device import check_memory

Content = dict[str, Any]  # of a config.json


class Piece(NamedTuple):
    """One tensor of ours, and the tensors of theirs that are joined to it along the first dimension."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...]  # of each tensor of theirs; our embedding has more rows, because it is padded
    transposed: bool = False  # whether theirs are (in, out), as GPT-2's Conv1D has them


class Architecture(NamedTuple):
    """A class of transformers."""

    name: str  # of the class
    summary: str  # the shapes that it has, for error messages
    required: Callable[[ModelConfig], dict[str, Any]]  # fields with the values they must have; no window means 0
    describe: Callable[[ModelConfig], Content]
    read: Callable[[Content], ModelConfig]
    pieces: Callable[[ModelConfig], Iterator[Piece]]


def architecture_of(config: ModelConfig) -> Architecture:
    """The class that computes what a model with `config` computes.

    Raises ValueError if there is none, naming the fields that differ from the class that is nearest.
    """
    windowed = any(config.window_of(layer) for layer in range(config.layers))
    fields = {**as_dict(config), "window": config.window if windowed else 0}

    def misfits(architecture: Architecture) -> list[str]:
        required = architecture.required(config)
        return [f"{name} = {fields[name]}" for name, value in required.items() if fields[name] != value]

    nearest = min(ARCHITECTURES.values(), key=lambda architecture: len(misfits(architecture)))
    if differing := misfits(nearest):
        summaries = "; ".join(architecture.summary for architecture in ARCHITECTURES.values())
        raise ValueError(
            f"{', '.join(differing)}: no class of transformers has that together with this model's other settings; "
            f"it has the shapes of {summaries}"
        )
    return nearest


def to_theirs(pieces: Iterator[Piece], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split our tensors (weights or their gradients) into theirs, without the embedding's padding."""
    theirs: dict[str, Tensor] = {}
    for piece in pieces:
        parts = torch.split(ours[piece.ours][: sum(piece.rows)], list(piece.rows))
        parts = tuple(part.T if piece.transposed else part for part in parts)
        theirs |= dict(zip(piece.theirs, parts, strict=True))
    return theirs


def to_ours(pieces: Iterator[Piece], read: Callable[[str], Tensor], ours: Mapping[str, Tensor]) -> None:
    """Fill our tensors with theirs, which `read` returns by name. Rows that theirs lack (padding) become 0.

    Raises ValueError naming a tensor that has another shape than config.json says.
    """
    for piece in pieces:
        weight = ours[piece.ours]
        parts = []
        for name, rows in zip(piece.theirs, piece.rows, strict=True):
            part = read(name)
            expected = [rows, *weight.shape[1:]]
            expected = expected[::-1] if piece.transposed else expected
            if list(part.shape) != expected:
                raise ValueError(f"{name} has shape {list(part.shape)}, config.json asks for {expected}")
            parts.append(part.T if piece.transposed else part)
        joined = torch.cat(parts)
        shared = min(len(joined), len(weight))  # ours has fewer rows if learned positions are cut to a shorter context
        weight[:shared] = joined[:shared]
        weight[shared:] = 0


def _pieces(
    our_prefix: str,
    their_prefix: str,
    modules: Mapping[str, Mapping[str, int]],
    kinds: tuple[str, ...],
    transposed: bool = False,
) -> Iterator[Piece]:
    """The pieces of modules: our name -> their names, each with its rows. `kinds` are "weight", "bias" or both."""
    for our_name, parts in modules.items():
        for kind in kinds:
            names = tuple(f"{their_prefix}{their_name}.{kind}" for their_name in parts)
            yield Piece(f"{our_prefix}{our_name}.{kind}", names, tuple(parts.values()), transposed and kind == "weight")


# --- Qwen3 and Llama ---------------------------------------------------------------------------------------


# Required by both classes.
_ROTARY = {"positions": "rope", "norm": "rms", "activation": "swiglu", "soft_cap": 0}


def _qwen3_required(config: ModelConfig) -> dict[str, Any]:
    required = {**_ROTARY, "qk_norm": True, "bias": False}
    # With a window of w tokens transformers' cache keeps the keys [-(w - 1):]. For w = 1 these are all keys, so that a
    # window of 1 cannot be exported.
    return {**required, "window": 2} if config.window == 1 else required


def _llama_required(config: ModelConfig) -> dict[str, Any]:
    # LlamaConfig requires that the number of heads divides the width, although head_dim is free.
    return {**_ROTARY, "qk_norm": False, "window": 0, "heads": math.gcd(config.heads, config.width)}


def _describe_rotary(config: ModelConfig) -> Content:
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_width,
        "rope_theta": config.rope_theta,  # for transformers before 5
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},  # for transformers from 5 on
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "attention_bias": config.bias,
        "tie_word_embeddings": config.tied,
    }


def _describe_qwen3(config: ModelConfig) -> Content:
    windows = [config.window_of(layer) for layer in range(config.layers)]
    content = {"model_type": "qwen3", **_describe_rotary(config), "use_sliding_window": any(windows)}
    if any(windows):
        kinds = ["sliding_attention" if window else "full_attention" for window in windows]
        content |= {"sliding_window": config.window, "layer_types": kinds, "max_window_layers": 0}
    return content


def _describe_llama(config: ModelConfig) -> Content:
    return {"model_type": "llama", **_describe_rotary(config), "mlp_bias": config.bias}


def _read_rotary(content: Content, head_dim: int, **more: Any) -> ModelConfig:
    """The ModelConfig of a config.json. Fields that it leaves out get the defaults of transformers' classes.

    `head_dim` is that default for the head_dim, `more` are fields of ModelConfig that the class determines.
    """
    _only(content, "hidden_act", "silu")
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    _only({"rope_type": rope.get("rope_type", rope.get("type", "default"))}, "rope_type", "default")
    _only(rope, "partial_rotary_factor", 1.0)
    config = ModelConfig(
        vocab_size=_count(content, "vocab_size"),
        context=_count(content, "max_position_embeddings"),
        layers=_count(content, "num_hidden_layers"),
        width=_count(content, "hidden_size"),
        heads=_count(content, "num_attention_heads"),
        kv_heads=_count(content, "num_key_value_heads", _count(content, "num_attention_heads")),
        head_dim=_count(content, "head_dim", head_dim),
        mlp_width=_count(content, "intermediate_size"),
        rope_theta=float(rope.get("rope_theta") or content.get("rope_theta") or 10_000.0),
        norm_eps=float(content.get("rms_norm_eps", 1e-6)),
        tied=bool(content.get("tie_word_embeddings", False)),
        **more,
    )
    check_memory(dataclasses.replace(config, context=1))  # before anything is as long as the list of layers
    return config


def _read_qwen3(content: Content) -> ModelConfig:
    _only(content, "attention_bias", False)
    config = _read_rotary(content, 128)
    layers = range(config.layers)
    window = _count(content, "sliding_window", 4096) if content.get("use_sliding_window") else 0
    first = content.get("max_window_layers", 28) if window else config.layers
    kinds = content.get("layer_types") or [f"{'sliding' if i >= first else 'full'}_attention" for i in layers]
    sliding = [kind == "sliding_attention" and window < config.context for kind in kinds]
    if not any(sliding):
        return config
    for every in range(1, config.layers + 1):
        candidate = ModelConfig(**{**as_dict(config), "window": window, "full_every": every})
        if window and [candidate.window_of(layer) > 0 for layer in layers] == sliding:
            return candidate
    raise ValueError(
        "layer_types: every n-th layer (for some n) and the last one should be full_attention, all others "
        "sliding_attention"
    )


def _read_llama(content: Content) -> ModelConfig:
    bias = bool(content.get("attention_bias", False))
    _only(content, "mlp_bias", bias, default=False)
    head_dim = _count(content, "hidden_size") // _count(content, "num_attention_heads")
    return _read_rotary(content, head_dim, qk_norm=False, bias=bias)


def _rotary_pieces(config: ModelConfig) -> Iterator[Piece]:
    width, inner = config.width, config.mlp_width
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    outer = {"embedding": {"model.embed_tokens": config.vocab_size}, "norm": {"model.norm": width}}
    if not config.tied:
        outer["lm_head"] = {"lm_head": config.vocab_size}
    norms = {"attention_norm": {"input_layernorm": width}, "mlp_norm": {"post_attention_layernorm": width}}
    if config.qk_norm:
        norms["attention.q_norm"] = {"self_attn.q_norm": config.head_dim}
        norms["attention.k_norm"] = {"self_attn.k_norm": config.head_dim}
    maps = {
        "attention.qkv": {"self_attn.q_proj": query, "self_attn.k_proj": key, "self_attn.v_proj": key},
        "attention.out": {"self_attn.o_proj": width},
        "mlp.gate_up": {"mlp.gate_proj": inner, "mlp.up_proj": inner},
        "mlp.down": {"mlp.down_proj": width},
    }
    yield from _pieces("", "", outer, ("weight",))
    for layer in range(config.layers):
        prefixes = f"blocks.{layer}.", f"model.layers.{layer}."
        yield from _pieces(*prefixes, norms, ("weight",))
        yield from _pieces(*prefixes, maps, ("weight", "bias") if config.bias else ("weight",))


# --- GPT-2 -------------------------------------------------------------------------------------------------


def _gpt2_required(config: ModelConfig) -> dict[str, Any]:
    return {
        "positions": "learned",
        "norm": "layer",
        "activation": "gelu",
        "qk_norm": False,
        "bias": True,
        "window": 0,
        "soft_cap": 0,
        "kv_heads": config.heads,
        "head_dim": config.width / config.heads,
    }


def _describe_gpt2(config: ModelConfig) -> Content:
    return {
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_layer": config.layers,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_inner": config.mlp_width,
        "activation_function": "gelu_new",  # the tanh form
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": 0.0,  # our model has no dropout; the defaults of the class would use it in further training
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": config.tied,
    }


def _read_gpt2(content: Content) -> ModelConfig:
    if content.get("activation_function") != "gelu_pytorch_tanh":  # another name of gelu_new
        _only(content, "activation_function", "gelu_new")
    _only(content, "scale_attn_weights", True)
    _only(content, "scale_attn_by_inverse_layer_idx", False)
    _only(content, "add_cross_attention", False)
    width, heads = _count(content, "n_embd"), _count(content, "n_head")
    return ModelConfig(
        vocab_size=_count(content, "vocab_size"),
        context=_count(content, "n_positions"),
        layers=_count(content, "n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        mlp_width=_count(content, "n_inner", 4 * width),
        positions="learned",
        norm="layer",
        activation="gelu",
        qk_norm=False,
        bias=True,
        tied=bool(content.get("tie_word_embeddings", True)),
        norm_eps=float(content.get("layer_norm_epsilon", 1e-5)),
    )


def _gpt2_pieces(config: ModelConfig) -> Iterator[Piece]:
    width = config.width
    tables = {
        "embedding": {"transformer.wte": config.vocab_size},
        "positions": {"transformer.wpe": config.context},
    }
    if not config.tied:
        tables["lm_head"] = {"lm_head": config.vocab_size}
    norms = {"attention_norm": {"ln_1": width}, "mlp_norm": {"ln_2": width}}
    maps = {
        "attention.qkv": {"attn.c_attn": 3 * width},
        "attention.out": {"attn.c_proj": width},
        "mlp.up": {"mlp.c_fc": config.mlp_width},
        "mlp.down": {"mlp.c_proj": width},
    }
    kinds = ("weight", "bias")
    yield from _pieces("", "", tables, ("weight",))
    yield from _pieces("", "", {"norm": {"transformer.ln_f": width}}, kinds)
    for layer in range(config.layers):
        prefixes = f"blocks.{layer}.", f"transformer.h.{layer}."
        yield from _pieces(*prefixes, norms, kinds)
        yield from _pieces(*prefixes, maps, kinds, transposed=True)


# The table of architectures, by the name of the class.
ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "Qwen3ForCausalLM",
            "Qwen3 (rope, rms, swiglu, qk_norm, no bias; windows)",
            _qwen3_required,
            _describe_qwen3,
            _read_qwen3,
            _rotary_pieces,
        ),
        Architecture(
            "LlamaForCausalLM",
            "Llama (rope, rms, swiglu; no qk_norm, no window)",
            _llama_required,
            _describe_llama,
            _read_llama,
            _rotary_pieces,
        ),
        Architecture(
            "GPT2LMHeadModel",
            "GPT-2 (learned, layer, gelu, bias; kv_heads = heads = width / head_dim, no qk_norm, no window)",
            _gpt2_required,
            _describe_gpt2,
            _read_gpt2,
            _gpt2_pieces,
        ),
    )
}


# --- fields of a config.json -------------------------------------------------------------------------------


def _count(content: Content, name: str, default: int | None = None) -> int:
    """The field, a whole number above 0; `default` if it is missing or null. Raises ValueError naming the field."""
    value = content.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} = {brief(repr(value))}: should be a whole number above 0")
    return value


def _only(content: Content, name: str, value: Any, default: Any = None) -> None:
    """Raises ValueError if a field (`default`, or else `value`, if it is missing) is not `value`.

    Our model computes nothing else than `value` means.
    """
    actual = content.get(name, value if default is None else default)
    if actual != value:
        raise ValueError(f"{name} = {brief(repr(actual))}: only {value!r} can be read")
