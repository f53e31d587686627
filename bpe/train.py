"""Learns a vocabulary from text: byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909).

First the different pretokens are counted (`bpe.count`). Then the most frequent pair of neighbouring tokens becomes a
token, again and again (`bpe.kernels.merge`). These rules make the result depend on the texts alone, not on their
order, on batches or on the number of threads:

- Ids 0 to 255 are the bytes. Merges follow in the order in which they are made, special tokens come last.
- A pair counts once for each place where it stands, overlapping places included: twice in "aaa".
- A pair merges from left to right: "aaa" becomes (aa, a).
- Of equally frequent pairs, `ties` says which merges first:
  "bytes"  the pair of the greatest bytes, the left token compared first (GPT-2, Stanford's CS336);
  "hf"     the pair of the smallest ids (left, right), as in Hugging Face's trainer;
  "ids"    the pair of the smallest ids too, as in rustbpe and bpeasy, which number the bytes by their value.

With "bytes" and "hf" the ids of the bytes are in GPT-2's order, printable ones first (`BYTE_ORDER`).
The last pairs may stand in one place only. When no pair is left, the vocabulary stays smaller than asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.count import Pretokens, Progress, count_pretokens, enlarged
from bpe.kernels import merge
from bpe.patterns import canonical
from bpe.vocabulary import BYTE_ORDER, END_OF_TEXT, Vocabulary

TIES = ("bytes", "hf", "ids")
MERGES_PER_CALL = 256  # after these, progress is reported and Ctrl-C heard
# Memory that merging takes at most for each byte of the different pretokens and for each pretoken, while its tables
# grow too; measured on English.
BYTES_A_BYTE = 40


class Merged(NamedTuple):
    """Tokens by id, and the pairs of ids that were merged: pair i made token 256 + i."""

    tokens: list[bytes]
    merges: list[tuple[int, int]]


def train(
    texts: Iterable[str] | Iterable[pa.Array],
    vocab_size: int,
    pattern: str = "cl100k",
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    ties: str = "bytes",
    progress: Progress | None = None,
    threads: int = 1,
    memory: int | None = None,
    min_count: int = 1,
) -> Vocabulary:
    """A vocabulary of `vocab_size` ids, the 256 bytes and the special tokens included, or of fewer if pairs run out.

    `pattern` is the name of a split rule or a regular expression, which is slower. A text is cut where it names a
    special token, and nothing is learnt from the name. `threads` is how many count side by side. `memory` (bytes)
    bounds the tables; the interpreter and the reading of the texts come on top. Counts that do not fit are kept in
    temporary files, with an equal result. A `min_count` above 1 leaves out pretokens seen less often. That needs less
    memory and is not exact, since rare pairs are then counted too low.

    Raises ValueError if there is no text, if the size leaves no room for the bytes and the special tokens, for an
    unknown pattern or tie rule, for special tokens that are empty or named twice, and when merging would take more
    than `memory`.
    """
    pattern = canonical(pattern)
    if ties not in TIES:
        raise ValueError(f"ties = {ties!r}: should be one of {', '.join(TIES)}")
    if len(set(special_tokens)) != len(special_tokens) or "" in special_tokens:
        raise ValueError(f"special_tokens = {list(special_tokens)}: name each once, none of them empty")
    for name, value in (("threads", threads), ("min_count", min_count), ("memory", 1 if memory is None else memory)):
        if value < 1:
            raise ValueError(f"{name} = {value}: should be at least 1")
    wanted = vocab_size - len(special_tokens)
    if wanted < 256:
        least = 256 + len(special_tokens)
        raise ValueError(f"vocab_size = {vocab_size}: at least {least} for the bytes and special tokens")
    pretokens = count_pretokens(texts, pattern, progress, special_tokens, threads, memory, min_count)
    if not len(pretokens.counts):
        rarer = f" that holds a pretoken {min_count} times" if min_count > 1 else ""
        raise ValueError(f"there is no text to train on{rarer}: check the source and its column or field `text`")
    _check_memory(pretokens, memory)
    tokens, merges = merge_pretokens(pretokens, wanted, progress, ties)
    special = {name: len(tokens) + i for i, name in enumerate(special_tokens)}
    return Vocabulary(tuple(tokens), pattern, special, tuple(merges))


def merge_pretokens(pretokens: Pretokens, wanted: int, progress: Progress | None = None, ties: str = "bytes") -> Merged:
    """Up to `wanted` >= 256 tokens and the merges that made them; `ties` as of `train`."""
    byte_order = bytes(range(256)) if ties == "ids" else BYTE_ORDER
    corpus, state = _corpus(pretokens, byte_order), np.zeros(merge.STATE, np.int64)
    pairs, tokens = _no_pairs(len(corpus.ids)), _byte_tokens(corpus, byte_order, wanted, ties == "bytes")
    left_side, right_side = _side(wanted), _side(wanted)
    merge.first_pairs(corpus, pairs, state)
    state[merge.THRESHOLD] = max(2, int(pairs.table[:, merge.TIMES].max()))
    state[merge.TOKENS] = 256
    while True:
        outcome = merge.merge(corpus, pairs, tokens, left_side, right_side, state, wanted, MERGES_PER_CALL)
        if progress:
            progress("merging", int(state[merge.TOKENS]), wanted)
        if outcome == merge.DONE:
            break
        if outcome == merge.FULL:
            pairs = _more_room(pairs, state)
    made = int(state[merge.TOKENS])
    spans = zip(tokens.starts[:made].tolist(), tokens.lengths[:made].tolist(), strict=True)
    keys = tokens.merges[256:made]
    return Merged(
        [corpus.content[start : start + length].tobytes() for start, length in spans],
        list(zip((keys >> 32).tolist(), (keys & 0xFFFFFFFF).tolist(), strict=True)),
    )


def _check_memory(pretokens: Pretokens, memory: int | None) -> None:
    size, count = len(pretokens.content), len(pretokens.counts)
    need = BYTES_A_BYTE * (size + count)
    if memory is not None and need > memory:
        raise ValueError(
            f"memory = {memory:,} bytes: merging {count:,} different pretokens ({size:,} bytes) needs {need:,}; "
            "give more memory, train on less text (limit, sample) or leave rare pretokens out (min_count)"
        )


def _corpus(pretokens: Pretokens, byte_order: bytes) -> merge.Corpus:
    """The pretokens laid out by falling count, with a separator before, between and after them."""
    count = len(pretokens.counts)
    size = int(pretokens.starts[-1]) + count + 1
    if size >= 1 << 32:
        raise ValueError(
            f"{size:,} bytes of different pretokens are too many to merge: train on a sample or with min_count"
        )
    order = np.argsort(-pretokens.counts)
    content, ids = np.empty(size + 256, np.uint8), np.empty(size, np.int32)
    id_of_byte, ends = np.empty(256, np.int32), np.empty(count, np.int64)
    content[size:] = np.frombuffer(byte_order, np.uint8)
    id_of_byte[content[size:]] = np.arange(256)
    merge.lay_out(pretokens.content, pretokens.starts, order, id_of_byte, content, ids, ends)
    times = pretokens.counts[order]
    last = np.append(np.flatnonzero(np.diff(times)), count - 1)  # the last pretoken of each run
    first_run = np.empty((size >> merge.BLOCK_BITS) + 1, np.int32)
    corpus = merge.Corpus(content, ids, first_run, np.append(ends[last], 1 << 62), np.append(times[last], 0))
    merge.index_runs(corpus)
    return corpus


def _byte_tokens(corpus: merge.Corpus, byte_order: bytes, wanted: int, by_bytes: bool) -> merge.Tokens:
    """Room for `wanted` tokens; the first 256, the bytes, are entered."""
    starts, lengths, prefixes, merges = (np.zeros(wanted, np.int64) for _ in range(4))
    starts[:256] = len(corpus.ids) + np.arange(256)
    lengths[:256] = 1
    prefixes[:256] = (np.frombuffer(byte_order, np.uint8).astype(np.int64) - 128) << 56
    return merge.Tokens(corpus.content, starts, lengths, prefixes, merges, by_bytes)


def _side(wanted: int) -> merge.Side:
    times, places, cursor = (np.zeros(wanted, np.int64) for _ in range(3))
    return merge.Side(times, places, cursor, np.zeros(wanted, np.int32))


def _no_pairs(size: int) -> merge.Pairs:
    """No pairs yet, with room for the first pairs of a corpus of `size` positions."""
    capacity = 1 << 17
    return merge.Pairs(
        table=np.zeros((capacity, 4), np.int64),
        positions=np.empty(2 * size + 1024, np.uint32),
        heap_count=np.empty(capacity, np.int64),
        heap_pair=np.empty(capacity, np.int32),
    )


def _more_room(pairs: merge.Pairs, state: NDArray[np.int64]) -> merge.Pairs:
    """Larger tables, at least twice as large, in place of those without room for the next merge."""
    new_pairs = 2 * int(state[merge.TOKENS]) + 2
    if max(state[merge.PAIRS], state[merge.HEAP]) + new_pairs <= len(pairs.heap_pair):
        return pairs._replace(positions=enlarged(pairs.positions, 2 * len(pairs.positions)))
    capacity = 2 * len(pairs.table) + new_pairs
    return pairs._replace(
        table=enlarged(pairs.table, capacity),
        heap_count=enlarged(pairs.heap_count, capacity),
        heap_pair=enlarged(pairs.heap_pair, capacity),
    )
