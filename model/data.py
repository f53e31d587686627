"""Batches of training data. In: a stream of ids. Out: inputs and targets, each batch a pure function of the step.

A stream is cut into windows: `context` inputs and one more token, the last target. Windows begin and end anywhere in
documents. Nothing is padded, and only the last tokens of the stream are left out. The end-of-text tokens in a window
show where documents end; a document mask is made from them (model/attention.py).

Each epoch visits all windows in a new order, which a key determines. The progress of a run is one integer, the
position: the number of windows consumed since the start of the first epoch. The windows of an update depend only on the
position before it, the batch size, the seed and the data's fingerprint. So a run that is resumed continues with the
next window, even with another number of processes or another batch size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.permutation import permute
from model.stream import Array, Int64, Stream, open_stream, vocabulary_of

__all__ = ["Batches", "Int64", "Stream", "make_batches", "open_stream", "vocabulary_of"]


@dataclass(frozen=True)
class Batches:
    """The windows of a stream, and the windows that each update takes.

    Ids have the stream's dtype, uint16 or uint32; model/prefetch.py converts them on the device. Inputs and targets are
    views of one array, because all ids of a window but its first and last are both.
    """

    stream: Stream
    context: int  # inputs a window
    batch_size: int  # windows an update, over all processes
    seed: int  # of the order of the windows
    start: tuple[int, int] = (0, 0)  # a step (from 0), and the number of windows consumed before it

    @property
    def train_windows(self) -> int:
        """Windows an epoch. Neighbouring windows share one token: a last target is the next window's first input."""
        return _count(self.stream.train_N, self.context)

    @property
    def validation_windows(self) -> int:
        """Windows of the held-out documents."""
        return _count(self.stream.held_out_N, self.context)

    def position(self, step: int) -> int:
        """The number of windows consumed before update `step`. Raises ValueError for a step before `start`."""
        first, consumed = self.start
        if step < first:
            raise ValueError(f"step {step}: should be at least {first}, where these batches start")
        return consumed + (step - first) * self.batch_size

    def rows(self, step: int, rank: int = 0, world: int = 1) -> Array:
        """The ids of process `rank`'s batch at update `step`: (batch_size / world, context + 1), uint16 or uint32.

        The windows of all ranks, in order of rank, do not depend on `world`. Raises ValueError if `world` does not
        divide the batch.
        """
        if self.batch_size % world:
            raise ValueError(f"{world} processes: should divide the batch of {self.batch_size} windows")
        share = self.batch_size // world
        first = self.position(step) + rank * share
        return _gather(self.stream.train_N, self.context, self.order(np.arange(first, first + share)))

    def batch(self, step: int, rank: int = 0, world: int = 1) -> tuple[Array, Array]:
        """The inputs and targets of process `rank` at update `step`, (batch_size / world, context) each."""
        return _inputs_and_targets(self.rows(step, rank, world))

    def order(self, positions_N: Int64) -> Int64:
        """The numbers of the training windows at positions (N,) of the endless sequence of epochs, (N,) in int64."""
        epochs_N, offsets_N = np.divmod(positions_N, self.train_windows)
        windows_N = np.empty_like(positions_N)
        for epoch in np.unique(epochs_N):
            in_epoch_N = epochs_N == epoch
            key = f"{self.seed} {epoch} {self.stream.fingerprint}"
            windows_N[in_epoch_N] = permute(offsets_N[in_epoch_N], self.train_windows, key)
        return windows_N

    def windows(self, numbers_N: Int64) -> tuple[Array, Array]:
        """Inputs and targets, (N, context) each, of training windows by number, 0 to train_windows - 1."""
        return _inputs_and_targets(_gather(self.stream.train_N, self.context, numbers_N))

    def held_out(self, numbers_N: Int64) -> tuple[Array, Array]:
        """Inputs and targets, (N, context) each, of held-out windows by number, 0 to validation_windows - 1."""
        return _inputs_and_targets(_gather(self.stream.held_out_N, self.context, numbers_N))

    def validation(self, most: int) -> Int64:
        """The numbers of up to `most` held-out windows, spread evenly over the held-out stream."""
        count = min(most, self.validation_windows)
        return np.arange(count) * self.validation_windows // max(1, count)


def make_batches(
    stream: Stream, context: int, batch_tokens: int, seed: int, start: tuple[int, int] = (0, 0)
) -> Batches:
    """The batches of `stream` from `start` on: a step, and the number of windows consumed before it.

    Raises ValueError if `batch_tokens` is not a multiple of `context`, if there is not one window to train on, or if
    documents are held out but do not fill one window.
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
    """A copy of the windows `numbers_M` of `ids_N`, (M, context + 1). Raises IndexError for a number out of range."""
    # A view of all windows as the rows of a matrix. Rows overlap by one id. NumPy copies rows without holding the GIL.
    shape, width = (_count(ids_N, context), context + 1), ids_N.itemsize
    matrix_WT = np.lib.stride_tricks.as_strided(ids_N, shape, (context * width, width), writeable=False)
    return np.asarray(matrix_WT[numbers_M])


def _inputs_and_targets(rows_MT: Array) -> tuple[Array, Array]:
    return rows_MT[:, :-1], rows_MT[:, 1:]
