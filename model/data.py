"""Streams of ids in; (x, y) batches out, each of them a pure function of the step.

A stream is cut into windows of `context` inputs and one more token, the last target. Windows know nothing of
documents: one begins and ends anywhere in them, and nothing is padded or left out but the stream's last tokens.
Where in a window a document ends is known by its end-of-text, from which whoever wants one makes a mask.

Training visits the windows in a new keyed order each epoch. How far it has come is one integer, the position: the
number of windows consumed since the start of the first epoch. Which windows an update takes depends on nothing but
the position before it, the batch size, the seed and the data's fingerprint; so a run that is resumed, by another
number of processes or with another batch size, goes on at the very next window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.permutation import permute
from model.stream import Array, Int64, Stream, open_stream, vocabulary_of

__all__ = ["Batches", "Int64", "Stream", "make_batches", "open_stream", "vocabulary_of"]


@dataclass(frozen=True)
class Batches:
    """The windows of a stream, and which of them an update takes.

    Ids come as the stream has them, in 2 or 4 bytes: whoever computes with them widens them where that costs
    least. Inputs and targets are views of one array, since all but one of the ids of a window are both.
    """

    stream: Stream
    context: int  # inputs a window
    batch_size: int  # windows an update, over all processes
    seed: int
    start: tuple[int, int] = (0, 0)  # a step (from 0), and the windows that were consumed before it

    @property
    def train_windows(self) -> int:
        """Windows an epoch. Neighbours share one token: last target of one, first input of the next."""
        return _count(self.stream.train_N, self.context)

    @property
    def validation_windows(self) -> int:
        return _count(self.stream.held_out_N, self.context)

    def position(self, step: int) -> int:
        """The windows consumed before update `step`. Raises ValueError for one before the start."""
        first, consumed = self.start
        if step < first:
            raise ValueError(f"step {step}: should be at least {first}, where these batches start")
        return consumed + (step - first) * self.batch_size

    def rows(self, step: int, rank: int = 0, world: int = 1) -> Array:
        """The ids of the batch of process `rank` at update `step`, (batch_size / world, context + 1).

        The windows of all ranks together, in order of rank, do not depend on `world`. Raises ValueError if
        `world` does not divide the batch.
        """
        if self.batch_size % world:
            raise ValueError(f"{world} processes: should divide the batch of {self.batch_size} windows")
        share = self.batch_size // world
        first = self.position(step) + rank * share
        return _gather(self.stream.train_N, self.context, self.order(np.arange(first, first + share)))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Array, Array]:
        """Inputs and targets, (batch_size / world, context) each, of process `rank` at update `step`."""
        return _inputs_and_targets(self.rows(step, rank, world))

    def order(self, positions_N: Int64) -> Int64:
        """The training window at each position of the endless sequence of epochs."""
        epochs_N, offsets_N = np.divmod(positions_N, self.train_windows)
        windows_N = np.empty_like(positions_N)
        for epoch in np.unique(epochs_N):
            now_N = epochs_N == epoch
            key = f"{self.seed} {epoch} {self.stream.fingerprint}"
            windows_N[now_N] = permute(offsets_N[now_N], self.train_windows, key)
        return windows_N

    def windows(self, numbers_N: Int64) -> tuple[Array, Array]:
        """Inputs and targets, (N, context) each, of training windows, 0 .. train_windows-1."""
        return _inputs_and_targets(_gather(self.stream.train_N, self.context, numbers_N))

    def held_out(self, numbers_N: Int64) -> tuple[Array, Array]:
        """Inputs and targets, (N, context) each, of held-out windows, 0 .. validation_windows-1."""
        return _inputs_and_targets(_gather(self.stream.held_out_N, self.context, numbers_N))

    def validation(self, most: int) -> Int64:
        """The numbers of up to `most` held-out windows, spread evenly over that stream."""
        count = min(most, self.validation_windows)
        return np.arange(count) * self.validation_windows // max(1, count)


def make_batches(
    stream: Stream, context: int, batch_tokens: int, seed: int, start: tuple[int, int] = (0, 0)
) -> Batches:
    """Cut `stream` into windows, to be visited from `start` on: a step, and the windows consumed before it.

    Raises ValueError if `batch_tokens` is not a multiple of `context`, or there is too little data for one window
    to train on and, where documents are held out at all, one to validate on.
    """
    if batch_tokens < 1 or batch_tokens % context:
        raise ValueError(f"batch_tokens = {batch_tokens}: should be a multiple of the context, {context}")
    least = f"should be at least {context + 1} for a context of {context}"
    if len(stream.train_N) <= context:
        raise ValueError(
            f"{len(stream.train_N)} tokens to train on, {len(stream.held_out_N)} held out: {least}; "
            "add data, choose a smaller context or lower validation_fraction"
        )
    if 0 < len(stream.held_out_N) <= context:
        raise ValueError(
            f"{len(stream.held_out_N)} tokens held out of {len(stream.train_N) + len(stream.held_out_N)}: {least}; "
            "add data, choose a smaller context or raise validation_fraction (0 holds nothing out)"
        )
    return Batches(stream, context, batch_tokens // context, seed, start)


def _count(ids_N: Array, context: int) -> int:
    return max(0, len(ids_N) - 1) // context


def _gather(ids_N: Array, context: int, numbers_M: Int64) -> Array:
    """A copy of the given windows of `ids_N`, (M, context + 1). Raises IndexError for a window that is not there."""
    # The overlapping windows as a matrix in place, of whose rows NumPy copies the wanted ones, without the GIL.
    shape, width = (_count(ids_N, context), context + 1), ids_N.itemsize
    matrix_WT = np.lib.stride_tricks.as_strided(ids_N, shape, (context * width, width), writeable=False)
    return np.asarray(matrix_WT[numbers_M])


def _inputs_and_targets(rows_MT: Array) -> tuple[Array, Array]:
    return rows_MT[:, :-1], rows_MT[:, 1:]
