"""The loss of a stream and the log-likelihood of an ending, one token at a time, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Logits = Callable[[Sequence[int]], F64]  # the logits (T, V) of a sequence of T ids


def log_softmax(logits_V: F64) -> F64:
    """The logarithms of the probabilities."""
    highest = logits_V.max()
    return logits_V - highest - np.log(np.exp(logits_V - highest).sum())


def stream_nats(
    logits_of: Logits, stream: Sequence[int], end_of_text: int, context: int, stride: int, doc_mask: bool = False
) -> list[float]:
    """-log p of each id of the stream, in the first window that has it as a target."""
    all_inputs = [end_of_text, *stream]
    nats: list[float] = []
    start = 0
    while len(nats) < len(stream):
        inputs = all_inputs[start : start + context]
        logits_TV = logits_of(inputs)
        for position, target in enumerate(stream[start : start + context]):
            if start + position < len(nats):
                continue  # an earlier window has this target
            logits_V = logits_TV[position]
            if doc_mask:
                document = position  # start of the document
                while document > 0 and inputs[document] != end_of_text:
                    document -= 1
                logits_V = logits_of(inputs[document : position + 1])[-1]
            nats.append(-float(log_softmax(logits_V)[target]))
        start += stride
    return nats


def ending_log_likelihood(
    logits_of: Logits, context: Sequence[int], ending: Sequence[int], end_of_text: int, most: int
) -> float:
    """log p of the ids of an ending after the ids of its context. The model sees the last `most` inputs."""
    ids = [end_of_text, *context, *ending]
    total = 0.0
    for position in range(1 + len(context), len(ids)):
        oldest = max(0, len(ids) - 1 - most)
        if position > oldest:
            total += float(log_softmax(logits_of(ids[oldest:position])[-1])[ids[position]])
    return total
