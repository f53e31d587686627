"""DOCUMENTS -> DOCUMENTS with `token_count` filled in, by the vocabulary that one wants to count in.

FineWeb's column counts GPT-2's tokens. Which vocabulary a corpus will be trained with is often not known when it is
made, so counting is a stage of its own, and the column is null until it has run.
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
    """Count every document's tokens; nothing is dropped."""
    from bpe.encode import load_encoder  # compiled code: not before it is needed

    offsets, _ = load_encoder(config.tokenizer).encode_batch(batch.column("text"))
    counts = pa.array(np.diff(offsets), pa.int64())
    return Outcome(replace_column(batch, "token_count", counts), dropped_rows(batch, NAME, {}))


STAGE = Stage(NAME, Config, process)
