"""Qwen3's forward pass with the published names of weights, one position and head at a time, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.oracles.model_attention import causal_attention, rms_norm, rope

F64 = npt.NDArray[np.float64]


def logits(weights: dict[str, F64], config: dict[str, Any], ids_T: list[int]) -> F64:
    """Logits (T, V) of the ids; `config` is the content of a config.json."""
    eps, D = config["rms_norm_eps"], config["head_dim"]
    x_TC = weights["model.embed_tokens.weight"][ids_T]
    for layer in range(config["num_hidden_layers"]):
        own = {name.split(f"layers.{layer}.")[1]: w for name, w in weights.items() if f"layers.{layer}." in name}
        y_TC = rms_norm(x_TC, own["input_layernorm.weight"], eps)

        def heads(name: str, y_TC: F64 = y_TC, own: dict[str, F64] = own) -> list[F64]:
            flat = y_TC @ own[f"self_attn.{name}_proj.weight"].T
            return [flat[:, start : start + D] for start in range(0, flat.shape[1], D)]

        theta = config["rope_theta"]
        q = [rope(rms_norm(head, own["self_attn.q_norm.weight"], eps), theta) for head in heads("q")]
        k = [rope(rms_norm(head, own["self_attn.k_norm.weight"], eps), theta) for head in heads("k")]
        a_HTD = causal_attention(np.array([q]), np.array([k]), np.array([heads("v")]))[0]
        x_TC = x_TC + np.concatenate(list(a_HTD), axis=1) @ own["self_attn.o_proj.weight"].T
        y_TC = rms_norm(x_TC, own["post_attention_layernorm.weight"], eps)
        gate = y_TC @ own["mlp.gate_proj.weight"].T
        up = y_TC @ own["mlp.up_proj.weight"].T
        x_TC = x_TC + (gate / (1 + np.exp(-gate)) * up) @ own["mlp.down_proj.weight"].T
    normed = rms_norm(x_TC, weights["model.norm.weight"], eps)
    return normed @ weights["model.embed_tokens.weight"].T
