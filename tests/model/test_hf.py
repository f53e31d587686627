"""The exported directory computes what our model computes, read by its published names alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bpe.vocabulary import Vocabulary
from model.gpt import GPT
from model.hf import export
from model.tokenizer import Tokenizer
from tests.model.shards import small_model
from tests.oracles.model_qwen3 import logits


def read_safetensors(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    assert header.pop("__metadata__") == {"format": "pt"}
    assert (8 + length) % 8 == 0
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).astype(np.float64)
        for name, entry in header.items()
    }


def test_exported_weights_compute_the_same_logits(tmp_path: Path) -> None:
    gpt = GPT(small_model(), seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in gpt.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    written = export(gpt, tmp_path, 99, tokenizer=None)
    assert {path.name for path in written} == {"config.json", "generation_config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    weights = read_safetensors(tmp_path / "model.safetensors")
    assert weights["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])
    ids_T = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 89, 99]
    with torch.no_grad():
        ours = gpt.logits(torch.tensor([ids_T]))[0].numpy()
    np.testing.assert_allclose(ours, logits(weights, config, ids_T), atol=1e-4, rtol=1e-5)


def test_tokenizer_goes_along(tmp_path: Path) -> None:
    vocabulary = Vocabulary(tuple(bytes([byte]) for byte in range(256)), "gpt2", {"<|endoftext|>": 256})
    export(GPT(small_model(vocab_size=257)), tmp_path, 256, Tokenizer(vocabulary))
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<|endoftext|>"
    from tokenizers import Tokenizer as Peer

    assert Peer.from_file(str(tmp_path / "tokenizer.json")).encode("The é").ids == list("The é".encode())
