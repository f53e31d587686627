"""Models of transformers, for comparison with ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from model.config import ModelConfig
from model.gpt import GPT
from tests.support.model_shards import END_OF_TEXT, VOCAB

os.environ["HF_HUB_OFFLINE"] = "1"

# Changes that give `small_model` the shapes that transformers has.
GPT2 = {"positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "bias": True, "kv_heads": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "qwen3-untied": {"tied": False, "norm_eps": 1e-5, "rope_theta": 1e6},
    "qwen3-no-sharing": {"kv_heads": 4, "head_dim": 8, "vocab_size": 128},
    "qwen3-window": {"window": 5, "layers": 5, "full_every": 2},
    "qwen3-window-2": {"window": 2, "layers": 3, "full_every": 3, "tied": False},
    "llama": {"qk_norm": False},
    "llama-biases": {"qk_norm": False, "bias": True, "tied": False, "head_dim": 8},
    "gpt2": {**GPT2, "norm_eps": 1e-5},
    "gpt2-untied": {**GPT2, "tied": False, "mlp_width": 100},
}


def random_model(config: ModelConfig, noise: float = 0.1) -> GPT:
    """A model whose biases and norms are random too; in a new model they are 0 and 1."""
    gpt = GPT(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in gpt.parameters():
        weight.data += noise * torch.randn(weight.shape, generator=generator)
    return gpt


def transformers_model(folder: Path, **more: Any) -> Any:
    """The model in a folder as transformers loads it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **more).eval()


def saved_by_transformers(folder: Path, kind: str, shard: str = "5GB", **settings: Any) -> Any:
    """A random model that transformers made, and wrote to a folder in shards of this size."""
    import transformers

    common = {"vocab_size": VOCAB, "bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TEXT}
    if kind == "GPT2":
        sizes = {"n_positions": 16, "n_embd": 64, "n_layer": 2, "n_head": 4}
    else:
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "max_position_embeddings": 16}
        sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    config = getattr(transformers, f"{kind}Config")(**{**common, **sizes, **settings})
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    model = getattr(transformers, kind + head)(config).eval()
    generator = torch.Generator().manual_seed(4)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


def random_ids(vocab_size: int, *shape: int) -> torch.Tensor:
    """Random ids of this shape, int64, every time the same."""
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(3))
