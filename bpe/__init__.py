"""Byte-level BPE: train vocabularies, encode text, decode ids.

    >>> import bpe
    >>> tokenizer = bpe.train_tokenizer(["low lower lowest", "new newer newest"], vocab_size=270)
    >>> tokenizer.decode(tokenizer.encode("newest low"))
    'newest low'
    >>> bpe.PATTERNS
    ('gpt2', 'cl100k', 'o200k')

`PATTERNS` are the names of the split rules. `Tokenizer.load` reads the vocabularies of tiktoken, Hugging Face and GPT-2
too. `import bpe` imports nothing more; each name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpe.library import compare_tokenizers, export_tokenizer, import_tokenizer, read_texts, train_tokenizer
    from bpe.patterns import PATTERNS
    from bpe.tokenizer import Tokenizer
    from bpe.vocabulary import Vocabulary

__all__ = [
    "PATTERNS",
    "Tokenizer",
    "Vocabulary",
    "compare_tokenizers",
    "export_tokenizer",
    "import_tokenizer",
    "read_texts",
    "train_tokenizer",
]

# The module of each name. No name is that of a module: an imported module would hide it.
_MODULES = {"PATTERNS": "bpe.patterns", "Tokenizer": "bpe.tokenizer", "Vocabulary": "bpe.vocabulary"}


if not TYPE_CHECKING:  # a type checker should know the names above and no others

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'bpe' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_MODULES.get(name, "bpe.library")), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
