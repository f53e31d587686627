"""DOCUMENTS -> SIGNATURES: a 128-bit hash of the exact text, a MinHash signature and its band keys.

The text is normalised as FineWeb does before shingling (datatrove 0.10.1, `simplify_text`): lower case; a
number, with one decimal part, becomes 0; punctuation becomes space; canonical decomposition without its
marks (category Mn); words are what white space separates. All of this is a table from code point to code
point, so one pass over the UTF-8 bytes of the Arrow buffer hashes words as it goes and no normalised text
is ever built. It differs from a whole-string normalisation in two corners: final sigma is folded to sigma,
and marks other than Mn stay in the order in which they were written. Scripts without spaces make one word
of a clause.

Signatures are those of `datasketch.MinHash(num_perm=bands * rows, seed=seed, scheme="affine32")` fed with
`shingle_hashes(text)`; the permutations are taken from datasketch itself, and `to_datasketch` hands a row
back to it.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.dedup.config import Config
from corpus.dedup.kernels import sign as kernels
from corpus.schema import Outcome, dropped_rows

if TYPE_CHECKING:
    import datasketch

# Characters that become a space, besides the control characters 0-31 and 127-159 (datatrove 0.10.1,
# PUNCTUATION).
PUNCTUATION = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
# Between the whole and the decimal part of a number (datatrove 0.10.1, NUMBERS_PATTERN).
DECIMAL_POINTS = ".,،٫⎖⎗⎘"

_CODE_POINTS = 0x110000


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """`sign` in the shape of a stage; no document is dropped here."""
    return Outcome(sign(batch, config), dropped_rows(batch, "signatures", {}))


def schema(config: Config) -> pa.Schema:
    """SIGNATURES for `config`: a row a document, in the documents' order.

    id            the document's id
    dump          its dump; null where it has none
    text_hash     128 bits of the text with ASCII letters in lower case and white space as one space
    signature     with `config.minhash`: num_perm little-endian uint32, the minima
    shingles      with `config.minhash`: folded word n-grams, repeats included; 0 where the text has no words

    The metadata names everything that must be equal for two signatures to be comparable.
    """
    fields = [("id", pa.string()), ("dump", pa.string()), ("text_hash", pa.binary(16))]
    scheme = f"text 1 fold={fold_version()}"
    if config.minhash:
        fields += [("signature", pa.binary(4 * config.num_perm)), ("shingles", pa.int32())]
        scheme += f" minhash affine32 seed={config.seed} ngram={config.ngram} bands={config.bands} rows={config.rows}"
    return pa.schema(fields, metadata={"dedup": scheme})


def check(name: str, schema: pa.Schema, config: Config) -> None:
    """Raises ValueError naming the file if it was not signed with `config`, or with other tables of characters."""
    expected = globals()["schema"](config)
    for field in expected:
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise ValueError(f"{name}: no column {field.name} of type {field.type}: sign it with this configuration")
    signed, wanted = (schema.metadata or {}).get(b"dedup", b"nothing"), expected.metadata[b"dedup"]
    if signed != wanted:
        raise ValueError(f"{name}: signed as {signed.decode()!r}, expected {wanted.decode()!r}: sign it again")


def sign(batch: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """SIGNATURES of a batch with string columns `id`, `text` and perhaps `dump`: as many rows, in the same order.

    A null text counts as an empty one. A text with fewer than `config.ngram` words is one n-gram of all of them; one
    without words has 0 and datasketch's signature of the empty set.
    """
    text = batch.column("text")
    if text.null_count:
        text = text.fill_null("")
    data, offsets = _string_buffers(text)
    fields = schema(config)
    columns = {"id": batch.column("id").cast(pa.string()), "text_hash": _fixed_binary(_text_hashes(data, offsets), 16)}
    named = "dump" in batch.schema.names
    columns["dump"] = batch.column("dump").cast(pa.string()) if named else pa.nulls(len(text), pa.string())
    if config.minhash:
        signatures = np.empty((len(text), config.num_perm), np.uint32)
        counts = np.empty(len(text), np.int32)
        fold, expansions = fold_table()
        a, b = permutations(config.num_perm, config.seed)
        kernels.sign_texts(data, offsets, fold, expansions, _points(), config.ngram, a, b, signatures, counts)
        columns["signature"] = _fixed_binary(signatures, 4 * config.num_perm)
        columns["shingles"] = pa.array(counts)
    return pa.record_batch([columns[name] for name in fields.names], schema=fields)


def shingle_sets(texts: pa.Array, config: Config) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """(values, offsets[n + 1]): the sorted set of 32-bit hashes of each text's plain word n-grams."""
    sets = []
    for text in texts.to_pylist():
        split = (text or "").lower().split()
        words = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) for word in split]
        hashes = np.empty(len(words), np.uint32)
        found = kernels.shingle_hashes(np.array(words, np.uint64), len(words), config.ngram, hashes)
        sets.append(np.unique(hashes[:found]))
    offsets = np.cumsum([0, *(len(values) for values in sets)], dtype=np.int64)
    return np.concatenate([np.empty(0, np.uint32), *sets]), offsets


