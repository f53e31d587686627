"""Streams of ids. In: TOKENS shards. Out: two streams, one to train on and one held out for validation.

The documents of all shards, in order of path and row, are joined, each followed by an end-of-text token. A document is
held out if a hash of its id falls below `validation_fraction` of the hash's range. That depends on the id and the
fraction alone: copies of a document stay together, more shards or another order of the shards move no document from one
stream to the other, and a larger fraction holds out further documents beside those of a smaller one.

The hash must never change, because scores on held-out documents would otherwise be scores on documents that a model was
trained on. It is BLAKE2b (RFC 7693) of the id in UTF-8, with a digest of 8 bytes and the personalisation `held-out`,
read as a little-endian number. A hash takes 0.4 microseconds, much less than reading the document's tokens.

Large streams are written once as flat files into the run directory and memory-mapped; small streams stay in memory.

Array names: N ids, M documents.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bpe.checksums import open_parquet
from bpe.whole import partial_path, put_in_place
from corpus.store.shards import DAMAGED, Dataset

IN_MEMORY_TOKENS = 64_000_000  # up to so many tokens (128 or 256 MB) the streams are packed in memory at every start
HASHES = 2**64  # number of different hashes
_READ = 4096  # documents read at a time

Array = npt.NDArray[Any]  # of ids, uint16 or uint32
Int64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


class TokenShard(NamedTuple):
    """A TOKENS file, and the content of its footer."""

    path: Path
    sha256: str  # of the file
    rows: int
    tokens: int  # without the end-of-text token that packing adds after each document
    tokenizer_hash: str
    vocab_size: int
    end_of_text: int


@dataclass(frozen=True)
class Stream:
    """All documents as two arrays of ids, uint16 or uint32, which are not writable and may be memory-mapped."""

    train_N: Array
    held_out_N: Array
    vocab_size: int
    end_of_text: int  # id
    tokenizer_hash: str
    fingerprint: str  # sha256 over the shards' sha256, in order, and the fraction: equal fingerprint, equal streams


# --- the shards of a folder --------------------------------------------------------------------------------


def token_files(directory: Path) -> list[tuple[Path, str | None]]:
    """The TOKENS files of `directory`, each with the sha256 in its commit record (None in a folder without records).

    If the folder has commit records (`_units/*.json`), only the files that a record names count: another file is left
    over from an attempt that did not finish. Raises FileNotFoundError if there is no such folder, ValueError if it has
    no TOKENS files.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such directory of TOKENS shards")
    if (directory / "_units").is_dir():
        recorded = {directory / output.path: output.sha256 for output in Dataset(directory).files("tokens")}
        files: list[tuple[Path, str | None]] = sorted(recorded.items())
    elif (directory / "tokens" / "_units").is_dir():
        raise ValueError(f"{directory}: holds more than TOKENS shards; those are in {directory / 'tokens'}")
    else:
        files = [(path, None) for path in sorted(directory.rglob("*.parquet"))]
    if not files:
        raise ValueError(f"{directory}: holds no TOKENS shards; make them with `corpus tokenize`")
    return files


def vocabulary_of(directory: Path) -> int:
    """The size of the vocabulary, as the first shard of the folder states it. No other shard is read.

    Raises FileNotFoundError if there is no such folder, ValueError naming what is wrong with it or with the shard.
    """
    return _read_footer(token_files(directory)[0][0], "").vocab_size


