"""A run's model for other programs: a directory that Hugging Face's `AutoModelForCausalLM.from_pretrained` reads.

Our shape is Qwen3's, so that this is renaming: fused matrices are cut apart, the embedding loses its padding.
`model.safetensors` is written here because the format is a JSON header and raw bytes
(https://github.com/huggingface/safetensors#format): no library is needed for that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from model.checkpoint import write_atomically
from model.config import ModelConfig
from model.gpt import GPT
from model.tokenizer import Tokenizer


def export(model: GPT, directory: Path, end_of_text: int, tokenizer: Tokenizer | None) -> list[Path]:
    """Write config.json, model.safetensors (fp32) and, given a tokenizer, tokenizer.json; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "config.json": to_json(qwen3_config(model.config, end_of_text)),
        "generation_config.json": to_json({"bos_token_id": end_of_text, "eos_token_id": end_of_text}),
        "model.safetensors": safetensors(qwen3_weights(model)),
    }
    if tokenizer is not None:
        from bpe.export import hugging_face
        from bpe.vocabulary import END_OF_TEXT

        names = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.context}
        contents["tokenizer.json"] = hugging_face(tokenizer.vocabulary)
        contents["tokenizer_config.json"] = to_json({**settings, **names})
    for name, content in contents.items():
        write_atomically(directory / name, lambda partial, content=content: partial.write_bytes(content))  # type: ignore[misc]
    return [directory / name for name in contents]


def qwen3_config(config: ModelConfig, end_of_text: int) -> dict[str, Any]:
    """`config.json` of Qwen3ForCausalLM (transformers 4.51 and later)."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
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
        "attention_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
    }


def qwen3_weights(model: GPT) -> dict[str, Tensor]:
    """Our weights under Qwen3's names."""
    config, ours = model.config, model.state_dict()
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    weights = {
        "model.embed_tokens.weight": ours["embedding.weight"][: config.vocab_size],
        "model.norm.weight": ours["norm.weight"],
    }
    for layer in range(config.layers):
        mine, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        q_proj, k_proj, v_proj = ours[mine + "attention.qkv.weight"].split((query, key, key))
        gate_proj, up_proj = ours[mine + "mlp.gate_up.weight"].chunk(2)
        renamed = {
            "input_layernorm": ours[mine + "attention_norm.weight"],
            "self_attn.q_proj": q_proj,
            "self_attn.k_proj": k_proj,
            "self_attn.v_proj": v_proj,
            "self_attn.q_norm": ours[mine + "attention.q_norm.weight"],
            "self_attn.k_norm": ours[mine + "attention.k_norm.weight"],
            "self_attn.o_proj": ours[mine + "attention.out.weight"],
            "post_attention_layernorm": ours[mine + "mlp_norm.weight"],
            "mlp.gate_proj": gate_proj,
            "mlp.up_proj": up_proj,
            "mlp.down_proj": ours[mine + "mlp.down.weight"],
        }
        weights |= {f"{theirs}{name}.weight": weight for name, weight in renamed.items()}
    return weights


def safetensors(weights: dict[str, Tensor]) -> bytes:
    """fp32 tensors in the safetensors format: header length (u64), header, then the data it points into."""
    blobs = {name: weight.float().cpu().contiguous().numpy().tobytes() for name, weight in weights.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, blob in blobs.items():
        start, end = end, end + len(blob)
        header[name] = {"dtype": "F32", "shape": list(weights[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data starts aligned
    return len(text).to_bytes(8, "little") + text + b"".join(blobs.values())


def to_json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
