"""DOCUMENTS -> SIGNATURES, a hash of the text and a MinHash signature for each; and texts -> sets of word n-grams.

There are two normalisations of a text (`corpus.text.fold` says what each character becomes). MinHash signatures are
made of word n-grams of the FOLD, which is FineWeb's: they find candidates. Decisions and reports use the Jaccard
similarity of sets of PLAIN word n-grams, which anybody can compute, because the words are `text.lower().split()`. Both
normalisations are tables from code point to code point: a text is folded into a buffer and hashed from there, and no
Python string is made.

A signature equals that of `datasketch.MinHash(num_perm=bands * rows, seed=seed, scheme="affine32")` updated with
`shingle_hashes(text)`; `to_datasketch` makes datasketch's object of a row.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bpe.texts import from_arrow
from corpus.dedup.config import Config
from corpus.dedup.kernels import sign as kernels
from corpus.schema import Outcome, dropped_rows
from corpus.stage import Stage
from corpus.text import fold
from corpus.text.kernels.blocks import LANES
from corpus.text.words import scratch_for

if TYPE_CHECKING:
    import datasketch


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """`sign` as the function of a stage; no document is dropped."""
    return Outcome(sign(batch, config), dropped_rows(batch, "signatures", {}))


def schema(config: Config) -> pa.Schema:
    """SIGNATURES for `config`: a row a document, in the documents' order.

    id            the document's id
    dump          its dump; null where it has none
    text_hash     a 128-bit hash of the text with ASCII letters in lower case, each run of ASCII white space as one
                  space, and none at the ends: texts of equal hash have equal PLAIN words
    signature     with `config.minhash`: the minima, num_perm little-endian uint32
    shingles      with `config.minhash`: number of folded word n-grams, repeats included; 0 for a text without words

    The metadata names everything that must be equal for two signatures to be compared.
    """
    fields = [("id", pa.string()), ("dump", pa.string()), ("text_hash", pa.binary(16))]
    scheme = f"signatures 3 unicode={fold.version()}"
    if config.minhash:
        fields += [("signature", pa.binary(4 * config.num_perm)), ("shingles", pa.int32())]
        scheme += f" minhash affine32 seed={config.seed} ngram={config.ngram} bands={config.bands} rows={config.rows}"
    return pa.schema(fields, metadata={"dedup": scheme})


def check(name: str, columns: pa.Schema, config: Config) -> None:
    """Raises ValueError naming the file if it was signed with other settings, or with other tables of characters."""
    expected = schema(config)
    for field in expected:
        if field.name not in columns.names or columns.field(field.name).type != field.type:
            raise ValueError(f"{name}: no column {field.name} of type {field.type}: sign it with this configuration")
    signed, wanted = (columns.metadata or {}).get(b"dedup", b"nothing"), expected.metadata[b"dedup"]
    if signed != wanted:
        raise ValueError(f"{name}: signed as {signed.decode()!r}, expected {wanted.decode()!r}: sign it again")


def sign(batch: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """SIGNATURES of a batch with string columns `id`, `text` and perhaps `dump`: as many rows, in the same order.

    A null text counts as an empty one. A text with fewer than `config.ngram` words is one n-gram of all its words; a
    text without words has no n-grams, and datasketch's signature of the empty set.
    """
    texts = from_arrow(batch.column("text"))
    scratch = scratch_for(texts)
    hashes = np.empty((batch.num_rows, 2), np.uint64)
    kernels.text_hashes(texts, scratch, hashes)
    columns = {"id": batch.column("id").cast(pa.string()), "text_hash": _fixed_binary(hashes, 16)}
    has_dumps = "dump" in batch.schema.names
    columns["dump"] = batch.column("dump").cast(pa.string()) if has_dumps else pa.nulls(batch.num_rows, pa.string())
    if config.minhash:
        signatures = np.empty((batch.num_rows, config.num_perm), np.uint32)
        counts = np.empty(batch.num_rows, np.int32)
        ngrams = np.empty(len(scratch.words), np.uint32)
        permutations = _whole_vectors(config.num_perm, config.seed)
        kernels.sign_texts(texts, fold.fold_table(), config.ngram, permutations, scratch, ngrams, signatures, counts)
        columns["signature"] = _fixed_binary(signatures, 4 * config.num_perm)
        columns["shingles"] = pa.array(counts)
    fields = schema(config)
    return pa.record_batch([columns[name] for name in fields.names], schema=fields)


def shingle_sets(texts: pa.Array, config: Config) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The sorted sets of 32-bit hashes of the texts' PLAIN word n-grams: (hashes uint32[...], offsets int64[n + 1]).

    Two different n-grams have one hash in one of 2^32 pairs. Of 4,000 pairs of texts with 1,000 n-grams each, one pair
    seems to have one n-gram more in common than it has.
    """
    values, ends = _ngram_hashes(texts, config.ngram, plain=True)
    for start, end in itertools.pairwise(ends.tolist()):
        values[start:end].sort()  # NumPy sorts with vector instructions
    offsets = np.empty_like(ends)
    kernels.unique_sorted(values, ends, offsets)
    return values[: offsets[-1]], offsets