def shingle_hashes(text: str, config: Config) -> NDArray[np.uint32]:
    """32-bit hashes of the text's word n-grams in order, repeats included: what a MinHash is updated with.

    `datasketch.MinHash(..., hashfunc=lambda hash: int(hash)).update_batch(...)` makes `sign`'s signature of
    them.
    """
    data = np.frombuffer(text.encode(), np.uint8)
    words = np.empty(data.size // 2 + 1, np.uint64)
    hashes = np.empty(words.size, np.uint32)
    fold, expansions = fold_table()
    found = kernels.word_hashes(data, 0, data.size, fold, expansions, _points(), words)
    return hashes[: kernels.shingle_hashes(words, found, config.ngram, hashes)]


def to_datasketch(row: Mapping[str, Any], config: Config) -> datasketch.LeanMinHash:
    """A SIGNATURES row (`table.to_pylist()[i]`) as a datasketch sketch, to compare or to query an LSH index
    with.
    """
    from datasketch import LeanMinHash

    return LeanMinHash(seed=config.seed, hashvalues=np.frombuffer(row["signature"], np.dtype("<u4")), scheme="affine32")


@functools.cache
def permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """datasketch's affine32 parameters: (a, b), uint32[num_perm] each."""
    from datasketch import MinHash

    a, b = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    return np.ascontiguousarray(a), np.ascontiguousarray(b)


@functools.cache
def fold_table() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(fold, expansions): what each code point becomes, as `kernels.word_hashes` reads it.

    fold: int32[0x110000], a code point or one of kernels' classes; expansions: int32[n, 5], length and code
    points of the few that become several (Hangul syllables above all). Code points that this leaves alone
    are filled in without a look: unassigned planes, private use, the unified ideographs.
    """
    fold = np.arange(_CODE_POINTS, dtype=np.int32)
    expansions: list[list[int]] = []
    for start, stop in (
        (0, 0x3400),
        (0xA000, 0xD800),
        (0xF900, 0x20000),
        (0x2F800, 0x2FA20),
        (0xE0000, 0xE0200),
    ):
        for code in range(start, stop):
            fold[code] = _folded(chr(code), expansions)
    return fold, np.array(expansions, np.int32)


def _folded(character: str, expansions: list[list[int]]) -> int:
    lower = "σ" if character == "ς" else character.lower()
    if lower.isdecimal():  # before punctuation, whose list has a fullwidth 1
        return kernels.NUMBER
    if lower in PUNCTUATION or lower.isspace() or unicodedata.category(lower[0]) == "Cc":
        return kernels.SEPARATOR
    parts = [ord(c) for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) != "Mn"]
    if len(parts) == 0:
        return kernels.MARK
    if len(parts) == 1:
        return parts[0]
    expansions.append([len(parts), *parts, *[0] * (4 - len(parts))])
    return kernels.EXPAND - (len(expansions) - 1)


@functools.cache
def fold_version() -> str:
    """A hash of the tables of characters."""
    return hashlib.blake2b(b"".join(table.tobytes() for table in fold_table()), digest_size=8).hexdigest()


@functools.cache
def _points() -> NDArray[np.int64]:
    return np.array([ord(c) for c in DECIMAL_POINTS], np.int64)


def _string_buffers(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(bytes, offsets[n + 1]) of a string column without nulls; the bytes are Arrow's own, read-only."""
    column = column.cast(pa.large_string()) if column.type != pa.large_string() else column
    _, offsets, data = column.buffers()
    first, last = column.offset, column.offset + len(column) + 1
    ends = np.zeros(1, np.int64) if not len(column) else np.frombuffer(offsets, np.int64)[first:last]
    return np.frombuffer(data if data is not None else b"", np.uint8), ends


def _text_hashes(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """First half of the SHA-256 of each text's bytes: uint8[n, 16]."""
    view, ends = data.data, offsets.tolist()
    digests = [hashlib.sha256(view[start:end]).digest()[:16] for start, end in itertools.pairwise(ends)]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16)


def _fixed_binary(rows: NDArray[Any], width: int) -> pa.Array:
    """The rows of a contiguous little-endian array as `fixed_size_binary(width)`, without a copy."""
    return pa.Array.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])
