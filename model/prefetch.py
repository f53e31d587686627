"""Batches made ahead of the updates that use them, by a thread, and on a GPU copied there beside its computation.

The ids of a batch travel as the stream has them, each once and in 2 or 4 bytes, and become inputs and targets of 8
on the device: a fraction of the copy that two arrays of int64 would be. On CUDA the copy leaves pinned memory on a
stream of the thread's own, and the consumer's stream waits for that, not the consumer.
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
    x_BT: Tensor
    y_BT: Tensor
    copied: torch.cuda.Event | None  # None where nothing is asynchronous


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
    """An iterator over the batches of updates `first_step` .. `last_step`-1, as int64 tensors on `device`.

    Each is (inputs, targets), (batch_size / world, context), contiguous; at most `depth` are made before they are
    asked for. On CUDA they belong to the stream that is current where `next` is called. What goes wrong in the
    thread is raised there too. Leaving the context, by whatever way, ends the thread, after the batch that it is
    making; the iterator then has no more.
    """
    room, ready, left = threading.Semaphore(depth), SimpleQueue[_Ready | BaseException](), threading.Event()
    # Made here, since a device without a number is the current one of the thread that asks.
    copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def make() -> None:
        try:
            for step in range(first_step, last_step):
                room.acquire()
                if left.is_set():
                    return
                ready.put(_on_device(batches.rows(step, rank, world), device, copies))
        except BaseException as error:  # noqa: BLE001 - it is the consumer's, who would wait for ever
            ready.put(error)

    def take() -> tuple[Tensor, Tensor]:
        found = ready.get()
        room.release()
        if isinstance(found, BaseException):
            raise found
        return _received(found)

    def all_in_order() -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(first_step, last_step):
            if left.is_set():
                return
            yield take()

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    try:
        thread.start()
        yield all_in_order()
    finally:
        left.set()
        room.release()
        thread.join()


def _on_device(rows_BT: Array, device: torch.device, copies: torch.cuda.Stream | None) -> _Ready:
    """Inputs and targets of rows of context + 1 ids, on `device`."""
    if copies is None:
        return _Ready(*_inputs_and_targets(torch.from_numpy(rows_BT).to(device)), None)
    with torch.cuda.stream(copies):
        pinned_BT = torch.from_numpy(rows_BT).pin_memory()  # not reused before the copy is done: PyTorch sees to it
        x_BT, y_BT = _inputs_and_targets(pinned_BT.to(device, non_blocking=True))
        return _Ready(x_BT, y_BT, copies.record_event())


def _inputs_and_targets(rows_BT: Tensor) -> tuple[Tensor, Tensor]:
    return rows_BT[:, :-1].to(torch.int64), rows_BT[:, 1:].to(torch.int64)


def _received(batch: _Ready) -> tuple[Tensor, Tensor]:
    """The batch for use on the current stream of the thread that calls."""
    if batch.copied is not None:
        current = torch.cuda.current_stream(batch.x_BT.device)
        current.wait_event(batch.copied)
        for tensor in (batch.x_BT, batch.y_BT):  # made on the other stream, whose next batches must not overwrite them
            tensor.record_stream(current)
    return batch.x_BT, batch.y_BT
