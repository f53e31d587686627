"""SIGNATURES -> keys: 64-bit numbers. Two documents may be duplicates if they have a key in common.

A document has a key for each band, made of the band's hashes and its number, so that keys of different bands differ.
One more key is made of the hash of its text. A document without words has no band keys, because all such documents have
one signature. Two different values become equal keys in one of 2^64 pairs: a billion documents of 15 keys each have
about 6 such pairs, and the decision about a document compares more than keys.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.dedup.config import Config
from corpus.dedup.kernels import exchange as kernels


def band_keys(signatures: NDArray[np.uint32], config: Config) -> NDArray[np.uint64]:
    """Keys (uint64[n, bands]) of signatures (uint32[n, num_perm]): equal keys mean equal bands."""
    band_keys = np.empty((len(signatures), config.bands), np.uint64)
    kernels.band_keys(signatures, config.rows, band_keys)
    return band_keys


def key_columns(config: Config) -> list[str]:
    """The columns of SIGNATURES that keys are made of."""
    return ["text_hash"] * config.exact + ["signature", "shingles"] * config.minhash + ["dump"] * config.per_dump


def keys(batch: pa.RecordBatch, config: Config) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """(keys uint64[m], the row in the batch of each key, uint32[m]) of a batch of SIGNATURES.

    Band keys come first, document by document, then the keys of texts, so that the rows of equal keys ascend. With
    `config.per_dump`, documents of different dumps have no keys in common; documents without a dump count as one dump.
    """
    numbers = np.arange(batch.num_rows, dtype=np.uint32)
    parts: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    rows: list[NDArray[np.uint32]] = [numbers[:0]]
    if config.minhash:
        worded = np.flatnonzero(batch.column("shingles").to_numpy())
        signatures = fixed_width(batch.column("signature"), np.uint32)
        if len(worded) < len(signatures):
            signatures = signatures[worded]
        parts.append(band_keys(signatures, config).reshape(-1))
        rows.append(np.repeat(numbers[worded], config.bands))
    if config.exact:
        hashes = np.empty(batch.num_rows, np.uint64)
        kernels.text_keys(fixed_width(batch.column("text_hash"), np.uint64), hashes)
        parts.append(hashes)
        rows.append(numbers)
    all_keys, all_rows = np.concatenate(parts), np.concatenate(rows)
    if config.per_dump:
        kernels.mix_in(all_keys, _dump_hashes(batch.column("dump"))[all_rows])
    return all_keys, all_rows


def fixed_width(column: pa.Array, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A fixed_size_binary column as little-endian integers [rows, integers in a row]: a view of Arrow's memory."""
    size = np.dtype(dtype).newbyteorder("<")
    width = column.type.byte_width // size.itemsize
    values = np.frombuffer(column.buffers()[1] if len(column) else b"", size)
    return values[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _dump_hashes(dumps: pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of the name of each row's dump, 0 for null: uint64[rows]."""
    encoded = dumps.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    hashes = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
    table = np.array([*hashes, 0], np.uint64)
    numbers: NDArray[np.int64] = pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)
    return table[numbers]
