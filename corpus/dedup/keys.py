"""SIGNATURES -> keys: 64-bit numbers of which two documents have one in common if they may be duplicates.

A document with words has a key for each band, made of the band's hashes and its number, so that keys of different bands
are never compared; a text without words has no bands, because all such texts have the same signature. Its text's hash
is one more key. Different documents share a key by chance in one of 2^64 pairs: a billion documents of 15 keys each
have about 6 such pairs, and what decides over a document compares more than keys.
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
    """uint64[n, bands] of uint32[n, num_perm]: equal keys mean equal bands."""
    found = np.empty((len(signatures), config.bands), np.uint64)
    kernels.band_keys(signatures, config.rows, found)
    return found


def key_columns(config: Config) -> list[str]:
    """The columns of SIGNATURES that keys are made of."""
    return ["text_hash"] * config.exact + ["signature", "shingles"] * config.minhash + ["dump"] * config.per_dump


def keys(batch: pa.RecordBatch, config: Config) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """(keys uint64[m], the row of each in the batch, uint32[m]) of a batch of SIGNATURES.

    First the band keys, document by document, then the keys of texts, so that the rows of equal keys ascend. With
    `config.per_dump` documents of different dumps have none in common; those without a dump are one more dump.
    """
    numbers = np.arange(batch.num_rows, dtype=np.uint32)
    found: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    rows: list[NDArray[np.uint32]] = [numbers[:0]]
    if config.minhash:
        worded = np.flatnonzero(batch.column("shingles").to_numpy())
        signatures = fixed_width(batch.column("signature"), np.uint32)
        found.append(
            band_keys(signatures if len(worded) == len(signatures) else signatures[worded], config).reshape(-1)
        )
        rows.append(np.repeat(numbers[worded], config.bands))
    if config.exact:
        hashes = np.empty(batch.num_rows, np.uint64)
        kernels.text_keys(fixed_width(batch.column("text_hash"), np.uint64), hashes)
        found.append(hashes)
        rows.append(numbers)
    all_keys, all_rows = np.concatenate(found), np.concatenate(rows)
    if config.per_dump:
        kernels.mix_in(all_keys, _dump_hashes(batch.column("dump"))[all_rows])
    return all_keys, all_rows


def fixed_width(column: pa.Array, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A fixed_size_binary column as little-endian integers [rows, values a row]; a view of Arrow's memory."""
    size = np.dtype(dtype).newbyteorder("<")
    width = column.type.byte_width // size.itemsize
    values = np.frombuffer(column.buffers()[1] if len(column) else b"", size)
    return values[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _dump_hashes(dumps: pa.Array) -> NDArray[np.uint64]:
    """64 bits of each dump's name, 0 for null."""
    encoded = dumps.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    hashes = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
    table = np.array([*hashes, 0], np.uint64)
    numbers: NDArray[np.int64] = pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)
    return table[numbers]