def read_shards(directory: Path) -> list[TokenShard]:
    """All shards of a folder, which must come from one tokenizer, in order of path.

    Raises FileNotFoundError if there is no such folder, ValueError naming the file and what is wrong with it, or two
    files that come from different tokenizers.
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


def _read_footer(path: Path, sha256: str | None) -> TokenShard:
    """A shard; the sha256 is computed if it is None. Raises ValueError naming the file if it is no TOKENS shard."""
    with path.open("rb") as opened:
        try:
            file = open_parquet(opened)
            schema, rows, pairs = file.schema_arrow, file.metadata.num_rows, file.metadata.metadata
        except DAMAGED as error:
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
    return TokenShard(
        path,
        sha256,
        rows,
        int(metadata["token_total"]),
        metadata["tokenizer_hash"],
        int(metadata["vocab_size"]),
        int(metadata["end_of_text"]),
    )


# --- shards -> streams -------------------------------------------------------------------------------------


def open_stream(
    directory: Path, cache: Path, validation_fraction: float = 0.02, in_memory: int = IN_MEMORY_TOKENS
) -> Stream:
    """The packed streams of the shards in `directory`.

    A `validation_fraction` of 0 holds no document out, 1 holds out all. Any other fraction leaves at least one document
    in each stream: if the hashes alone would not, the document with the lowest hash is held out, or the document with
    the highest hash is trained on. With more than `in_memory` tokens the streams are the memory-mapped files
    `cache/tokens-<fingerprint>-train.bin` and `-held-out.bin`, which are written on first use.

    Raises ValueError if the fraction is not between 0 and 1, if there is only one document to split, and, naming the
    file, if a shard is damaged or holds an id outside its vocabulary.
    """
    shards = read_shards(directory)
    first, fingerprint = shards[0], fingerprint_of(shards, validation_fraction)
    limit = _limit_for_both(shards, _limit(validation_fraction), directory)
    dtype = np.dtype("<u2" if first.vocab_size <= 65536 else "<u4")
    if sum(shard.tokens + shard.rows for shard in shards) <= in_memory:
        train, held_out = io.BytesIO(), io.BytesIO()
        _pack(shards, limit, dtype, train, held_out)
        streams = [np.frombuffer(file.getvalue(), dtype) for file in (train, held_out)]
    else:
        names = [f"tokens-{fingerprint[:16]}-{part}.bin" for part in ("train", "held-out")]
        streams = _mapped([cache / name for name in names], shards, limit, dtype)
    return Stream(streams[0], streams[1], first.vocab_size, first.end_of_text, first.tokenizer_hash, fingerprint)


def fingerprint_of(shards: list[TokenShard], validation_fraction: float) -> str:
    """The fingerprint of the streams that `open_stream` makes of these shards, without packing them."""
    first, limit = shards[0], _limit(validation_fraction)
    sources = [first.tokenizer_hash, str(first.end_of_text), str(limit), *(shard.sha256 for shard in shards)]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def _limit(validation_fraction: float) -> int:
    """The limit of the hashes: a document is held out if its hash is less."""
    if not 0 <= validation_fraction <= 1:
        raise ValueError(f"validation_fraction = {validation_fraction}: should be between 0 and 1")
    return math.ceil(validation_fraction * HASHES)


def held_out_lengths(directory: Path, validation_fraction: float) -> list[int]:
    """For each shard, in the order of `read_shards`, its number of ids in the held-out stream of `open_stream`."""
    shards = read_shards(directory)
    limit = _limit_for_both(shards, _limit(validation_fraction), directory)
    lengths = []
    for shard in shards:
        length = 0
        for batch in _record_batches(shard, ["id", "tokens"]):
            _, ends_M = _packed(batch.column("tokens"), shard)
            held_out_M = _is_held_out(batch, shard, limit)
            length += int(np.diff(ends_M, prepend=0)[held_out_M].sum())
        lengths.append(length)
    return lengths


def id_hashes(ids_M: pa.StringArray) -> U64:
    """The hashes of documents' ids, (M,) in uint64, which decide what is held out; see the top of this file."""
    fresh = hashlib.blake2b(digest_size=8, person=b"held-out")
    digests = []
    for text in ids_M.cast(pa.binary()).to_pylist():
        hasher = fresh.copy()  # takes two thirds of the time of a new one
        hasher.update(text)
        digests.append(hasher.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _limit_for_both(shards: list[TokenShard], limit: int, directory: Path) -> int:
    """The nearest number to `limit` with which both streams have a document; 0 and HASHES stay as they are.

    That is `limit` itself, except with little data or a tiny fraction. Usually a few documents are enough to know it.
    """
    if limit in (0, HASHES):
        return limit
    lowest, highest = HASHES, -1
    for shard in shards:
        for batch in _record_batches(shard, ["id"]):
            hashes_M = _checked_hashes(batch.column("id"), shard)
            lowest, highest = min(lowest, int(hashes_M.min())), max(highest, int(hashes_M.max()))
            if lowest < limit <= highest:
                return limit
    if lowest == highest:
        raise ValueError(
            f"{directory}: holds one document, which cannot be both trained on and held out; "
            "add documents or set validation_fraction = 0"
        )
    return min(max(limit, lowest + 1), max(highest, 0))


def _is_held_out(batch: pa.RecordBatch, shard: TokenShard, limit: int) -> Bool:
    """Whether each document of the batch is held out, (M,)."""
    if limit in (0, HASHES):
        return np.full(batch.num_rows, limit > 0)
    held_out_M: Bool = _checked_hashes(batch.column("id"), shard) < np.uint64(limit)
    return held_out_M


def _checked_hashes(ids_M: pa.StringArray, shard: TokenShard) -> U64:
    """The hashes of ids; raises ValueError naming the shard if a document has no id."""
    if ids_M.null_count:
        raise ValueError(f"{shard.path}: holds a document without an id; write it with `corpus tokenize`")
    return id_hashes(ids_M)


def _mapped(paths: list[Path], shards: list[TokenShard], limit: int, dtype: np.dtype[Any]) -> list[Array]:
    """The files `paths` of the two streams, memory-mapped; written first if they do not exist in the right size."""
    total = sum(shard.tokens + shard.rows for shard in shards)
    if not all(path.exists() for path in paths) or sum(path.stat().st_size for path in paths) != total * dtype.itemsize:
        _write(paths, shards, limit, dtype)
    # An empty file cannot be mapped.
    return [np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype) for path in paths]


