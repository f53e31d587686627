"""DOCUMENTS -> DOCUMENTS with `token_count`: the number of tokens of each document by a vocabulary.

FineWeb's column counts GPT-2's tokens. When a corpus is made, it is often not known which vocabulary will be used in
training. So counting is a stage of its own, and the column is null until the stage has run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from corpus.config import setting
from corpus.schema import Outcome, dropped_rows, replace_column
from corpus.stage import Stage

NAME = "token_count"


@dataclass(frozen=True)
class Config:
    tokenizer: str = setting("", "folder of a vocabulary, or a .tiktoken rank file (FineWeb: gpt2)", path=True)

    def __post_init__(self) -> None:
        if self.tokenizer == "":
            raise ValueError("tokenizer = '': should name a vocabulary, as in tokenizer = \"gpt2.tiktoken\"")


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Count the tokens of every document; no document is dropped."""
    from bpe.encode import load_encoder  # compiled code, which help texts do not need

    offsets, _ = load_encoder(config.tokenizer).encode_batch(batch.column("text"))
    counts = pa.array(np.diff(offsets), pa.int64())
    return Outcome(replace_column(batch, "token_count", counts), dropped_rows(batch, NAME, {}))


STAGE = Stage(NAME, Config, process)
