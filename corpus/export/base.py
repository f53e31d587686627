"""What a format is: how the files are called, and a function that writes the rows of one file.

A format writes local files from batches that come one at a time, so that the memory does not depend on the number of
rows. The bytes depend on the rows and the options alone: no time, no host, no path is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa


class Options(NamedTuple):
    """What a format may need beside the rows.

    name       of the corpus
    row_group  rows of a row group
    footer     of a shard of tokens: tokenizer_hash, vocab_size, end_of_text; empty for documents
    """

    name: str
    row_group: int
    footer: Mapping[str, str]


@dataclass(frozen=True)
class Format:
    """A format.

    kinds      the kinds of datasets that it takes: documents, tokens
    stem       (name of the corpus, number of the file, number of files) -> the file's key without its endings
    endings    of the files that one call of `write` makes
    write      (path without its ending, batches, their columns, options): writes the local files
    pattern    the files that `datasets` reads; "" where it cannot read them
    load       Markdown: how a reader loads the files
    needs      columns without which a dataset cannot be exported
    picks      whether some of the columns can be chosen
    splits     whether there may be several files
    """

    kinds: tuple[str, ...]
    stem: Callable[[str, int, int], str]
    endings: tuple[str, ...]
    write: Callable[[Path, Iterable[pa.RecordBatch], pa.Schema, Options], None]
    pattern: str
    load: str
    needs: tuple[str, ...] = ()
    picks: bool = True
    splits: bool = True


def train_stem(name: str, number: int, count: int) -> str:
    """The Hub's usual names: data/train-00000-of-00012."""
    return f"data/train-{number:05d}-of-{count:05d}"
