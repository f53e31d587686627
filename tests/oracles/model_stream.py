"""The packed stream and its windows as Python lists."""

from __future__ import annotations

from collections.abc import Sequence


def packed(documents: Sequence[Sequence[int]], end_of_text: int) -> list[int]:
    stream: list[int] = []
    for document in documents:
        stream.extend(document)
        stream.append(end_of_text)
    return stream


def windows(stream: Sequence[int], context: int) -> list[tuple[list[int], list[int]]]:
    """(inputs, targets) of every whole window."""
    found = []
    start = 0
    while start + context + 1 <= len(stream):
        found.append((list(stream[start : start + context]), list(stream[start + 1 : start + context + 1])))
        start += context
    return found