def _write(paths: list[Path], shards: list[TokenShard], limit: int, dtype: np.dtype[Any]) -> None:
    """Write both files atomically, even if several processes do so at once.

    Each process writes temporary files of its own, with equal bytes. The first process to finish removes the temporary
    files of all processes, so that nothing stays behind of a process that was killed. A process that is still writing
    then finds no file to rename, and needs none; `bpe.whole.whole` would take the missing file for an error.
    """
    folder = paths[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    partials = [partial_path(path) for path in paths]
    try:
        with partials[0].open("wb") as train, partials[1].open("wb") as held_out:
            _pack(shards, limit, dtype, train, held_out)
        for partial, path in zip(partials, paths, strict=True):
            with contextlib.suppress(FileNotFoundError):
                put_in_place(partial, path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    for path in paths:
        for partial in folder.glob(f".{path.name}.*.partial"):
            partial.unlink(missing_ok=True)


def _pack(shards: list[TokenShard], limit: int, dtype: np.dtype[Any], train: IO[bytes], held_out: IO[bytes]) -> None:
    """Append each document and its end-of-text token to `held_out` if its hash is less than `limit`, else to `train`.

    Raises ValueError naming the shard if it is damaged.
    """
    for shard in shards:
        tokens = 0
        for batch in _record_batches(shard, ["id", "tokens"]):
            packed_N, ends_M = _packed(batch.column("tokens"), shard)
            tokens += len(packed_N) - len(ends_M)
            packed_N = packed_N.astype(dtype, copy=False)
            held_out_M = _is_held_out(batch, shard, limit)
            start = 0
            # Documents in a row that go to one stream are written together, up to the `last` of them.
            for last in [*np.flatnonzero(held_out_M[1:] != held_out_M[:-1]), len(ends_M) - 1]:
                end = int(ends_M[last])
                (held_out if held_out_M[last] else train).write(packed_N[start:end].data)
                start = end
        if tokens != shard.tokens:
            raise ValueError(f"{shard.path}: holds {tokens} tokens, its footer says {shard.tokens}; write it again")


def _record_batches(shard: TokenShard, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, up to _READ at a time. A batch has at least one row.

    Raises ValueError naming the shard if it is damaged.
    """
    with shard.path.open("rb") as opened:
        try:
            yield from open_parquet(opened).iter_batches(_READ, columns=columns, use_threads=False)
        except DAMAGED as error:
            raise ValueError(f"{shard.path}: damaged shard ({str(error).splitlines()[0]}); write it again") from error


def _packed(documents: pa.ListArray, shard: TokenShard) -> tuple[Array, Int64]:
    """The ids of all documents with an end-of-text token after each, (N,), and the end of each document, (M,).

    Raises ValueError naming the shard if an id lies outside its vocabulary.
    """
    values_N: Array = documents.flatten().to_numpy()
    lengths_M = pc.fill_null(pc.list_value_length(documents), 0).to_numpy().astype(np.int64)
    if len(values_N) and int(values_N.max()) >= shard.vocab_size:
        raise ValueError(f"{shard.path}: holds id {values_N.max()}, outside its vocabulary of {shard.vocab_size}")
    ends_M = np.cumsum(lengths_M + 1)
    is_token_N = np.ones(len(values_N) + len(lengths_M), np.bool_)
    is_token_N[ends_M - 1] = False
    packed_N = np.full(len(is_token_N), shard.end_of_text, values_N.dtype)
    packed_N[is_token_N] = values_N
    return packed_N, ends_M
