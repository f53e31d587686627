"""Byte-level BPE: train vocabularies, encode text, decode ids.

    from bpe import Tokenizer
    Tokenizer.load("cl100k_base.tiktoken").encode("Hello world")

`import bpe` imports nothing more; `Tokenizer` is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpe.tokenizer import Tokenizer

__all__ = ["Tokenizer"]


def __getattr__(name: str) -> Any:
    if name == "Tokenizer":
        from bpe.tokenizer import Tokenizer

        return Tokenizer
    raise AttributeError(f"module 'bpe' has no attribute {name!r}")
