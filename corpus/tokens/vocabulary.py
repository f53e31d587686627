"""Settings of the vocabulary that a recipe ends with: the table [tokenizer].

No function judges rows here. The passes of `corpus.tokens.passes` train the vocabulary on all clean documents, unless
`path` names one, and then turn the documents into token shards.
"""

from __future__ import annotations

from dataclasses import dataclass

from corpus.config import setting
from corpus.stage import Stage


@dataclass(frozen=True)
class Config:
    """The vocabulary: trained on the clean documents, or read from `path`."""

    vocab_size: int = setting(32768, "symbols to train, with the 256 bytes and <|endoftext|>", low=257, high=2**20)
    pattern: str = setting("cl100k", "split rule", choices=("gpt2", "cl100k", "o200k"))
    sample: float = setting(1.0, "share of the documents to train on; a hash of the text decides", low=1e-6, high=1)
    path: str = setting("", "use this vocabulary instead of training one", path=True)
    end_of_text: str = setting("", "special token that ends a text; empty: the vocabulary's own, else <|endoftext|>")


STAGE = Stage("tokenizer", Config)
