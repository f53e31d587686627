"""The shapes of `ModelConfig` that Hugging Face's transformers has a class for: settings and weights, both ways.

An `Architecture` says what a `ModelConfig` must be to fit its class, translates settings into that class's config.json
and back, and lists `Piece`s: which of their tensors make one of ours. Export cuts along that list, import joins along
it, so that neither can drift from the other. Names and meanings are those of transformers' own modules
(https://github.com/huggingface/transformers, src/transformers/models/{qwen3,llama,gpt2}).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.config import ModelConfig, as_dict

Content = dict[str, Any]  # of a config.json


class Piece(NamedTuple):
    """One of our tensors, and theirs that are it when joined along the first dimension."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...]  # of each of theirs; of an embedding fewer than ours, which is padded
    transposed: bool = False  # theirs is (in, out): GPT-2's Conv1D


class Architecture(NamedTuple):
    name: str  # of the class
    summary: str
    wanted: Callable[[ModelConfig], dict[str, Any]]  # what the fields must be; "window" is 0 if no layer has one
    describe: Callable[[ModelConfig], Content]
    read: Callable[[Content], ModelConfig]
    pieces: Callable[[ModelConfig], Iterator[Piece]]


def architecture_of(config: ModelConfig) -> Architecture:
    """The class that computes what `config` does. Raises ValueError naming the fields that no class has."""
    windowed = any(config.window_of(layer) for layer in range(config.layers))
    fields = {**as_dict(config), "window": config.window if windowed else 0}

    def misfits(architecture: Architecture) -> list[str]:
        wanted = architecture.wanted(config)
        return [f"{name} = {fields[name]}" for name, value in wanted.items() if fields[name] != value]

    nearest = min(ARCHITECTURES.values(), key=lambda architecture: len(misfits(architecture)))
    if found := misfits(nearest):
        summaries = "; ".join(architecture.summary for architecture in ARCHITECTURES.values())
        raise ValueError(
            f"{', '.join(found)}: no class of transformers has that beside the rest of this model; "
            f"it has the shapes of {summaries}"
        )
    return nearest


