"""Text to token ids and back.

    encoder = Encoder(load_vocabulary("cl100k_base.tiktoken"))
    offsets, ids = encoder.encode_batch(table["text"])      # Arrow in, two flat arrays out
    ids[offsets[i] : offsets[i + 1]]                        # of text i

Ids are those of tiktoken's `encode_ordinary`: a special token's name in a text is ordinary text, so that no page can
smuggle an end of text into a corpus; whoever packs documents appends the id itself.

The work is done by `encode_texts` without the GIL. Each call in flight has its own scratch memory, so one Encoder may
serve many threads.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.kernels import encode as kernels
from bpe.kernels.split import next_ends
from bpe.patterns import scheme
from bpe.texts import Utf8, batches, from_bytes, utf8
from bpe.unicode import class_table
from bpe.vocabulary import Vocabulary, load_vocabulary

# Texts are encoded in runs of this many bytes: bounds the output buffer, 4 bytes an id, at most one id a byte.
RUN_BYTES = 16 << 20
# Cached pretokens, 32 bytes each: 8 MiB a thread. On English news 2**14, 2**16, 2**18 give 70, 76, 98 MB/s.
CACHE_ENTRIES = 1 << 18


class Scratch(NamedTuple):
    """What one call writes besides its output."""

    cache: NDArray[np.int64]
    ranks: NDArray[np.uint32]


class Encoder:
    """Encodes with one vocabulary. Raises ValueError for a vocabulary of more than 2,097,152 ids."""

    def __init__(self, vocabulary: Vocabulary, cache_entries: int = CACHE_ENTRIES) -> None:
        if cache_entries < 1 or cache_entries & (cache_entries - 1):
            raise ValueError(f"cache_entries = {cache_entries}: should be a power of two")
        self.vocabulary = vocabulary
        self._cache_entries = cache_entries
        self._arrays, self._tables = _tables(vocabulary)
        self._idle: list[Scratch] = []  # list.pop and list.append are atomic

    def __reduce__(self) -> tuple[Any, ...]:
        return Encoder, (self.vocabulary, self._cache_entries)

    def encode(self, text: str) -> NDArray[np.uint32]:
        """Ids of `text`; a lone surrogate counts as U+FFFD."""
        _, ids = self._encode(from_bytes([utf8(text)]))
        return ids

    def encode_batch(
        self, texts: pa.Array | pa.ChunkedArray | Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """(offsets, ids): the ids of text i are `ids[offsets[i] : offsets[i + 1]]`; a null is an empty text.

        Raises ValueError for an Arrow array that does not hold strings.
        """
        arrays: Iterable[Any] = [texts] if isinstance(texts, pa.Array | pa.ChunkedArray) else texts
        encoded = [self._encode(run) for run in batches(arrays, RUN_BYTES)]
        if len(encoded) == 1:
            return encoded[0]
        before = itertools.accumulate((len(ids) for _, ids in encoded), initial=0)
        offsets = [np.zeros(1, np.int64)]
        offsets += [bounds[1:] + start for start, (bounds, _) in zip(before, encoded, strict=False)]
        all_ids = [np.empty(0, np.uint32), *(ids for _, ids in encoded)]
        return np.concatenate(offsets), np.concatenate(all_ids)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`. Raises ValueError for an id that is no token."""
        return self.vocabulary.decode(ids.tolist() if isinstance(ids, np.ndarray) else ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 (half a character, say) become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def _encode(self, texts: Utf8) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        out = np.empty(texts.size + kernels.CACHED_IDS, np.uint32)
        out_offsets = np.empty(len(texts.offsets), np.int64)
        scratch = self._take_scratch()
        tables = self._tables._replace(
            cache=scratch.cache.ctypes.data,
            cache_mask=self._cache_entries - 1,
            ranks=scratch.ranks.ctypes.data,
        )
        start = texts.content.ctypes.data
        count = kernels.encode_texts(
            start, start + len(texts.content), texts.offsets, tables, out.ctypes.data, out_offsets
        )
        self._idle.append(scratch)
        out.resize(count, refcheck=False)  # gives the memory back in place, without a copy
        return out_offsets, out

    def _take_scratch(self) -> Scratch:
        try:
            return self._idle.pop()
        except IndexError:
            words = self._cache_entries * kernels.ENTRY_BYTES // 8
            return Scratch(np.zeros(words, np.int64), np.empty(kernels.SHORT, np.uint32))


def split(text: str, pattern: str) -> list[bytes]:
    """The pretokens of `text` under a split rule: what BPE never merges across. Raises ValueError for its name."""
    return list(_split(utf8(text), pattern))


def _split(content: bytes, pattern: str) -> Iterator[bytes]:
    data, ends, classes = np.frombuffer(content, np.uint8), np.empty(len(content), np.int64), class_table()
    start = data.ctypes.data
    count = next_ends(scheme(pattern), start, start + len(data), classes.ctypes.data, ends.ctypes.data, len(ends))
    for first, last in itertools.pairwise([0, *(ends[:count] - start).tolist()]):
        yield content[first:last]


def _tables(vocabulary: Vocabulary) -> tuple[list[NDArray[Any]], kernels.Tables]:
    """The lookup tables of a vocabulary, and the arrays that they point into (to be kept alive)."""
    tokens = vocabulary.tokens
    if len(tokens) > 1 << kernels.ID_BITS:
        raise ValueError(f"the vocabulary has {len(tokens)} tokens: at most {1 << kernels.ID_BITS} can be encoded")
    blob = from_bytes(list(tokens))
    lengths = np.diff(blob.offsets).astype(np.uint32)
    slots = np.zeros(_power_of_two(2 * len(tokens)), np.uint32)
    byte_ids, byte_pairs = np.zeros(256, np.uint32), np.zeros(65536, np.uint32)
    for token_id, token in enumerate(tokens):
        if len(token) == 1:
            byte_ids[token[0]] = token_id
    arrays: list[NDArray[Any]] = [class_table(), blob.content, blob.offsets, lengths, slots, byte_ids, byte_pairs]
    tables = kernels.Tables(
        scheme=scheme(vocabulary.pattern),
        classes=arrays[0].ctypes.data,
        blob=blob.content.ctypes.data,
        blob_end=blob.content.ctypes.data + len(blob.content),
        starts=blob.offsets.ctypes.data,
        lengths=lengths.ctypes.data,
        slots=slots.ctypes.data,
        slots_mask=len(slots) - 1,
        byte_ids=byte_ids.ctypes.data,
        byte_pairs=byte_pairs.ctypes.data,
        pairs=0,
        pairs_mask=0,
        cache=0,
        cache_mask=0,
        ranks=0,
    )
    kernels.index_tokens(tables, len(tokens))
    entries = np.empty(len(blob.content), np.int64)
    entries = entries[: kernels.list_pairs(tables, len(tokens), entries)]
    pairs = np.full(_power_of_two(2 * len(entries)), kernels.EMPTY, np.int64)
    tables = tables._replace(pairs=pairs.ctypes.data, pairs_mask=len(pairs) - 1)
    kernels.index_pairs(tables, entries)
    return [*arrays, pairs], tables


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 1).bit_length()


@functools.lru_cache(maxsize=2)
def load_encoder(path: str) -> Encoder:
    """The encoder for the vocabulary at `path`, made once in a process."""
    return Encoder(load_vocabulary(path))
