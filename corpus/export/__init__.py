"""Corpora out: datasets as few large files with a card (`write`), and their way to the Hub or to a store (`publish`).

`FORMATS` is the table of formats. A format is a module with a constant `FORMAT` (see `base`), and one line here.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

from corpus.export.base import Format


class Listed(NamedTuple):
    """A line of the table: the module of a format, and what help says of it."""

    module: str
    about: str


FORMATS = {
    "parquet": Listed("corpus.export.parquet", "Parquet, as the Hugging Face Hub's users expect it"),
    "jsonl.zst": Listed("corpus.export.jsonl", "JSON lines with all columns, compressed with Zstandard"),
    "dolma": Listed("corpus.export.dolma", "Dolma's documents: JSON lines, compressed with gzip"),
    "megatron": Listed("corpus.export.megatron", "token ids as Megatron-LM reads them, .bin and .idx"),
}


def load_format(name: str) -> Format:
    """The format of this name. Raises ValueError listing the known ones."""
    if name not in FORMATS:
        raise ValueError(f"{name}: no such format; use one of {', '.join(FORMATS)}")
    value: Format = importlib.import_module(FORMATS[name].module).FORMAT
    return value
