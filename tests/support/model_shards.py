"""TOKENS shards and small models for the tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bpe.files import save_vocabulary
from bpe.vocabulary import Vocabulary
from corpus.schema import tokens_schema
from model.config import ModelConfig, TrainConfig

VOCAB = 100
END_OF_TEXT = 99


def write_shard(
    path: Path,
    documents: Sequence[Sequence[int] | None],
    vocab_size: int = VOCAB,
    end_of_text: int = END_OF_TEXT,
    tokenizer_hash: str = "a" * 64,
    token_total: int | None = None,
    ids: Sequence[str] | None = None,
) -> Path:
    """Write a TOKENS shard of the documents; `token_total` states another total in its footer. Returns `path`."""
    total = sum(len(document or ()) for document in documents) if token_total is None else token_total
    metadata = {
        "tokenizer_hash": tokenizer_hash,
        "vocab_size": str(vocab_size),
        "end_of_text": str(end_of_text),
        "token_total": str(total),
    }
    ids = ids or [f"<urn:uuid:{number}>" for number in range(len(documents))]
    schema = tokens_schema(vocab_size).with_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids, "tokens": list(documents)}, schema=schema), path)
    return path


def write_bytes(root: Path, texts: Sequence[bytes]) -> Path:
    """Write shards to `root/tokens` and their tokenizer beside it; a token is a byte. Returns the folder of shards."""
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), "gpt2", {"<|endoftext|>": 256})
    save_vocabulary(vocabulary, root / "tokenizer")
    write_shard(root / "tokens/a.parquet", [list(text) for text in texts], vocabulary.size, 256, vocabulary.hash)
    return root / "tokens"


def write_record(directory: Path, unit: str, shard: Path, rows: int, kind: str = "tokens") -> None:
    """Write a commit record that names the shard."""
    output = {
        "path": shard.relative_to(directory).as_posix(),
        "kind": kind,
        "rows": rows,
        "bytes": shard.stat().st_size,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }
    record = {"unit": unit, "stage": "tokens", "config": "c", "inputs": [], "outputs": [output], "counts": []}
    (directory / "_units").mkdir(exist_ok=True)
    (directory / "_units" / f"{unit}.json").write_text(json.dumps(record), "utf-8")


def random_documents(count: int, length: int = 40, seed: int = 0) -> list[list[int]]:
    """Documents that a model can learn: the ids of each document increase by a constant of its own."""
    random = np.random.default_rng(seed)
    starts, strides = random.integers(0, END_OF_TEXT, count), random.integers(1, 4, count)
    return [
        [int((start + stride * i) % END_OF_TEXT) for i in range(length)]
        for start, stride in zip(starts, strides, strict=True)
    ]


def small_model(**changes: Any) -> ModelConfig:
    """A small shape, with changes."""
    shape: dict[str, Any] = {
        "vocab_size": VOCAB,
        "context": 16,
        "layers": 2,
        "width": 64,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "mlp_width": 96,
    }
    return ModelConfig(**{**shape, **changes})


# `small_model` in shapes that differ in their parts.
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "gpt2": {
        "positions": "learned",
        "norm": "layer",
        "activation": "gelu",
        "qk_norm": False,
        "bias": True,
        "kv_heads": 4,
        "norm_eps": 1e-5,
    },
    "window": {"window": 5, "layers": 3, "full_every": 2},
    "others": {"activation": "relu2", "soft_cap": 3.0, "tied": False, "bias": True},
}


def small_training(**changes: Any) -> TrainConfig:
    """The settings of a short training, with changes."""
    fields: dict[str, Any] = {"steps": 20, "batch_tokens": 128, "lr": 3e-3, "warmup_steps": 4}
    return TrainConfig(**{**fields, **changes})
