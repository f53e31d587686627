"""Text to token ids and back.

    encoder = Encoder(load_vocabulary("cl100k_base.tiktoken"))
    offsets, ids = encoder.encode_batch(table["text"])      # Arrow in, two flat arrays out
    ids[offsets[i] : offsets[i + 1]]                        # of text i

Ids are those of tiktoken's `encode_ordinary`. The name of a special token in a text is ordinary text, so that no page
can put an end of text into a corpus; the code that packs documents appends that id.

The kernel `encode_texts` does the work without the GIL. Every call in flight has scratch memory of its own, so many
threads may share one Encoder.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.files import load_vocabulary
from bpe.kernels import encode as kernels
from bpe.kernels import words
from bpe.kernels.memory import LANES
from bpe.kernels.scan import BY_REGEX
from bpe.kernels.split import next_ends
from bpe.kernels.tables import EMPTY, ID_BITS, Tables, index_pairs, index_tokens, list_pairs
from bpe.patterns import is_named, scheme
from bpe.regex_split import regex_table
from bpe.texts import Utf8, batches, from_bytes, utf8
from bpe.unicode import class_table
from bpe.vocabulary import Vocabulary

# Texts are encoded in runs of this many bytes. The output buffer of a run has room for an id a byte; the operating
# system provides only the pages that are written to, about a quarter of it.
RUN_BYTES = 16 << 20
THREAD_RUN_BYTES = 1 << 20  # of a run when several threads encode
# Entries of the first cache, of 32 bytes each; the second has one of 128 bytes for every LONG_SHARE of these. So the
# caches take 36 MiB a thread at most. They start with FIRST_ENTRIES and grow to one entry for every 8 bytes encoded,
# so that a short text does not pay for the memory of a long one.
CACHE_ENTRIES = 1 << 20
FIRST_ENTRIES = 1 << 12
LONG_SHARE = 32
CLASSES = Tables._fields.index("classes")


class Scratch(NamedTuple):
    """The memory that one call in flight writes to besides its output."""

    tables: NDArray[np.int64]  # the numbers of a `Tables` with the addresses of `arrays`
    arrays: list[NDArray[Any]]
    entries: int  # of the first cache
    seen: list[int]  # one number: how many bytes were encoded with this cache


class Encoder:
    """Encodes with one vocabulary, to uint16 where all ids fit, else uint32 (`dtype`).

    Raises ValueError for a vocabulary of more than 2,097,152 ids or merges.
    """

    def __init__(self, vocabulary: Vocabulary, cache_entries: int = CACHE_ENTRIES) -> None:
        if cache_entries < 2 * LONG_SHARE or cache_entries & (cache_entries - 1):  # entries lie in twos
            raise ValueError(f"cache_entries = {cache_entries}: should be a power of two, at least {2 * LONG_SHARE}")
        self.vocabulary = vocabulary
        self.dtype: Any = np.dtype(np.uint16 if vocabulary.size <= 1 << 16 else np.uint32)
        self._cache_entries = cache_entries
        self._arrays, self._tables = _tables(vocabulary, self.dtype.itemsize)
        self._idle: list[Scratch] = []  # list.pop and list.append are atomic

    def __reduce__(self) -> tuple[Any, ...]:
        return Encoder, (self.vocabulary, self._cache_entries)

    def encode(self, text: str) -> NDArray[Any]:
        """Ids of `text`; a lone surrogate counts as U+FFFD."""
        _, ids = self._encode(from_bytes([utf8(text)]))
        return ids

    def encode_batch(
        self, texts: pa.Array | pa.ChunkedArray | Sequence[str], threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(offsets, ids): the ids of text i are `ids[offsets[i] : offsets[i + 1]]`. A null counts as an empty text.

        Raises TypeError for an Arrow array that does not hold strings, and for a single string.
        """
        if isinstance(texts, str):
            raise TypeError("texts is of type str: pass a list of strings, or call encode")
        arrays: Iterable[Any] = [texts] if isinstance(texts, pa.Array | pa.ChunkedArray) else texts
        if threads == 1:
            encoded = [self._encode(run) for run in batches(arrays, RUN_BYTES)]
        else:
            with ThreadPoolExecutor(threads) as pool:
                encoded = list(pool.map(self._encode, batches(arrays, THREAD_RUN_BYTES)))
        if len(encoded) == 1:
            return encoded[0]
        before = itertools.accumulate((len(ids) for _, ids in encoded), initial=0)
        offsets = [np.zeros(1, np.int64)]
        offsets += [bounds[1:] + start for start, (bounds, _) in zip(before, encoded, strict=False)]
        all_ids = [np.empty(0, self.dtype), *(ids for _, ids in encoded)]
        return np.concatenate(offsets), np.concatenate(all_ids)

    def encode_arrow(self, texts: pa.Array | pa.ChunkedArray, threads: int = 1) -> pa.Array:
        """A list of ids for each text, null for a null: list<uint16> or list<uint32>, large_list above 2**31 ids.

        Raises TypeError for an array that does not hold strings.
        """
        offsets, ids = self.encode_batch(texts, threads)
        nulls = texts.is_null() if texts.null_count else None
        if isinstance(nulls, pa.ChunkedArray):
            nulls = nulls.combine_chunks()
        if offsets[-1] < 1 << 31:
            return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(ids), mask=nulls)
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(ids), mask=nulls)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`. Raises ValueError for an id that is no token."""
        return self.vocabulary.decode(ids.tolist() if isinstance(ids, np.ndarray) else ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Bytes that are not UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def clear(self) -> None:
        """Empty the caches, as in a new Encoder."""
        self._idle.clear()

    def _encode(self, texts: Utf8) -> tuple[NDArray[np.int64], NDArray[Any]]:
        out = np.empty(texts.size + kernels.LONG_LINE_BYTES, self.dtype)
        out_offsets = np.empty(len(texts.offsets), np.int64)
        scratch = self._take_scratch(texts.size)
        if not is_named(self.vocabulary.pattern):
            ends = regex_table(self.vocabulary.pattern, texts)
            scratch.tables[CLASSES] = ends.ctypes.data
        start = texts.content.ctypes.data
        count = kernels.encode_texts(
            scratch.tables.ctypes.data,
            start,
            start + len(texts.content),
            texts.offsets.ctypes.data,
            len(texts.offsets) - 1,
            out.ctypes.data,
            out_offsets.ctypes.data,
        )
        self._idle.append(scratch)
        out.resize(count, refcheck=False)  # frees the rest without a copy
        return out_offsets, out

    def _take_scratch(self, size: int) -> Scratch:
        """Scratch memory for `size` more bytes. Caches that are too small for the bytes so far are replaced, empty."""
        scratch: Scratch | None = None
        with suppress(IndexError):
            scratch = self._idle.pop()
            size += scratch.seen[0]
        wanted = min(max(_power_of_two(size // 8), FIRST_ENTRIES), self._cache_entries)
        if scratch is None or wanted > 2 * scratch.entries or (scratch.entries < wanted == self._cache_entries):
            scratch = self._new_scratch(wanted)
        scratch.seen[0] = size
        return scratch

    def _new_scratch(self, entries: int) -> Scratch:
        cache = _lines(entries * kernels.LINE_BYTES // 2)
        long_cache = _lines(entries // LONG_SHARE * kernels.LONG_LINE_BYTES)
        work = np.empty(32 * kernels.BATCH, np.uint8)
        merging = _room_to_merge()
        tables = self._tables._replace(
            cache=cache.ctypes.data,
            cache_mask=entries // 2 - 1,
            long_cache=long_cache.ctypes.data,
            long_cache_mask=entries // LONG_SHARE - 1,
            work=work.ctypes.data,
            **_addresses(merging),
        )
        scratch = Scratch(np.array(tables, np.int64), [cache, long_cache, work, *merging.values()], entries, [0])
        kernels.seed(scratch.tables.ctypes.data, min(len(self.vocabulary.tokens), entries))
        return scratch


def split(text: str, pattern: str) -> list[bytes]:
    """The pretokens of `text` by the named split rule `pattern`. Raises ValueError for an unknown name."""
    return split_bytes(utf8(text), pattern)


def split_bytes(content: bytes, pattern: str) -> list[bytes]:
    """As `split`, for bytes that need not be valid UTF-8."""
    data, ends, classes = np.frombuffer(content, np.uint8), np.empty(len(content), np.int64), class_table()
    start = data.ctypes.data
    count = next_ends(scheme(pattern), start, start + len(data), classes.ctypes.data, ends.ctypes.data, len(ends))
    bounds = [0, *(ends[:count] - start).tolist()]
    return [content[first:last] for first, last in itertools.pairwise(bounds)]


def _tables(vocabulary: Vocabulary, id_bytes: int) -> tuple[list[NDArray[Any]], Tables]:
    """(arrays, tables) of a vocabulary. The tables hold addresses of the arrays, which have to be kept alive."""
    tokens = vocabulary.tokens
    if max(len(tokens), len(vocabulary.merges or ())) > 1 << ID_BITS:
        raise ValueError(f"the vocabulary has more than {1 << ID_BITS:,} tokens or merges: too many to encode")
    blob = from_bytes(list(tokens))
    lengths = np.diff(blob.offsets).astype(np.uint32)
    slots = np.zeros(_power_of_two(2 * len(tokens)), np.uint32)
    byte_ids, byte_pairs = np.zeros(256, np.uint32), np.zeros(65536, np.uint32)
    for token_id, token in enumerate(tokens):
        if len(token) == 1:
            byte_ids[token[0]] = token_id
    classes = class_table() if is_named(vocabulary.pattern) else np.empty(0, np.uint8)
    arrays: list[NDArray[Any]] = [classes, blob.content, blob.offsets, lengths, slots, byte_ids, byte_pairs]
    tables = Tables(*[0] * len(Tables._fields))._replace(
        scheme=scheme(vocabulary.pattern) if is_named(vocabulary.pattern) else BY_REGEX,
        classes=classes.ctypes.data,
        blob=blob.content.ctypes.data,
        blob_end=blob.content.ctypes.data + len(blob.content),
        starts=blob.offsets.ctypes.data,
        lengths=lengths.ctypes.data,
        slots=slots.ctypes.data,
        slots_mask=len(slots) - 1,
        whole=int(vocabulary.merges is None or vocabulary.ignore_merges),
        unreached=1,  # unknown so far: every pretoken is looked up as a token
        byte_ids=byte_ids.ctypes.data,
        byte_pairs=byte_pairs.ctypes.data,
        id_shift=id_bytes.bit_length() - 1,
    )
    numbers = np.array(tables, np.int64)
    index_tokens(numbers.ctypes.data, len(tokens))
    if vocabulary.merges is None:
        entries = np.empty(len(blob.content), np.int64)
        entries = entries[: list_pairs(numbers.ctypes.data, len(tokens), entries)]
    else:
        entries, made = _listed(vocabulary)
        arrays.append(made)
        tables = tables._replace(made=made.ctypes.data)
    pair_arrays, tables = _index(entries, tables)
    if vocabulary.merges is None:
        merging = _room_to_merge()
        numbers = np.array(tables._replace(**_addresses(merging)), np.int64)
        entries = entries[: words.last_pairs(numbers.ctypes.data, len(tokens), entries)]
        longer = int(np.count_nonzero(lengths > 1))
        pair_arrays, tables = _index(entries, tables._replace(unreached=longer - len(entries)))
    return arrays + pair_arrays, tables


def _lines(size: int) -> NDArray[np.uint8]:
    """`size` bytes of zeros at the start of a line of the processor's cache: a third faster than anywhere else."""
    room = np.zeros(size + kernels.LINE_BYTES, np.uint8)
    start = -room.ctypes.data % kernels.LINE_BYTES
    return room[start : start + size]


def _room_to_merge() -> dict[str, NDArray[Any]]:
    """Scratch memory for merging, by the names of its fields in `Tables`."""
    numbers = np.empty((5, words.MIDDLING), np.uint32)
    return {
        "ids": numbers[0],
        "parts": numbers[1],
        "ranks": numbers[2],
        "links": numbers[3:],
        "lows": np.empty(words.MIDDLING // LANES, np.uint32),
        "seams": np.zeros(words.SEAMS, np.int64),
    }


def _addresses(arrays: dict[str, NDArray[Any]]) -> dict[str, int]:
    return {name: array.ctypes.data for name, array in arrays.items()}


def _listed(vocabulary: Vocabulary) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(entries (left, right, rank) for `index_pairs`, the token that the merge of each rank makes) of listed merges."""
    tokens, listed = vocabulary.tokens, vocabulary.merges or ()
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    merges = np.array(listed, np.int64).reshape(-1, 2)
    made = [ids[tokens[left] + tokens[right]] for left, right in listed]
    shifted = (merges[:, 0] << ID_BITS | merges[:, 1]) << ID_BITS
    return shifted | np.arange(len(merges)), np.array(made, np.uint32)


def _index(entries: NDArray[np.int64], tables: Tables) -> tuple[list[NDArray[Any]], Tables]:
    """(arrays, tables): `tables` with hash tables of the pairs in `entries`."""
    pairs = np.full(_power_of_two(2 * len(entries)), EMPTY, np.int64)
    sieve = np.zeros(min(_power_of_two(8 * len(entries)), 1 << 20) // 8, np.uint8)
    tables = tables._replace(
        pairs=pairs.ctypes.data,
        pairs_mask=len(pairs) - 1,
        sieve=sieve.ctypes.data,
        sieve_mask=8 * len(sieve) - 1,
    )
    numbers = np.array(tables, np.int64)
    index_pairs(numbers.ctypes.data, entries)
    return [pairs, sieve], tables


def _power_of_two(least: int) -> int:
    """The power of two from 16 on that is at least `least`."""
    return 1 << max(least - 1, 15).bit_length()


@functools.lru_cache(maxsize=2)
def load_encoder(path: str) -> Encoder:
    """The encoder for the vocabulary at `path`; a process makes it once."""
    return Encoder(load_vocabulary(path))
