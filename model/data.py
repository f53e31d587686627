"""TOKENS shards in; (x, y) batches out, each of them a pure function of the step.

The documents of all shards, in order of path and row, become one stream with an end-of-text after each. The
stream is cut into windows of `context` inputs (and one more token, the last target). The last windows are
held out for validation; the others are visited in a new keyed order each epoch. `Batches.batch(step, rank,
world)` depends on nothing but its arguments, the seed and the data's fingerprint, so that a resumed run
needs one number: its step, and may continue with another number of processes.

A stream that is large is written once as a flat file beside the run and memory-mapped; a small one stays in
memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.shards import Dataset
from model.permutation import permute

IN_MEMORY_TOKENS = 64_000_000  # up to here (128 or 256 MB) the stream is packed in memory at every start

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]


class Shard(NamedTuple):
    """A TOKENS file and what its footer says."""

    path: Path
    sha256: str
    rows: int
    tokens: int  # without the end-of-text that packing adds after each document
    tokenizer_hash: str
    vocab_size: int
    end_of_text: int


@dataclass(frozen=True)
class Stream:
    """All documents as one array of ids, and where they came from."""

    ids_N: Array  # uint16 or uint32, perhaps memory-mapped
    vocab_size: int
    end_of_text: int
    tokenizer_hash: str
    fingerprint: str  # of the shards' bytes, in order: equal fingerprint, equal stream


# --- shards -> stream --------------------------------------------------------------------------------------


def token_files(directory: Path) -> list[tuple[Path, str | None]]:
    """TOKENS files of `directory` with the sha256 that their commit record gives (None in a plain directory).

    Where the pipeline wrote commit records (`_units/*.json`) only files that a record names count: anything
    else there is the remainder of an attempt that did not finish. Raises OSError or ValueError if there are
    none.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such directory of TOKENS shards")
    if (directory / "_units").is_dir():
        named = {directory / output.path: output.sha256 for output in Dataset(directory).files("tokens")}
        files: list[tuple[Path, str | None]] = sorted(named.items())
    else:
        files = [(path, None) for path in sorted(directory.rglob("*.parquet"))]
    if not files:
        raise ValueError(f"{directory}: holds no TOKENS shards; make them with `corpus tokenize`")
    return files


def read_shards(directory: Path) -> list[Shard]:
    """The footers of all shards, checked to come from one tokenizer.

    Raises ValueError naming the file (both files, for mixed tokenizers) and what is wrong with it.
    """
    shards = [_read_footer(path, sha256) for path, sha256 in token_files(directory)]
    first = shards[0]
    for shard in shards[1:]:
        if shard.tokenizer_hash != first.tokenizer_hash:
            raise ValueError(
                f"{first.path} and {shard.path}: made by different tokenizers ("
                f"{first.tokenizer_hash[:12]} and {shard.tokenizer_hash[:12]}); tokenize all data with one"
            )
        if (shard.vocab_size, shard.end_of_text) != (first.vocab_size, first.end_of_text):
            raise ValueError(f"{first.path} and {shard.path}: vocabulary size or end-of-text differ")
    return shards


def _read_footer(path: Path, sha256: str | None) -> Shard:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows, pairs = file.schema_arrow, file.metadata.num_rows, file.metadata.metadata
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})") from error
    if schema.names != ["id", "tokens"]:
        raise ValueError(f"{path}: not a TOKENS shard, its columns are {', '.join(schema.names)}")
    metadata = {key.decode(): value.decode() for key, value in (pairs or {}).items() if key != b"ARROW:schema"}
    missing = [name for name in ("tokenizer_hash", "vocab_size", "end_of_text", "token_total") if name not in metadata]
    if missing:
        raise ValueError(f"{path}: its footer lacks {', '.join(missing)}; write it with `corpus tokenize`")
    if sha256 is None:
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Shard(
        path,
        sha256,
        rows,
        int(metadata["token_total"]),
        metadata["tokenizer_hash"],
        int(metadata["vocab_size"]),
        int(metadata["end_of_text"]),
    )


def open_stream(directory: Path, cache: Path, in_memory: int = IN_MEMORY_TOKENS) -> Stream:
    """The packed stream of `directory`'s shards.

    Above `in_memory` tokens it is the file `cache/tokens-<fingerprint>.bin`, written on first use.
    Raises ValueError naming the file where a shard is damaged or holds an id outside its vocabulary.
    """
    shards = read_shards(directory)
    first = shards[0]
    sources = [first.tokenizer_hash, str(first.end_of_text), *(shard.sha256 for shard in shards)]
    fingerprint = hashlib.sha256("\n".join(sources).encode()).hexdigest()
    total = sum(shard.tokens + shard.rows for shard in shards)
    dtype = np.dtype("<u2" if first.vocab_size <= 65536 else "<u4")
    ids_N: Array
    if total <= in_memory:
        ids_N = np.empty(total, dtype)
        _pack(shards, ids_N)
    else:
        path = cache / f"tokens-{fingerprint[:16]}.bin"
        if not path.exists() or path.stat().st_size != total * dtype.itemsize:
            cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            mapped = np.memmap(partial, dtype, "w+", shape=(total,))
            _pack(shards, mapped)
            mapped.flush()
            del mapped
            partial.replace(path)
        ids_N = np.memmap(path, dtype, "r", shape=(total,))
    return Stream(ids_N, first.vocab_size, first.end_of_text, first.tokenizer_hash, fingerprint)


