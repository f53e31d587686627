"""Which documents stay, the slow way: every document is compared with every kept one, as sets in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Document(NamedTuple):
    """The values that decide. Documents are in the order in which they should be kept."""

    text_hash: bytes
    minima: tuple[int, ...]
    ngrams: frozenset[int]
    published: bool = False


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


def hopeful(one: Document, other: Document, threshold: float) -> bool:
    """Whether enough minima agree for comparing the sets."""
    equal = sum(a == b for a, b in zip(one.minima, other.minima, strict=True))
    return 2 * equal >= threshold * len(one.minima)


def twins(documents: Sequence[Document], rows: int, threshold: float) -> list[int]:
    """For each document the first kept one that it duplicates, itself if it stays: first by equal hash, then band by
    band (of `rows` minima), the earliest first.
    """
    kept: list[int] = []
    found: list[int] = []
    for i, document in enumerate(documents):
        twin = i
        if not document.published:
            same = [j for j in kept if documents[j].text_hash == document.text_hash]
            banded = [
                j
                for start in range(0, len(document.minima), rows)
                for j in kept
                if documents[j].minima[start : start + rows] == document.minima[start : start + rows]
            ]
            alike = [
                j
                for j in banded
                if hopeful(documents[j], document, threshold)
                and jaccard(documents[j].ngrams, document.ngrams) >= threshold
            ]
            twin = next(iter(same + alike), i)
        found.append(twin)
        if twin == i:
            kept.append(i)
    return found
