"""BPE by a list of merges, as on a blackboard: the pair that is first in the list merges, until no pair is listed."""

from __future__ import annotations

from itertools import pairwise

from bpe.vocabulary import Vocabulary


def encode(pretoken: bytes, vocabulary: Vocabulary) -> list[int]:
    """Ids of one pretoken by the vocabulary's merges; of equal pairs the leftmost merges first."""
    merges = vocabulary.merges or ()
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens) if token}
    if vocabulary.ignore_merges and pretoken in ids:
        return [ids[pretoken]]
    parts = [ids[bytes([byte])] for byte in pretoken]
    while True:
        listed = [(merges.index(pair), i) for i, pair in enumerate(pairwise(parts)) if pair in merges]
        if not listed:
            return parts
        _, i = min(listed)
        parts[i : i + 2] = [ids[vocabulary.tokens[parts[i]] + vocabulary.tokens[parts[i + 1]]]]
