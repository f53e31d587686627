"""DOCUMENTS -> TOKENS: every document as the ids of a byte-level BPE vocabulary.

The ids are exactly the text. No end-of-text id is added: the shard's footer names it, and the trainer puts it between
documents. The text cannot contain it either: `<|endoftext|>` in a text is thirteen characters. An id takes two bytes
if the vocabulary has at most 65,536 symbols, else four.
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
    """The vocabulary."""

    tokenizer: str = setting("", "folder of a trained vocabulary, or a .tiktoken rank file", path=True)
    end_of_text: str = setting("", "special token that ends a text; empty: the vocabulary's own")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """TOKENS of a batch of DOCUMENTS; no document is dropped."""
    from bpe.encode import load_encoder  # compiled code, which help texts do not need

    encoder = load_encoder(config.tokenizer)
    offsets, ids = encoder.encode_batch(batch.column("text"))
    schema = tokens_schema(encoder.vocabulary.size)
    tokens = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids))
    kept = pa.record_batch([batch.column("id"), tokens.cast(schema.field("tokens").type)], schema=schema)
    return Outcome(kept, dropped_rows(batch, "tokens", {}))


def footer(config: Config, sums: Mapping[str, int]) -> dict[str, str]:
    """The footer of a TOKENS shard: the vocabulary's hash and size, the end-of-text id, the number of its ids."""
    vocabulary = _vocabulary(config)
    return {
        "tokenizer_hash": vocabulary.hash,
        "vocab_size": str(vocabulary.size),
        "end_of_text": str(vocabulary.end_of_text),
        "token_total": str(sums["tokens"]),
    }


def schema(config: Config) -> pa.Schema:
    """The schema of a TOKENS shard, which depends on the vocabulary's size."""
    return tokens_schema(_vocabulary(config).size)


def _vocabulary(config: Config) -> Vocabulary:
    """The vocabulary: it is read once in a process, with the encoder that every shard needs anyway."""
    from bpe.encode import load_encoder

    vocabulary = load_encoder(config.tokenizer).vocabulary
    return vocabulary.with_end(config.end_of_text) if config.end_of_text else vocabulary


def count_kept(batch: pa.RecordBatch, config: Config) -> dict[str, int]:
    """Sums over a batch of TOKENS: ids."""
    column = batch.column("tokens")
    return {"tokens": int(column.offsets[-1].as_py() - column.offsets[0].as_py()) if len(column) else 0}


STAGE = Stage("tokens", Config, process, schema=schema, footer=footer, count_kept=count_kept)
