"""What a stream or an ending costs a model in nats, one token at a time, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Logits = Callable[[Sequence[int]], F64]  # (T, V) of a sequence of T ids


def log_softmax(logits_V: F64) -> F64:
    highest = logits_V.max()
    return logits_V - highest - np.log(np.exp(logits_V - highest).sum())


def stream_nats(
    logits_of: Logits, stream: Sequence[int], end_of_text: int, context: int, stride: int, doc_mask: bool = False
) -> list[float]:
    """-log p of each id, in the first window that has it."""
    opened = [end_of_text, *stream]
    nats: list[float] = []
    start = 0
    while len(nats) < len(stream):
        inputs = opened[start : start + context]
        logits_TV = logits_of(inputs)
        for place, target in enumerate(stream[start : start + context]):
            if start + place < len(nats):
                continue  # an earlier window had it
            logits_V = logits_TV[place]
            if doc_mask:
                own = place
                while own > 0 and inputs[own] != end_of_text:
                    own -= 1
                logits_V = logits_of(inputs[own : place + 1])[-1]
            nats.append(-float(log_softmax(logits_V)[target]))
        start += stride
    return nats


def ending_log_likelihood(
    logits_of: Logits, context: Sequence[int], ending: Sequence[int], end_of_text: int, most: int
) -> float:
    """log p of the ids of an ending after those of its context, of which the model sees the last `most`."""
    ids = [end_of_text, *context, *ending]
    total = 0.0
    for place in range(1 + len(context), len(ids)):
        oldest = max(0, len(ids) - 1 - most)
        if place > oldest:
            total += float(log_softmax(logits_of(ids[oldest:place])[-1])[ids[place]])
    return total
