"""Learn a vocabulary from text: byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909).

First the different pretokens are counted, in one pass; memory grows with their number and not with the text. Then
the most frequent pair of neighbouring tokens becomes a token, again and again. The result depends on the texts alone,
not on their order or on how they are batched, by these rules:

- Ids 0..255 are the bytes in GPT-2's order: the printable ones first (`BYTE_ORDER`). Merges follow in the order in
  which they are made, special tokens come last.
- A pair counts once for each place where it stands, overlapping places included: twice in "aaa".
- Of pairs equally frequent, the one with the smaller (left id, right id) goes first. With the byte order above this
  is the rule of Hugging Face's trainer, whose merges it reproduces.
- Merging goes from left to right: "aaa" becomes (aa, a).
- A pair whose bytes are a token already, made of other parts, is merged into that token and takes no new id.

The last pairs may stand in one place only; when none is left, the vocabulary ends up smaller than asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.kernels import count, merge
from bpe.patterns import scheme
from bpe.texts import Utf8, batches
from bpe.unicode import class_table
from bpe.vocabulary import BYTE_ORDER, END_OF_TEXT, Vocabulary

RUN_BYTES = 4 << 20
MERGES_PER_CALL = 256  # how often progress is told and Ctrl-C heard

Progress = Callable[[str, int, int | None], None]  # ("counting", bytes, None) or ("merging", tokens, wanted)


class Pretokens(NamedTuple):
    """Different pretokens: number i is `content[starts[i] : starts[i + 1]]` (uint8), seen `counts[i]` times."""

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


def train(
    texts: Iterable[str] | Iterable[pa.Array],
    vocab_size: int,
    pattern: str = "cl100k",
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    progress: Progress | None = None,
) -> Vocabulary:
    """A vocabulary of `vocab_size` ids, the 256 bytes and the special tokens included, or of fewer if pairs run out.

    Raises ValueError for texts without any, a size below 256 and the special tokens, an unknown pattern, and special
    tokens that are empty or named twice.
    """
    scheme(pattern)
    if len(set(special_tokens)) != len(special_tokens) or "" in special_tokens:
        raise ValueError(f"special_tokens = {list(special_tokens)}: name each once, none of them empty")
    wanted = vocab_size - len(special_tokens)
    if wanted < 256:
        least = 256 + len(special_tokens)
        raise ValueError(f"vocab_size = {vocab_size}: at least {least} for the bytes and special tokens")
    pretokens = count_pretokens(texts, pattern, progress)
    if not len(pretokens.counts):
        raise ValueError("there is no text to train on: check the source and its column or field `text`")
    tokens = merge_pretokens(pretokens, wanted, progress)
    return Vocabulary(tuple(tokens), pattern, {name: len(tokens) + i for i, name in enumerate(special_tokens)})


def count_pretokens(
    texts: Iterable[str] | Iterable[pa.Array], pattern: str, progress: Progress | None = None
) -> Pretokens:
    """Every different pretoken of the texts and how often it is there, in order of first appearance."""
    classes, number = class_table(), scheme(pattern)
    slots, starts = np.zeros(1 << 16, np.uint64), np.zeros(1 << 15, np.int64)
    counts, arena = np.zeros(1 << 15, np.int64), np.empty(1 << 19, np.uint8)
    words = done = 0
    for run in batches(texts, RUN_BYTES):
        state = np.array([0, 0, words], np.int64)
        while not _count(number, run, classes, state, slots, starts, counts, arena):
            # Full: enlarge what is nearly full, by so much that the pretoken at hand fits.
            words = int(state[2])
            longest = int(np.diff(run.offsets).max())
            if 2 * words >= len(slots) - 1:
                larger = np.zeros(2 * len(slots), np.uint64)
                count.rehash_pretokens(slots, larger)
                slots = larger
            if words + 1 >= len(starts):
                starts, counts = _enlarged(starts, 2 * len(starts)), _enlarged(counts, 2 * len(counts))
            if starts[words] + longest > len(arena):
                arena = _enlarged(arena, 2 * len(arena) + longest)
        words = int(state[2])
        done += run.size
        if progress:
            progress("counting", done, None)
    return Pretokens(arena[: starts[words]], starts[: words + 1], counts[:words])


def _count(
    number: int,
    run: Utf8,
    classes: NDArray[np.uint8],
    state: NDArray[np.int64],
    slots: NDArray[np.uint64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    arena: NDArray[np.uint8],
) -> bool:
    start = run.content.ctypes.data
    limit = start + len(run.content)
    return bool(
        count.count_pretokens(
            number, start, limit, run.offsets, classes.ctypes.data, state, slots, starts, counts, arena
        )
    )


def merge_pretokens(pretokens: Pretokens, wanted: int, progress: Progress | None = None) -> list[bytes]:
    """Up to `wanted` >= 256 tokens, in the order of their ids."""
    corpus, state = _corpus(pretokens), np.zeros(5, np.int64)
    pairs = _no_pairs(len(corpus.ids))
    merge.first_pairs(corpus, pairs, state)
    state[merge.THRESHOLD] = max(2, int(pairs.times.max()))
    learnt = _byte_tokens(corpus, wanted)
    state[merge.TOKENS] = 256
    while True:
        why = merge.merge(corpus, pairs, learnt, state, wanted, MERGES_PER_CALL)
        if progress:
            progress("merging", int(state[merge.TOKENS]), wanted)
        if why == merge.DONE:
            break
        if why == merge.FULL:
            pairs = _more_room(pairs, state, int(state[merge.TOKENS]))
    found = zip(learnt.starts[256 : state[merge.TOKENS]], learnt.lengths[256:], strict=False)
    return [bytes([byte]) for byte in BYTE_ORDER] + [
        corpus.content[start : start + int(length)].tobytes() for start, length in found
    ]


def _corpus(pretokens: Pretokens) -> merge.Corpus:
    """Lay the pretokens out with a separator before, between and after them, then one place for each byte value."""
    lengths, words = np.diff(pretokens.starts), len(pretokens.counts)
    size = int(pretokens.starts[-1]) + words + 1
    if size >= 1 << 32:
        raise ValueError(f"{size:,} bytes of different pretokens are too many to merge: train on a sample")
    word = np.repeat(np.arange(words, dtype=np.uint32), lengths)
    places = np.arange(len(word), dtype=np.int64) + word + 1
    content = np.zeros(size + 256, np.uint8)
    content[places] = pretokens.content
    content[size:] = np.frombuffer(BYTE_ORDER, np.uint8)
    ids, words_at = np.full(size, -1, np.int32), np.zeros(size, np.uint32)
    id_of_byte = np.empty(256, np.int32)
    id_of_byte[np.frombuffer(BYTE_ORDER, np.uint8)] = np.arange(256)
    ids[places], words_at[places] = id_of_byte[pretokens.content], word
    return merge.Corpus(content, ids, words_at, pretokens.counts)


def _byte_tokens(corpus: merge.Corpus, wanted: int) -> merge.Learnt:
    """Room for `wanted` tokens, the first 256 of them the bytes. They need no slot: merges are longer."""
    starts, lengths = np.zeros(wanted, np.int64), np.ones(wanted, np.uint32)
    starts[:256] = len(corpus.ids) + np.arange(256)
    return merge.Learnt(starts, lengths, np.zeros(1 << (2 * wanted).bit_length(), np.uint32))


def _no_pairs(size: int) -> merge.Pairs:
    capacity = 1 << 17
    return merge.Pairs(
        key=np.zeros(capacity, np.int64),
        times=np.zeros(capacity, np.int64),
        start=np.zeros(capacity, np.int64),
        places=np.zeros(capacity, np.int64),
        pending=np.zeros(capacity, np.int64),
        slots=np.zeros(2 * capacity, np.int32),
        positions=np.empty(2 * size + 1024, np.uint32),
        heap_count=np.empty(capacity, np.int64),
        heap_pair=np.empty(capacity, np.int32),
    )


def _more_room(pairs: merge.Pairs, state: NDArray[np.int64], tokens: int) -> merge.Pairs:
    """Room for the next merge, whichever table it was that lacked it, and at least half as much again."""
    used = int(state[merge.PAIRS])
    new_pairs = 2 * tokens + 2
    if max(used, int(state[merge.HEAP])) + new_pairs > len(pairs.heap_pair):
        capacity = 2 * (len(pairs.key) + new_pairs)
        enlarged = {
            name: _enlarged(getattr(pairs, name), capacity)
            for name in ("key", "times", "start", "places", "pending", "heap_count", "heap_pair")
        }
        slots = np.zeros(1 << (2 * capacity - 1).bit_length(), np.int32)
        pairs = pairs._replace(slots=slots, **enlarged)
        merge.rehash_pairs(pairs, used)
        return pairs
    return pairs._replace(positions=_enlarged(pairs.positions, 2 * len(pairs.positions)))


def _enlarged(array: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.zeros(size, array.dtype)
    larger[: len(array)] = array
    return larger
