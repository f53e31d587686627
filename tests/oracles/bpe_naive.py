"""BPE as on a blackboard: count every pair anew, merge one, start over. Slow and obviously right.

`train` counts with Python dicts over whole texts. `encode` merges the neighbours whose bytes have the lowest rank.
`encode_long` merges so too, but with arrays, which takes seconds for thousands of bytes. `split` runs the published
regular expression in tiktoken's own engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import tiktoken

from bpe.patterns import REGEX
from bpe.vocabulary import BYTE_ORDER, Vocabulary


def split(text: str, pattern: str) -> list[bytes]:
    """The pretokens of a short text.

    Every substring of the text is a token, and tiktoken encodes a pretoken that is a token as one id.
    """
    data = text.encode()
    pieces = {data[i:j] for i in range(len(data)) for j in range(i + 1, len(data) + 1)}
    tokens = sorted(pieces | {bytes([byte]) for byte in range(256)})
    encoding = tiktoken.Encoding(
        "split", pat_str=REGEX[pattern], mergeable_ranks={t: i for i, t in enumerate(tokens)}, special_tokens={}
    )
    return [tokens[token_id] for token_id in encoding.encode_ordinary(text)]


def train(pretokens: Iterable[bytes], wanted: int, ties: str = "bytes") -> tuple[list[bytes], list[tuple[int, int]]]:
    """Up to `wanted` tokens by id and the pairs that were merged, with the rules that bpe.train states."""
    order = bytes(range(256)) if ties == "ids" else BYTE_ORDER
    tokens = [bytes([byte]) for byte in order]
    merges: list[tuple[int, int]] = []
    words = Counter(tuple(tokens.index(bytes([byte])) for byte in pretoken) for pretoken in pretokens)
    while len(tokens) < wanted:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        if ties == "bytes":
            best = max(pairs, key=lambda pair: (pairs[pair], tokens[pair[0]], tokens[pair[1]]))
        else:
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = tokens[best[0]] + tokens[best[1]]
        assert joined not in tokens  # as bpe.kernels.merge claims
        tokens.append(joined)
        merges.append(best)
        merged_words: Counter[tuple[int, ...]] = Counter()
        for word, times in words.items():
            merged_words[replaced(word, best, len(tokens) - 1)] += times
        words = merged_words
    return tokens, merges


def replaced(word: Sequence[int], pair: tuple[int, int], merged: int) -> tuple[int, ...]:
    """`word` with `pair` merged from left to right."""
    out: list[int] = []
    i = 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            out.append(merged)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def encode(pretoken: bytes, vocabulary: Vocabulary) -> list[int]:
    """Ids of one pretoken: itself if it is a token, else the leftmost lowest-rank merge until none is possible."""
    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
    if pretoken in ranks:
        return [ranks[pretoken]]
    parts = [bytes([byte]) for byte in pretoken]
    while True:
        ranked = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not ranked:
            return [ranks[part] for part in parts]
        _, i = min(ranked)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode_long(pretoken: bytes, vocabulary: Vocabulary) -> list[int]:
    """The ids of a pretoken that is no token, as `encode` here and in bpe_merges gives them."""
    tokens = vocabulary.tokens
    ids = {token: token_id for token_id, token in enumerate(tokens) if token}
    listed = {pair: priority for priority, pair in enumerate(vocabulary.merges or ())}
    never = 1 << 40

    def priority(left: int, right: int) -> int:
        if vocabulary.merges is None:
            return ids.get(tokens[left] + tokens[right], never)
        return listed.get((left, right), never)

    parts = [ids[bytes([byte])] for byte in pretoken]
    priorities = np.array([priority(*pair) for pair in pairwise(parts)] + [never])
    while priorities.min() < never:
        i = int(priorities.argmin())
        parts[i : i + 2] = [ids[tokens[parts[i]] + tokens[parts[i + 1]]]]
        priorities = np.delete(priorities, i)
        for j in (i - 1, i):
            if 0 <= j < len(parts) - 1:
                priorities[j] = priority(parts[j], parts[j + 1])
        priorities[len(parts) - 1] = never
    return parts