def _pack(shards: list[Shard], ids_N: Array) -> None:
    """Fill `ids_N` with the documents of `shards`, an end-of-text after each."""
    at = 0
    for shard in shards:
        start = at
        for packed_N in _packed_batches(shard):
            if at + len(packed_N) <= len(ids_N):
                ids_N[at : at + len(packed_N)] = packed_N
            at += len(packed_N)
        if at - start != shard.tokens + shard.rows:
            raise ValueError(
                f"{shard.path}: holds {at - start - shard.rows} tokens, its footer says {shard.tokens}; write it again"
            )


def _packed_batches(shard: Shard) -> Iterator[Array]:
    try:
        with pq.ParquetFile(shard.path) as file:
            for batch in file.iter_batches(batch_size=4096, columns=["tokens"]):
                yield _packed(batch.column(0), shard)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{shard.path}: damaged shard ({str(error).splitlines()[0]}); write it again") from error


def _packed(documents: pa.ListArray, shard: Shard) -> Array:
    values_N: Array = documents.flatten().to_numpy()
    lengths_M = pc.fill_null(pc.list_value_length(documents), 0).to_numpy().astype(np.int64)
    if len(values_N) and int(values_N.max()) >= shard.vocab_size:
        raise ValueError(f"{shard.path}: holds id {values_N.max()}, outside its vocabulary of {shard.vocab_size}")
    is_token_N = np.ones(len(values_N) + len(lengths_M), np.bool_)
    is_token_N[np.cumsum(lengths_M + 1) - 1] = False
    packed_N = np.full(len(is_token_N), shard.end_of_text, values_N.dtype)
    packed_N[is_token_N] = values_N
    return packed_N


# --- stream -> batches -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batches:
    """Windows of a stream: 0 .. train_windows-1 to train on, the rest held out."""

    stream: Stream
    context: int  # inputs a window
    train_windows: int
    validation_windows: int
    batch_size: int  # windows an update, over all processes
    seed: int

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Int64, Int64]:
        """Inputs and targets, (batch_size / world, context) each, of process `rank` at update `step` (from
        0).

        The windows of all ranks together do not depend on `world`.
        """
        if self.batch_size % world:
            raise ValueError(f"{world} processes: should divide the batch of {self.batch_size} windows")
        share = self.batch_size // world
        first = step * self.batch_size + rank * share
        return self.windows(self.order(np.arange(first, first + share)))

    def order(self, positions_N: Int64) -> Int64:
        """The training window at each position of the endless sequence of epochs."""
        epochs_N, offsets_N = np.divmod(positions_N, self.train_windows)
        windows_N = np.empty_like(positions_N)
        for epoch in np.unique(epochs_N):
            now_N = epochs_N == epoch
            key = f"{self.seed} {epoch} {self.stream.fingerprint}"
            windows_N[now_N] = permute(offsets_N[now_N], self.train_windows, key)
        return windows_N

    def windows(self, numbers_N: Int64) -> tuple[Int64, Int64]:
        """Inputs and targets, (N, context) each, of the given windows."""
        index_NT = numbers_N[:, None] * self.context + np.arange(self.context + 1)
        ids_NT = np.asarray(self.stream.ids_N[index_NT]).astype(np.int64)
        return ids_NT[:, :-1], ids_NT[:, 1:]

    def validation(self, most: int) -> Int64:
        """Up to `most` held-out windows, spread evenly over that part."""
        first = self.train_windows
        count = min(most, self.validation_windows)
        return first + np.arange(count) * self.validation_windows // count


def make_batches(stream: Stream, context: int, batch_tokens: int, validation_fraction: float, seed: int) -> Batches:
    """Cut `stream` into windows and hold the last of them out: at least one is trained on and one held out.

    Neighbouring windows share one token (last target of one, first input of the next), so no target that
    validation scores is ever a target in training. Raises ValueError if the stream is too short.
    """
    windows = (len(stream.ids_N) - 1) // context
    if windows < 2:
        raise ValueError(
            f"{len(stream.ids_N)} tokens of data: should be at least {2 * context + 1} for a context of "
            f"{context} (one window to train on, one held out); add data or choose a smaller context"
        )
    held_out = min(max(1, round(windows * validation_fraction)), windows - 1)
    return Batches(stream, context, windows - held_out, held_out, batch_tokens // context, seed)
