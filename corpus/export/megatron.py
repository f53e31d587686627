"""Token ids as Megatron-LM reads them: a .bin of ids and an .idx that says where each document is.

The format is that of `megatron/core/datasets/indexed_dataset.py` (`IndexedDataset`, formerly `MMapIndexedDataset`). All
numbers are little-endian. The .bin has the ids of all documents, one after the other. The .idx has

    9 bytes   MMIDIDX 0 0
    uint64    1, the version
    uint8     the type of an id: 8 is uint16, 4 is int32
    uint64    number of sequences: here the number of documents
    uint64    number of entries of the last array
    int32[]   ids in each sequence
    int64[]   the first byte of each sequence in the .bin
    int64[]   the first sequence of each document, then the number of sequences

Megatron takes uint16 for vocabularies of fewer than 65,500 symbols (`DType.optimal_dtype`), else int32. Each document
ends with the end-of-text id once, as `tools/preprocess_data.py --append-eod` writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.export.base import Format, Options

_MAGIC = b"MMIDIDX\x00\x00"
_UINT16, _INT32 = 8, 4  # codes of megatron.core.datasets.indexed_dataset.DType
_SMALL = 65_500  # symbols
_PIECE = 1 << 20  # documents whose index is in memory


def with_ends(offsets: NDArray[np.int64], ids: NDArray[np.unsignedinteger], end: int) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    """(int64[documents], ids): the lengths and the ids of documents that all end with `end`.

    offsets  int64[documents + 1]: where in `ids` each document begins
    """
    lengths = np.diff(offsets)
    last = ids[np.maximum(offsets[1:] - 1, 0)] if len(ids) else np.zeros(len(lengths), ids.dtype)
    lacking = (lengths == 0) | (last != end)
    places = np.asarray(offsets[1:])[lacking] - offsets[0]
    return lengths + lacking, np.insert(ids[offsets[0] : offsets[-1]], places, end)


def _write(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, options: Options) -> None:
    try:
        end, size = int(options.footer["end_of_text"]), int(options.footer["vocab_size"])
    except (KeyError, ValueError):
        raise ValueError("the tokens name no end_of_text and vocab_size; make them with corpus tokenize") from None
    dtype = np.dtype("<u2" if size < _SMALL else "<i4")
    lengths_path = path.with_name(path.name + ".lengths")
    count = 0
    with path.with_name(path.name + ".bin").open("wb") as ids_file, lengths_path.open("wb") as lengths_file:
        for batch in batches:
            column = batch.column("tokens")
            offsets = column.offsets.to_numpy().astype(np.int64)
            lengths, ids = with_ends(offsets, column.values.to_numpy(), end)
            ids_file.write(ids.astype(dtype).tobytes())
            lengths_file.write(lengths.astype("<i4").tobytes())
            count += len(lengths)
    with path.with_name(path.name + ".idx").open("wb") as index:
        index.write(_MAGIC + struct.pack("<QBQQ", 1, _UINT16 if dtype.itemsize == 2 else _INT32, count, count + 1))
        for lengths in _lengths(lengths_path):
            index.write(lengths.tobytes())
        first = 0
        for lengths in _lengths(lengths_path):
            ends = first + np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
            index.write((ends - lengths.astype(np.int64) * dtype.itemsize).astype("<i8").tobytes())
            first = int(ends[-1])
        for start in range(0, count + 1, _PIECE):
            index.write(np.arange(start, min(start + _PIECE, count + 1), dtype="<i8").tobytes())
    lengths_path.unlink()


def _lengths(path: Path) -> Iterator[NDArray[np.int32]]:
    with path.open("rb") as file:
        while data := file.read(4 * _PIECE):
            yield np.frombuffer(data, "<i4")


_LOAD = """Megatron-LM's `pretrain_gpt.py` takes the path without the ending: `--data-path FOLDER/data/train`.

`numpy.memmap("FOLDER/data/train.bin", dtype)` has the ids; the index says where the documents begin."""

FORMAT = Format(
    ("tokens",),
    lambda name, number, count: "data/train",
    (".bin", ".idx"),
    _write,
    "",
    _LOAD,
    needs=("tokens",),
    picks=False,
    splits=False,
)
