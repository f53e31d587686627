"""SIGNATURES -> edges between documents that are alike, out of core: a shuffle through files and nothing else.

Map: `write_pairs` writes, for each unit, what its documents can have in common with others, partitioned by the first
bits of a hash. Reduce: `partition_edges` takes one range of these hashes out of every unit's file, so that everything
that can be equal comes together, and answers which documents are. Both work on any storage that can read a range.

A pairs file is little-endian uint64 words. First 2 * SLOTS + 1 byte offsets, then for each slot its records:

    slot s, texts   offsets[2s] to offsets[2s + 1]       first half of the text's hash, second half, row
    slot s, bands   offsets[2s + 1] to offsets[2s + 2]   band key, band << 48 | row

A slot is an equal range of the first word's values, and partition `part` of `parts` is SLOTS / parts neighbouring
slots: their offsets are one short read, their records another. A row counts within the unit, so that a file depends on
its own documents alone. Two records are joined if they agree in all but the row: in all 128 bits of a text's hash, or
in key and band.

Within a slot records stay in input order: sorting them would help nobody, because the reducer groups by hashing, in
time linear in the records, however many of them are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.dedup.config import Config, check_signatures
from corpus.dedup.kernels import exchange as kernels

SLOTS = 1024
EDGES_AT_A_TIME = 1 << 20  # that `read_edges` hands out

_HEADER = 8 * (2 * SLOTS + 1)
_TEXT, _BAND = 3, 2  # words of a record
# Records that are grouped at a time, on average: they and their hash table fit into a core's own cache.
_BUCKET = 8192


class Source(NamedTuple):
    """A unit's pairs file: rows in all units before it, `read(start, length)`, the bytes of a range, and its name."""

    first_row: int
    read: Callable[[int, int], bytes]
    name: str = "pairs"


def write_pairs(signatures: Path, target: Path, config: Config) -> int:
    """Write the pairs file of a local SIGNATURES shard; returns the number of its records.

    In memory are the records, twice: about 500 bytes a document with 14 bands. Raises ValueError naming the shard
    if it was not signed with `config`.
    """
    with pq.ParquetFile(signatures) as shard:
        check_signatures(str(signatures), shard.schema_arrow, config)
        rows = shard.metadata.num_rows
        texts = np.empty((rows if config.exact else 0, _TEXT), np.uint64)
        bands = np.empty((rows * config.bands if config.minhash else 0, _BAND), np.uint64)
        row = filled = 0
        for batch in shard.iter_batches(columns=["text_hash", "bands", "shingles"]):
            end = row + batch.num_rows
            if config.exact:
                texts[row:end, :2] = fixed_width(batch.column("text_hash"), np.uint64)
                texts[row:end, 2] = np.arange(row, end, dtype=np.uint64)
            if config.minhash:
                found = _band_records(batch, row, config)
                bands[filled : filled + len(found)] = found
                filled += len(found)
            row = end
    sections = [_partitioned(records, 0, SLOTS) for records in (texts, bands[:filled])]
    sizes = np.stack([8 * records.shape[1] * np.diff(starts) for records, starts in sections], axis=1)
    offsets = np.cumsum(np.append(_HEADER, sizes.reshape(-1)), dtype=np.int64)
    with target.open("wb") as file:
        file.write(offsets.astype("<u8").tobytes())
        for slot in range(SLOTS):
            for records, starts in sections:
                file.write(records[starts[slot] : starts[slot + 1]].astype("<u8", copy=False).data)
    return len(texts) + filled


def partition_edges(sources: Sequence[Source], part: int, parts: int, threads: int = 1) -> NDArray[np.uint64]:
    """Edges between the documents that records of one partition join: uint64[n, 2], sorted, each once.

    Of the documents that have a key in common, each is joined to the first; rows count over all units. `sources` come
    in the order of their rows; `parts` is a power of two, 1024 at the most. Up to `threads` reads are under way at a
    time, for storage that is far away. In memory are the partition's records, twice, and the headers' part. Raises
    ValueError naming a file that is no pairs file or ends too early.
    """
    if not 0 <= part < parts <= SLOTS or parts & (parts - 1):
        raise ValueError(f"partition {part} of {parts}: the number of partitions is a power of two up to {SLOTS}")
    with ThreadPoolExecutor(threads) as pool:
        offsets = list(pool.map(lambda source: _offsets(source, part, parts), sources))
        starts = np.cumsum([(0, 0), *map(_counts, offsets)], axis=0)
        texts = np.empty((starts[-1, 0], _TEXT), np.uint64)
        bands = np.empty((starts[-1, 1], _BAND), np.uint64)

        def fill(number: int) -> None:
            (text, band), (text_end, band_end) = starts[number], starts[number + 1]
            _read_records(sources[number], offsets[number], texts[text:text_end], bands[band:band_end])

        list(pool.map(fill, range(len(sources))))
    return _sorted_once(np.concatenate([_joined(texts, parts), _joined(bands, parts)]))


def write_edges(edges: NDArray[np.uint64], path: Path) -> None:
    """Edges as little-endian uint64 words, two an edge."""
    path.write_bytes(edges.astype("<u8", copy=False).data)