def to_theirs(pieces: Iterator[Piece], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors (weights or their gradients) cut into theirs, without the embedding's padding."""
    theirs: dict[str, Tensor] = {}
    for piece in pieces:
        parts = torch.split(ours[piece.ours][: sum(piece.rows)], list(piece.rows))
        turned = [part.T if piece.transposed else part for part in parts]
        theirs |= dict(zip(piece.theirs, turned, strict=True))
    return theirs


def to_ours(pieces: Iterator[Piece], read: Callable[[str], Tensor], ours: Mapping[str, Tensor]) -> None:
    """Fill our tensors with theirs, which `read` gives by name; rows that theirs lack (padding) become 0.

    Raises ValueError naming a tensor of another shape than its place.
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
        shared = min(len(joined), len(weight))  # fewer of ours: learned positions of a context that was cut
        weight[:shared] = joined[:shared]
        weight[shared:] = 0


def _renamed(
    ours: str, theirs: str, table: Mapping[str, Mapping[str, int]], kinds: tuple[str, ...], transposed: bool = False
) -> Iterator[Piece]:
    """Pieces of a table of modules, our name -> their names and rows, under a prefix on both sides."""
    for mine, parts in table.items():
        for kind in kinds:
            names = tuple(f"{theirs}{part}.{kind}" for part in parts)
            yield Piece(f"{ours}{mine}.{kind}", names, tuple(parts.values()), transposed and kind == "weight")


# --- Qwen3 and Llama ---------------------------------------------------------------------------------------


def _rotary(config: ModelConfig) -> dict[str, Any]:
    return {"positions": "rope", "norm": "rms", "activation": "swiglu", "soft_cap": 0}


def _qwen3_wanted(config: ModelConfig) -> dict[str, Any]:
    wanted = {**_rotary(config), "qk_norm": True, "bias": False}
    # transformers' cache of a window keeps its last `window - 1` keys as [-(window - 1):], which for 1 is all of them.
    return {**wanted, "window": 2} if config.window == 1 else wanted


def _llama_wanted(config: ModelConfig) -> dict[str, Any]:
    # Its configuration insists that the heads divide the width, though its head_dim is free.
    return {**_rotary(config), "qk_norm": False, "window": 0, "heads": math.gcd(config.heads, config.width)}


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
        "rope_theta": config.rope_theta,  # until transformers 5
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},  # from then on
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
    """Fields that a config.json leaves out have the defaults of the classes."""
    _only(content, "hidden_act", "silu")
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    _only({"rope_type": rope.get("rope_type", rope.get("type", "default"))}, "rope_type", "default")
    _only(rope, "partial_rotary_factor", 1.0)
    return ModelConfig(
        vocab_size=_whole(content, "vocab_size"),
        context=_whole(content, "max_position_embeddings"),
        layers=_whole(content, "num_hidden_layers"),
        width=_whole(content, "hidden_size"),
        heads=_whole(content, "num_attention_heads"),
        kv_heads=_whole(content, "num_key_value_heads", _whole(content, "num_attention_heads")),
        head_dim=_whole(content, "head_dim", head_dim),
        mlp_width=_whole(content, "intermediate_size"),
        rope_theta=float(rope.get("rope_theta") or content.get("rope_theta") or 10_000.0),
        norm_eps=float(content.get("rms_norm_eps", 1e-6)),
        tied=bool(content.get("tie_word_embeddings", False)),
        **more,
    )


def _read_qwen3(content: Content) -> ModelConfig:
    _only(content, "attention_bias", False)
    config = _read_rotary(content, 128)
    layers = range(config.layers)
    window = _whole(content, "sliding_window", 4096) if content.get("use_sliding_window") else 0
    first = content.get("max_window_layers", 28) if window else config.layers
    kinds = content.get("layer_types") or [f"{'sliding' if i >= first else 'full'}_attention" for i in layers]
    sliding = [kind == "sliding_attention" and window < config.context for kind in kinds]
    if not any(sliding):
        return config
    for every in range(1, config.layers + 1):
        candidate = ModelConfig(**{**as_dict(config), "window": window, "full_every": every})
        if window and [candidate.window_of(layer) > 0 for layer in layers] == sliding:
            return candidate
    raise ValueError("layer_types: here every so manieth layer and the last one see all, the others the window")


def _read_llama(content: Content) -> ModelConfig:
    bias = bool(content.get("attention_bias", False))
    _only(content, "mlp_bias", bias, default=False)
    head_dim = _whole(content, "hidden_size") // _whole(content, "num_attention_heads")
    return _read_rotary(content, head_dim, qk_norm=False, bias=bias)


def _rotary_pieces(config: ModelConfig) -> Iterator[Piece]:
    width, inner = config.width, config.mlp_width
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    outside = {"embedding": {"model.embed_tokens": config.vocab_size}, "norm": {"model.norm": width}}
    if not config.tied:
        outside["lm_head"] = {"lm_head": config.vocab_size}
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
    yield from _renamed("", "", outside, ("weight",))
    for layer in range(config.layers):
        prefixes = f"blocks.{layer}.", f"model.layers.{layer}."
        yield from _renamed(*prefixes, norms, ("weight",))
        yield from _renamed(*prefixes, maps, ("weight", "bias") if config.bias else ("weight",))


# --- GPT-2 -------------------------------------------------------------------------------------------------


def _gpt2_wanted(config: ModelConfig) -> dict[str, Any]:
    kinds = {"positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "bias": True}
    return {
        **kinds,
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
        "resid_pdrop": 0.0,  # nothing is dropped here; the class would, if it is trained further
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": config.tied,
    }


def _read_gpt2(content: Content) -> ModelConfig:
    if content.get("activation_function") != "gelu_pytorch_tanh":  # the same by another name
        _only(content, "activation_function", "gelu_new")
    _only(content, "scale_attn_weights", True)
    _only(content, "scale_attn_by_inverse_layer_idx", False)
    _only(content, "add_cross_attention", False)
    width, heads = _whole(content, "n_embd"), _whole(content, "n_head")
    return ModelConfig(
        vocab_size=_whole(content, "vocab_size"),
        context=_whole(content, "n_positions"),
        layers=_whole(content, "n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        mlp_width=_whole(content, "n_inner", 4 * width),
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
    both = ("weight", "bias")
    yield from _renamed("", "", tables, ("weight",))
    yield from _renamed("", "", {"norm": {"transformer.ln_f": width}}, both)
    for layer in range(config.layers):
        prefixes = f"blocks.{layer}.", f"transformer.h.{layer}."
        yield from _renamed(*prefixes, norms, both)
        yield from _renamed(*prefixes, maps, both, transposed=True)


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "Qwen3ForCausalLM",
            "Qwen3 (rope, rms, swiglu, qk_norm, no bias; windows)",
            _qwen3_wanted,
            _describe_qwen3,
            _read_qwen3,
            _rotary_pieces,
        ),
        Architecture(
            "LlamaForCausalLM",
            "Llama (rope, rms, swiglu; no qk_norm, no window)",
            _llama_wanted,
            _describe_llama,
            _read_llama,
            _rotary_pieces,
        ),
        Architecture(
            "GPT2LMHeadModel",
            "GPT-2 (learned, layer, gelu, bias; kv_heads = heads = width / head_dim, no qk_norm, no window)",
            _gpt2_wanted,
            _describe_gpt2,
            _read_gpt2,
            _gpt2_pieces,
        ),
    )
}


# --- what a config.json says -------------------------------------------------------------------------------


def _whole(content: Content, name: str, default: int | None = None) -> int:
    """A whole number; where it is missing or null the default. Raises ValueError naming the field."""
    value = content.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} = {value!r}: should be a whole number above 0")
    return value


def _only(content: Content, name: str, value: Any, default: Any = None) -> None:
    """Raises ValueError where a field says something else than the one thing that can be done here."""
    found = content.get(name, value if default is None else default)
    if found != value:
        raise ValueError(f"{name} = {found!r}: only {value!r} can be read")
