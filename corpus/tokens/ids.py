"""DOCUMENTS -> TOKENS: every document as the ids of a byte-level BPE vocabulary.

The ids are exactly the text: no end-of-text id is added (the shard's footer names it, and whoever makes training
windows puts it between documents) and none can come from the text, where `<|endoftext|>` is thirteen characters.
Ids take two bytes while the vocabulary has at most 65,536 of them, else four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bpe.vocabulary import Vocabulary
from corpus.config import setting
from corpus.schema import Outcome, dropped_rows, tokens_schema
from corpus.stage import Stage


@dataclass(frozen=True)
class Config:
    """Which vocabulary."""

    tokenizer: str = setting("", "folder of a trained vocabulary, or a .tiktoken rank file", path=True)


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """TOKENS for a batch of DOCUMENTS; nothing is dropped."""
    from bpe.encode import load_encoder  # compiled code: not before it is needed

    encoder = load_encoder(config.tokenizer)
    offsets, ids = encoder.encode_batch(batch.column("text"))
    schema = tokens_schema(encoder.vocabulary.size)
    tokens = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids))
    kept = pa.record_batch([batch.column("id"), tokens.cast(schema.field("tokens").type)], schema=schema)
    return Outcome(kept, dropped_rows(batch, "tokens", {}))


def footer(config: Config, sums: Mapping[str, int]) -> dict[str, str]:
    """What a TOKENS shard says of itself: the vocabulary's hash and size, the end-of-text id, the ids in the shard."""
    vocabulary = _vocabulary(config)
    return {
        "tokenizer_hash": vocabulary.hash,
        "vocab_size": str(vocabulary.size),
        "end_of_text": str(vocabulary.end_of_text),
        "token_total": str(sums["tokens"]),
    }


def schema(config: Config) -> pa.Schema:
    """The shard's schema, which follows from the vocabulary's size."""
    return tokens_schema(_vocabulary(config).size)


def _vocabulary(config: Config) -> Vocabulary:
    """Read once in a process, with the encoder that every shard needs anyway."""
    from bpe.encode import load_encoder

    return load_encoder(config.tokenizer).vocabulary


def count_kept(batch: pa.RecordBatch, config: Config) -> dict[str, int]:
    """How many ids a batch of TOKENS holds."""
    column = batch.column("tokens")
    return {"tokens": int(column.offsets[-1].as_py() - column.offsets[0].as_py()) if len(column) else 0}


STAGE = Stage("tokens", Config, process, schema=schema, footer=footer, count_kept=count_kept)
