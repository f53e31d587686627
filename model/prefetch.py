"""Batches that a thread makes before the updates that use them. On CUDA the thread also copies them to the device.

The ids of a batch are copied to the device in the stream's dtype, each once and in 2 or 4 bytes, and converted there to
inputs and targets in int64. Two arrays of int64 would be 4 to 8 times as many bytes. On CUDA the copy runs from pinned
memory on a CUDA stream of the thread's own; the consumer's CUDA stream waits for it, but not the consumer itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import NamedTuple

import torch
from torch import Tensor

from model.data import Batches
from model.stream import Array


class _Ready(NamedTuple):
    """A batch on its device, or on its way there."""

    x_BT: Tensor
    y_BT: Tensor
    copied: torch.cuda.Event | None  # end of the copy; None if the copy was not asynchronous


@contextlib.contextmanager
def prefetched(
    batches: Batches,
    first_step: int,
    last_step: int,
    rank: int,
    world: int,
    device: torch.device,
    depth: int = 2,
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """A context that yields an iterator over the batches of updates `first_step` to `last_step` - 1.

    A batch is (inputs, targets), (batch_size / world, context) each, contiguous int64 tensors on `device`. The thread
    makes at most `depth` batches before they are asked for. On CUDA a batch may be used on the CUDA stream that is
    current when `next` is called. `next` raises an error that happened in the thread. When the context is left, for
    whatever reason, the thread finishes its batch and ends, and the iterator is exhausted.
    """
    free, ready, ended = threading.Semaphore(depth), SimpleQueue[_Ready | BaseException](), threading.Event()
    # The CUDA stream is made here and not in the thread: a device without a number is the calling thread's current one.
    copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def produce() -> None:
        try:
            for step in range(first_step, last_step):
                free.acquire()
                if ended.is_set():
                    return
                ready.put(_on_device(batches.rows(step, rank, world), device, copies))
        except BaseException as error:  # noqa: BLE001 - `next` raises it; without it the consumer would wait for ever
            ready.put(error)

    def take() -> tuple[Tensor, Tensor]:
        batch = ready.get()
        free.release()
        if isinstance(batch, BaseException):
            raise batch
        return _received(batch)

    def consume() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(first_step, last_step):
            if ended.is_set():
                return
            yield take()  # no variable here keeps the batch alive after its use

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    try:
        thread.start()
        yield consume()
    finally:
        ended.set()
        free.release()
        thread.join()


def _on_device(rows_BT: Array, device: torch.device, copies: torch.cuda.Stream | None) -> _Ready:
    """Inputs and targets, on `device`, of rows of context + 1 ids; on CUDA copied on the CUDA stream `copies`."""
    if copies is None:
        return _Ready(*_inputs_and_targets(torch.from_numpy(rows_BT).to(device)), None)
    with torch.cuda.stream(copies):
        pinned_BT = torch.from_numpy(rows_BT).pin_memory()  # PyTorch does not reuse it before the copy has ended
        x_BT, y_BT = _inputs_and_targets(pinned_BT.to(device, non_blocking=True))
        return _Ready(x_BT, y_BT, copies.record_event())


def _inputs_and_targets(rows_BT: Tensor) -> tuple[Tensor, Tensor]:
    return rows_BT[:, :-1].to(torch.int64), rows_BT[:, 1:].to(torch.int64)


def _received(batch: _Ready) -> tuple[Tensor, Tensor]:
    """The batch for use on the calling thread's current CUDA stream."""
    if batch.copied is not None:
        current = torch.cuda.current_stream(batch.x_BT.device)
        current.wait_event(batch.copied)
        for tensor in (batch.x_BT, batch.y_BT):
            # The tensor was made on the thread's CUDA stream: while it is in use, no later batch may get its memory.
            tensor.record_stream(current)
    return batch.x_BT, batch.y_BT