def shingle_hashes(text: str, config: Config) -> NDArray[np.uint32]:
    """32-bit hashes of the text's folded word n-grams in order, repeats included: uint32[n].

    `datasketch.MinHash(..., hashfunc=lambda hash: int(hash)).update_batch(...)` makes the signature of `sign` of them.
    """
    return _ngram_hashes(pa.array([text], pa.large_string()), config.ngram, plain=False)[0]


def to_datasketch(row: Mapping[str, Any], config: Config) -> datasketch.LeanMinHash:
    """A row of SIGNATURES (`table.to_pylist()[i]`) as datasketch's object, to compare it or to query an LSH index."""
    from datasketch import LeanMinHash

    return LeanMinHash(seed=config.seed, hashvalues=np.frombuffer(row["signature"], np.dtype("<u4")), scheme="affine32")


@functools.cache
def permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """datasketch's affine32 parameters: (a, b), uint32[num_perm] each; a is odd, so that x -> a x + b is a bijection.

    They are drawn as datasketch 2.0 draws them, but without importing it: it imports SciPy, which takes longer than
    50,000 signatures.
    """
    draw = np.random.RandomState(seed).randint
    a = draw(0, 2**31, num_perm, np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw(0, 2**32, num_perm, np.uint32)


def _whole_vectors(num_perm: int, seed: int) -> kernels.Permutations:
    """`permutations`, filled up with zeros to whole vectors, and room for the minima."""
    a, b = permutations(num_perm, seed)
    filled = np.zeros((3, -(-num_perm // LANES) * LANES), np.uint32)
    filled[:2, :num_perm] = a, b
    return kernels.Permutations(*filled)


def _ngram_hashes(texts: pa.Array, ngram: int, *, plain: bool) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """32-bit hashes of each text's n-grams in order: (hashes uint32[...], offsets int64[n + 1])."""
    utf8 = from_arrow(texts)
    count = len(utf8.offsets)
    hashes, ends = np.empty(utf8.size // 2 + count, np.uint32), np.empty(count, np.int64)
    table = fold.plain_table() if plain else fold.fold_table()
    kernels.ngram_hashes(utf8, plain, table, ngram, scratch_for(utf8), hashes, ends)
    return hashes[: ends[-1]], ends


def _fixed_binary(rows: NDArray[Any], width: int) -> pa.Array:
    """The rows of a contiguous little-endian array as `fixed_size_binary(width)`, without a copy."""
    return pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def count_kept(batch: pa.RecordBatch, config: Config) -> dict[str, int]:
    """Sums over a batch of SIGNATURES: folded n-grams, and documents without words."""
    if not config.minhash:
        return {}
    counts = batch.column("shingles")
    return {"shingles": pc.sum(counts).as_py() or 0, "wordless": pc.sum(pc.equal(counts, 0)).as_py() or 0}


STAGE = Stage("signatures", Config, process, schema=schema, count_kept=count_kept)
