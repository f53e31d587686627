"""TOKENS shards in; two streams of ids out, one to train on and one held out.

The documents of all shards, in order of path and row, become a stream with an end-of-text after each. A document
is held out if a hash of its id falls below `validation_fraction` of the hash's range. That depends on the id and
the fraction alone: copies of a document stay together, more shards or another order of them move no document from
one side to the other, and a larger fraction holds out the same documents and more.

The hash must never change, since whoever scores a model on held-out documents relies on it: BLAKE2b (RFC 7693) of
the id in UTF-8, with a digest of 8 bytes and the personalisation `held-out`, read as a little-endian number. One
takes 0.4 microseconds, a small part of what reading the document's tokens takes.

Streams that are large are written once as flat files beside the run and memory-mapped; small ones stay in memory.
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
import pyarrow.parquet as pq

from bpe.whole import partial_path, put_in_place
from corpus.store.shards import Dataset

IN_MEMORY_TOKENS = 64_000_000  # up to here (128 or 256 MB) the streams are packed in memory at every start
HASHES = 2**64  # how many there are
_READ = 4096  # documents at a time

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


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
    """All documents as two arrays of ids, uint16 or uint32, not writable and perhaps memory-mapped."""

    train_N: Array
    held_out_N: Array
    vocab_size: int
    end_of_text: int
    tokenizer_hash: str
    fingerprint: str  # of the shards' bytes, in order, and the fraction: equal fingerprint, equal streams


# --- what shards there are ---------------------------------------------------------------------------------


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
    elif (directory / "tokens" / "_units").is_dir():
        raise ValueError(f"{directory}: holds more than TOKENS shards; those are in {directory / 'tokens'}")
    else:
        files = [(path, None) for path in sorted(directory.rglob("*.parquet"))]
    if not files:
        raise ValueError(f"{directory}: holds no TOKENS shards; make them with `corpus tokenize`")
    return files


def vocabulary_of(directory: Path) -> int:
    """The size of the vocabulary that the first shard names, for whoever needs no more.

    Raises OSError or ValueError as `read_shards` does, but looks at no other shard.
    """
    return _read_footer(token_files(directory)[0][0], "").vocab_size


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


# --- shards -> streams -------------------------------------------------------------------------------------


def open_stream(
    directory: Path, cache: Path, validation_fraction: float = 0.02, in_memory: int = IN_MEMORY_TOKENS
) -> Stream:
    """The packed streams of `directory`'s shards; a fraction of 0 leaves none held out, 1 none to train on.

    Any other fraction leaves at least one document on each side: where the hashes alone would not, the document
    with the lowest is held out, or the one with the highest trained on. Above `in_memory` tokens the streams are
    the files `cache/tokens-<fingerprint>-train.bin` and `-held-out.bin`, written on first use.

    Raises ValueError if the fraction is none, there is but one document to split, or, naming the file, a shard is
    damaged or holds an id outside its vocabulary.
    """
    shards = read_shards(directory)
    first, fingerprint = shards[0], fingerprint_of(shards, validation_fraction)
    below = _both_sides(shards, _limit(validation_fraction), directory)
    dtype = np.dtype("<u2" if first.vocab_size <= 65536 else "<u4")
    if sum(shard.tokens + shard.rows for shard in shards) <= in_memory:
        train, held_out = io.BytesIO(), io.BytesIO()
        _pack(shards, below, dtype, train, held_out)
        parts = [np.frombuffer(part.getvalue(), dtype) for part in (train, held_out)]
    else:
        names = [f"tokens-{fingerprint[:16]}-{part}.bin" for part in ("train", "held-out")]
        parts = _mapped([cache / name for name in names], shards, below, dtype)
    return Stream(parts[0], parts[1], first.vocab_size, first.end_of_text, first.tokenizer_hash, fingerprint)


def fingerprint_of(shards: list[Shard], validation_fraction: float) -> str:
    """What the streams of these shards have as their fingerprint, without packing them."""
    first, below = shards[0], _limit(validation_fraction)
    sources = [first.tokenizer_hash, str(first.end_of_text), str(below), *(shard.sha256 for shard in shards)]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def _limit(validation_fraction: float) -> int:
    """The number that hashes of held-out documents are less than."""
    if not 0 <= validation_fraction <= 1:
        raise ValueError(f"validation_fraction = {validation_fraction}: should be between 0 and 1")
    return math.ceil(validation_fraction * HASHES)


def held_out_lengths(directory: Path, validation_fraction: float) -> list[int]:
    """How many ids of `open_stream`'s `held_out_N` are each shard's, in the order of `read_shards`."""
    shards = read_shards(directory)
    below = _both_sides(shards, _limit(validation_fraction), directory)
    lengths = []
    for shard in shards:
        length = 0
        for batch in _record_batches(shard, ["id", "tokens"]):
            _, ends_M = _packed(batch.column("tokens"), shard)
            held_M = _held(batch, shard, below)
            length += int(np.diff(ends_M, prepend=0)[held_M].sum())
        lengths.append(length)
    return lengths


def id_hashes(ids_M: pa.StringArray) -> U64:
    """The hash of each id that decides whether its document is held out; see the top of this file."""
    fresh = hashlib.blake2b(digest_size=8, person=b"held-out")
    digests = []
    for text in ids_M.cast(pa.binary()).to_pylist():
        hasher = fresh.copy()  # a third quicker than one made anew
        hasher.update(text)
        digests.append(hasher.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _both_sides(shards: list[Shard], below: int, directory: Path) -> int:
    """The nearest number to `below` that has hashes of documents on both sides of it.

    That is `below` itself but for little data or a tiny fraction, and then known after a few documents.
    """
    if below in (0, HASHES):
        return below
    lowest, highest = HASHES, -1
    for shard in shards:
        for batch in _record_batches(shard, ["id"]):
            hashes_M = _checked_hashes(batch.column("id"), shard)
            lowest, highest = min(lowest, int(hashes_M.min())), max(highest, int(hashes_M.max()))
            if lowest < below <= highest:
                return below
    if lowest == highest:
        raise ValueError(
            f"{directory}: holds one document, which cannot be both trained on and held out; "
            "add documents or set validation_fraction = 0"
        )
    return min(max(below, lowest + 1), max(highest, 0))


def _held(batch: pa.RecordBatch, shard: Shard, below: int) -> Bool:
    """Which documents of the batch are held out."""
    if below in (0, HASHES):
        return np.full(batch.num_rows, below > 0)
    held_M: Bool = _checked_hashes(batch.column("id"), shard) < np.uint64(below)
    return held_M


def _checked_hashes(ids_M: pa.StringArray, shard: Shard) -> U64:
    if ids_M.null_count:
        raise ValueError(f"{shard.path}: holds a document without an id; write it with `corpus tokenize`")
    return id_hashes(ids_M)


def _mapped(paths: list[Path], shards: list[Shard], below: int, dtype: np.dtype[Any]) -> list[Array]:
    """The streams at `paths`, written first unless they are there in the right size."""
    total = sum(shard.tokens + shard.rows for shard in shards)
    if not all(path.exists() for path in paths) or sum(path.stat().st_size for path in paths) != total * dtype.itemsize:
        _write(paths, shards, below, dtype)
    # An empty file cannot be mapped.
    return [np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype) for path in paths]


def _write(paths: list[Path], shards: list[Shard], below: int, dtype: np.dtype[Any]) -> None:
    """Both files complete or not at all, whenever the machine stops and however many processes do it at once.

    Each process writes files of its own, and all of them write the same bytes. The first that is done removes
    what others have begun, who then find nothing left to rename: so nothing stays behind of any that were killed.
    `bpe.whole.whole` would take such a missing file for an error.
    """
    folder = paths[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    partials = [partial_path(path) for path in paths]
    try:
        with partials[0].open("wb") as train, partials[1].open("wb") as held_out:
            _pack(shards, below, dtype, train, held_out)
        for partial, path in zip(partials, paths, strict=True):
            with contextlib.suppress(FileNotFoundError):
                put_in_place(partial, path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    for path in paths:
        for begun in folder.glob(f".{path.name}.*.partial"):
            begun.unlink(missing_ok=True)


def _pack(shards: list[Shard], below: int, dtype: np.dtype[Any], train: IO[bytes], held_out: IO[bytes]) -> None:
    """Append every document with its end-of-text to `held_out` if its hash is less than `below`, else to `train`."""
    for shard in shards:
        tokens = 0
        for batch in _record_batches(shard, ["id", "tokens"]):
            packed_N, ends_M = _packed(batch.column("tokens"), shard)
            tokens += len(packed_N) - len(ends_M)
            packed_N = packed_N.astype(dtype, copy=False)
            held_M = _held(batch, shard, below)
            start = 0
            for last in [*np.flatnonzero(held_M[1:] != held_M[:-1]), len(ends_M) - 1]:  # of a run on one side
                end = int(ends_M[last])
                (held_out if held_M[last] else train).write(packed_N[start:end].data)
                start = end
        if tokens != shard.tokens:
            raise ValueError(f"{shard.path}: holds {tokens} tokens, its footer says {shard.tokens}; write it again")


def _record_batches(shard: Shard, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a shard, a few thousand at a time; pyarrow gives no batch without rows."""
    try:
        with pq.ParquetFile(shard.path) as file:
            yield from file.iter_batches(_READ, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{shard.path}: damaged shard ({str(error).splitlines()[0]}); write it again") from error


def _packed(documents: pa.ListArray, shard: Shard) -> tuple[Array, Int64]:
    """The documents with an end-of-text after each, and where each then ends."""
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