def read_edges(stream: BinaryIO) -> Iterator[NDArray[np.uint64]]:
    """What `write_edges` wrote, uint64[n, 2] with n up to EDGES_AT_A_TIME. Raises ValueError at half an edge."""
    while data := stream.read(16 * EDGES_AT_A_TIME):
        if len(data) % 16:
            raise ValueError(f"{getattr(stream, 'name', 'edges')}: ends within an edge; remove it to make it again")
        yield np.frombuffer(data, "<u8").astype(np.uint64, copy=False).reshape(-1, 2)


def fixed_width(column: pa.Array, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A fixed_size_binary column as little-endian integers [rows, values a row]; a view of Arrow's memory."""
    size = np.dtype(dtype).newbyteorder("<")
    width = column.type.byte_width // size.itemsize
    values = np.frombuffer(column.buffers()[1] if len(column) else b"", size)
    return values[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _band_records(batch: pa.RecordBatch, first_row: int, config: Config) -> NDArray[np.uint64]:
    """A record for each band of each document that has words: all texts without words have the same signature."""
    worded = np.flatnonzero(batch.column("shingles").to_numpy())
    keys = batch.column("bands").flatten().to_numpy().reshape(-1, config.bands)[worded]
    rows = (first_row + worded).astype(np.uint64)[:, None]
    records = np.empty((*keys.shape, _BAND), np.uint64)
    records[:, :, 0] = keys
    records[:, :, 1] = np.arange(config.bands, dtype=np.uint64) << np.uint64(kernels.BAND_SHIFT) | rows
    return records.reshape(-1, _BAND)


def _offsets(source: Source, part: int, parts: int) -> NDArray[np.int64]:
    """Where a partition's sections begin and, last, where they end: int64[2 * slots + 1], bytes."""
    slots = SLOTS // parts
    offsets = np.frombuffer(_read(source, 8 * 2 * slots * part, 8 * (2 * slots + 1)), "<u8").astype(np.int64)
    words = np.diff(offsets // 8)
    wrong = words.min() < 0 or (words[0::2] % _TEXT).any() or (words[1::2] % _BAND).any()
    if wrong or offsets[0] < _HEADER or (offsets % 8).any():
        raise ValueError(f"{source.name}: not a pairs file; remove it to make it again")
    return offsets


def _counts(offsets: NDArray[np.int64]) -> tuple[int, int]:
    """Text records and band records between the offsets."""
    sizes = np.diff(offsets)
    return int(sizes[0::2].sum()) // (8 * _TEXT), int(sizes[1::2].sum()) // (8 * _BAND)


def _read_records(
    source: Source, offsets: NDArray[np.int64], texts: NDArray[np.uint64], bands: NDArray[np.uint64]
) -> None:
    """Read a unit's part of a partition into `texts` and `bands`, its rows counted over all units."""
    data = np.frombuffer(_read(source, int(offsets[0]), int(offsets[-1] - offsets[0])), "<u8")
    in_text = np.repeat(np.tile([True, False], len(offsets) // 2), np.diff(offsets) // 8)
    texts.reshape(-1)[:] = data[in_text]
    bands.reshape(-1)[:] = data[~in_text]
    for records in (texts, bands):
        records[:, -1] += np.uint64(source.first_row)


def _read(source: Source, start: int, length: int) -> bytes:
    data = source.read(start, length) if length else b""
    if len(data) != length:
        raise ValueError(f"{source.name}: {len(data)} of {length} bytes at {start}; remove it to make it again")
    return data


def _joined(records: NDArray[np.uint64], parts: int) -> NDArray[np.uint64]:
    """Edges between equal records of a partition; overwrites `records`."""
    grouped, starts = _partitioned(records, parts.bit_length() - 1, max(2, len(records) // _BUCKET))
    table = np.empty(2 << (int(np.diff(starts).max()) - 1).bit_length(), np.int32)
    # Grouping has copied the records: their place takes the edges, of which there are fewer.
    edges = records.reshape(-1)
    count = kernels.star_edges(grouped, starts, table, edges)
    return edges[: 2 * count].reshape(-1, 2)


def _partitioned(
    records: NDArray[np.uint64], skipped: int, buckets: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(records by bucket, starts[buckets + 1]): a power of two of equal ranges of the first word, whose `skipped`
    highest bits are all alike. Order within a bucket is kept.
    """
    bits = min((buckets - 1).bit_length(), 64 - skipped)
    starts = np.zeros((1 << bits) + 1, np.int64)
    out = np.empty_like(records)
    kernels.partition(records, np.uint64(64 - skipped - bits), starts, out)
    return out, starts


def _sorted_once(edges: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The edges in order, each once."""
    low, high = edges.T
    if not len(edges) or high.max() < 2**32:  # one word an edge sorts ten times as fast
        packed = np.sort(low << np.uint64(32) | high)
        low, high = packed >> np.uint64(32), packed & np.uint64(2**32 - 1)
    else:
        order = np.lexsort((high, low))
        low, high = low[order], high[order]
    fresh = np.ones(len(edges), np.bool_)
    fresh[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return np.stack([low, high], axis=1)[fresh]
