"""Prefetched batches: the right ones in order, no more than `depth` ahead, and no thread left behind."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data import Batches, make_batches, open_stream
from model.prefetch import prefetched
from model.stream import Array
from tests.support.model_shards import random_documents, write_shard

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    folder = tmp_path_factory.mktemp("tokens")
    write_shard(folder / "a.parquet", random_documents(80))
    return make_batches(open_stream(folder, folder), 16, 16 * 12, seed=7, start=(2, 24))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


class Watched(Batches):
    """Batches that record which of them were made, and may fail at a step."""

    made: list[int]
    failing: int
    error: type[BaseException]
    enough: threading.Event  # set once `made` holds as many as `awaited`
    awaited: int

    def rows(self, step: int, rank: int = 0, world: int = 1) -> Array:
        if step == self.failing:
            raise self.error(f"at step {step}")
        self.made.append(step)
        if len(self.made) == self.awaited:
            self.enough.set()
        return super().rows(step, rank, world)


def watched(batches: Batches, failing: int = -1, awaited: int = 0, error: type[BaseException] = MemoryError) -> Watched:
    copy = Watched(batches.stream, batches.context, batches.batch_size, batches.seed, batches.start)
    watching = {"made": [], "failing": failing, "error": error, "enough": threading.Event(), "awaited": awaited}
    for name, value in watching.items():
        object.__setattr__(copy, name, value)
    return copy


def assert_batch(found: tuple[torch.Tensor, torch.Tensor], batches: Batches, step: int, rank: int, world: int) -> None:
    for tensor, array in zip(found, batches.batch(step, rank, world), strict=True):
        assert tensor.dtype == torch.int64
        assert tensor.is_contiguous()
        assert np.array_equal(tensor.cpu().numpy(), array)


@settings(max_examples=40)
@given(
    steps=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    depth=st.integers(1, 5),
    place=st.sampled_from([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)]),
)
def test_batches_in_order(batches: Batches, steps: tuple[int, int], depth: int, place: tuple[int, int]) -> None:
    with prefetched(batches, *steps, *place, CPU, depth) as ahead:
        found = list(ahead)
    assert len(found) == max(0, steps[1] - steps[0])
    for step, batch in zip(range(*steps), found, strict=True):
        assert_batch(batch, batches, step, *place)


def test_ids_above_32767_and_wide_ids_arrive_as_they_are(tmp_path: Path) -> None:
    for vocabulary in (65_536, 200_000):
        folder = tmp_path / str(vocabulary)
        write_shard(folder / "a.parquet", [list(range(vocabulary - 40, vocabulary))], vocabulary, vocabulary - 1)
        batches = make_batches(open_stream(folder, folder, 0), 8, 16, 0)
        with prefetched(batches, 0, 3, 0, 1, CPU) as ahead:
            for step, batch in enumerate(ahead):
                assert int(batch[0].min()) >= vocabulary - 40
                assert_batch(batch, batches, step, 0, 1)


def test_no_more_are_made_than_asked_for(batches: Batches) -> None:
    counted = watched(batches, awaited=3)
    with prefetched(counted, 2, 100, 0, 1, CPU, depth=3) as ahead:
        assert counted.enough.wait(60)
        counted.enough.clear()
        counted.enough.wait(0.05)  # time in which a wrong thread would make one more
        assert counted.made == [2, 3, 4]
        object.__setattr__(counted, "awaited", 5)
        for _ in itertools.islice(ahead, 2):
            pass
        assert counted.enough.wait(60)
        assert len(counted.made) == 5
    assert counted.made == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_an_error_of_the_thread_is_raised_where_its_batch_is_awaited(
    batches: Batches, error: type[BaseException]
) -> None:
    seen = []

    def consume(ahead: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
        seen.extend(x_BT for x_BT, _ in ahead)

    with prefetched(watched(batches, failing=5, error=error), 2, 100, 0, 1, CPU, depth=4) as ahead:
        with pytest.raises(error, match="at step 5"):
            consume(ahead)
        assert len(seen) == 3
    with (
        prefetched(batches, 2, 100, 0, 5, CPU) as ahead,
        pytest.raises(ValueError, match="5 processes: should divide the batch of 12 windows"),
    ):
        next(ahead)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_leaving_early_ends_the_thread(batches: Batches, error: type[BaseException]) -> None:
    counted = watched(batches)
    kept = []

    def leave() -> None:
        with prefetched(counted, 2, 10**9, 0, 1, CPU) as ahead:
            kept.append(ahead)
            next(ahead)
            raise error

    with pytest.raises(error):
        leave()
    assert len(counted.made) <= 3
    assert list(kept[0]) == []  # without waiting for the thread, which has ended
    with prefetched(counted, 2, 10**9, 0, 1, CPU):
        pass


def test_an_interrupt_while_a_batch_is_awaited_ends_the_thread(batches: Batches) -> None:
    """As with Ctrl-C: the signal arrives while the consumer waits for the thread."""
    awaited, first, over = threading.Event(), threading.Event(), threading.Event()

    class Slow(Batches):
        def rows(self, step: int, rank: int = 0, world: int = 1) -> Array:
            if step == 3:
                awaited.set()
                over.wait(60)
            return super().rows(step, rank, world)

    slow = Slow(batches.stream, batches.context, batches.batch_size, batches.seed, batches.start)

    def interrupt() -> None:
        assert awaited.wait(60)
        assert first.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        over.set()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()

    def run() -> None:
        with prefetched(slow, 2, 10**9, 0, 1, CPU) as ahead:
            for _ in ahead:
                first.set()

    with pytest.raises(KeyboardInterrupt):
        run()
    interrupter.join()


@pytest.mark.gpu
def test_batches_on_a_gpu_are_whole_when_they_are_used(tmp_path: Path) -> None:
    """Computation keeps the consumer's CUDA stream busy, so that a missing wait for a copy would give wrong sums."""
    write_shard(tmp_path / "a.parquet", [[i % 60_000 for i in range(2_000_000)]], 60_001, 60_000)
    batches = make_batches(open_stream(tmp_path, tmp_path, 0), 1024, 1024 * 256, 0)
    cuda = torch.device("cuda")
    busy = torch.randn(4096, 4096, device=cuda)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream), prefetched(batches, 0, 40, 0, 1, cuda, depth=3) as ahead:
            sums = []
            for x_BT, y_BT in ahead:
                assert x_BT.is_cuda
                assert x_BT.dtype == y_BT.dtype == torch.int64
                busy = (busy @ busy).tanh()
                sums.append(torch.stack([x_BT.sum(), y_BT.sum(), (x_BT * y_BT).sum()]))
                del x_BT, y_BT  # PyTorch may reuse their memory before the sums are computed
            found = torch.stack(sums).tolist()
        for step, three in enumerate(found):
            x_BT, y_BT = (array.astype(np.int64) for array in batches.batch(step))
            assert three == [x_BT.sum(), y_BT.sum(), (x_BT * y_BT).sum()]
