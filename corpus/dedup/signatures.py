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

from corpus.dedup.config import Config, signatures_schema
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
    """SIGNATURES for `config`."""
    return signatures_schema(config)


def sign(batch: pa.RecordBatch, config: Config) -> pa.RecordBatch:
    """SIGNATURES of a batch with string columns `id` and `text`: as many rows, in the same order.

    A null text counts as an empty one. A text with fewer than `config.shingle` words is one shingle of all
    of them; one without words has 0 shingles and datasketch's signature of the empty set.
    """
    text = batch.column("text")
    if text.null_count:
        text = text.fill_null("")
    data, offsets = _string_buffers(text)
    signatures = np.empty((len(text), config.num_perm), np.uint32)
    keys = np.empty((len(text), config.bands), np.uint64)
    counts = np.empty(len(text), np.int32)
    fold, expansions = fold_table()
    a, b = permutations(config.num_perm, config.seed)
    kernels.sign_texts(
        data,
        offsets,
        fold,
        expansions,
        _points(),
        config.shingle,
        config.rows,
        a,
        b,
        signatures,
        keys,
        counts,
    )
    fields = signatures_schema(config)
    columns = [
        batch.column("id"),
        _fixed_binary(_text_hashes(data, offsets), 16),
        pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), type=fields.field("bands").type),
        _fixed_binary(signatures, 4 * config.num_perm),
        pa.array(counts),
    ]
    return pa.record_batch(columns, schema=fields)


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
    return hashes[: kernels.shingle_hashes(words, found, config.shingle, hashes)]


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
