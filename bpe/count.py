"""Count the different pretokens of texts, in one pass, in memory that grows with their number and not with the text.

In go texts, out come `Pretokens`. Each thread counts into a table of its own, and the tables are added up at the end:
what is counted depends on the texts alone, not on threads, batches or the order of files; only the order in which
`Pretokens` lists them may, and nobody may rely on it.

With a memory budget, a table that would outgrow it is written to a temporary folder, in partitions by hash, and begun
anew; at the end the partitions are added up one by one. That is exact too (see `bpe.spill`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bpe.kernels import count as kernels
from bpe.kernels.split import GIVEN
from bpe.patterns import is_named, scheme
from bpe.regex_split import regex_table
from bpe.spill import Counted, Spill
from bpe.texts import Utf8, batches, from_bytes
from bpe.unicode import class_table

RUN_BYTES = 4 << 20
FIRST_RECORDS = 1 << 12  # must hold a batch at 5/8 full

Progress = Callable[[str, int, int | None], None]  # ("counting", bytes, None) or ("merging", tokens, wanted)


class Pretokens(NamedTuple):
    """Different pretokens: number i is `content[starts[i] : starts[i + 1]]` (uint8), seen `counts[i]` times."""

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]


def count_pretokens(
    texts: Iterable[str] | Iterable[pa.Array],
    pattern: str,
    progress: Progress | None = None,
    special_tokens: Sequence[str] = (),
    threads: int = 1,
    memory: int | None = None,
    min_count: int = 1,
) -> Pretokens:
    """Every different pretoken that the texts hold `min_count` times or oftener, and how often; in no given order.

    A text is cut where it names one of `special_tokens`, and the name is not counted. `memory` (bytes) bounds the
    tables of all threads together. Raises ValueError for texts that are none.
    """
    runs, lock, stop = batches(texts, RUN_BYTES), threading.Lock(), threading.Event()
    names = from_bytes(sorted((name.encode() for name in special_tokens), key=len, reverse=True))
    done = 0

    def next_run() -> Utf8 | None:
        nonlocal done
        with lock:
            run = None if stop.is_set() else next(runs, None)
            if run is not None:
                done += run.size
                if progress:
                    progress("counting", done, None)
            return run

    def work(counter: Counter) -> None:
        while (run := next_run()) is not None:
            counter.count(run, pattern, names)

    with Spill() as spill:
        counters = [Counter(spill, memory and memory // threads) for _ in range(threads)]
        if threads == 1:
            work(counters[0])
        else:
            with ThreadPoolExecutor(threads) as pool:
                try:
                    for future in [pool.submit(work, counter) for counter in counters]:
                        future.result()
                finally:
                    stop.set()
        return _joined(list(_added_up(counters, spill, memory, min_count)))


class Counter:
    """The table of one thread. It grows up to `memory` bytes, then it is emptied into `spill`."""

    def __init__(self, spill: Spill, memory: int | None = None) -> None:
        self.spill, self.memory = spill, memory
        self.state = np.zeros(kernels.STATE, np.int64)
        self.scratch = np.empty(kernels.SCRATCH, np.int64)
        self._clear()

    def _clear(self) -> None:
        self.state[[kernels.SHORT_USED, kernels.LONG_USED]] = 0
        self.table = kernels.Table(
            short=np.zeros(FIRST_RECORDS * kernels.RECORD, np.int64),
            slots=np.zeros(1 << 11, np.uint64),
            starts=np.zeros(1 << 10, np.int64),
            counts=np.zeros(1 << 10, np.int64),
            arena=np.empty(1 << 14, np.uint8),
        )

    @property
    def nbytes(self) -> int:
        """What the table takes, the arena only as far as it is filled."""
        table = self.table
        fixed = table.short.nbytes + table.slots.nbytes + table.starts.nbytes + table.counts.nbytes
        return int(fixed + table.starts[self.state[kernels.LONG_USED]])

    def count(self, run: Utf8, pattern: str, names: Utf8) -> None:
        """Count the pretokens of `run`, but for the names in it."""
        run, skipped = cut_at_names(run, names)
        named = is_named(pattern)
        classes: NDArray[Any] = class_table() if named else regex_table(pattern, run)
        start, longest = run.content.ctypes.data, int(np.diff(run.offsets).max(initial=0))
        self.state[[kernels.TEXT, kernels.BYTE]] = 0
        while not kernels.count_pretokens(
            scheme(pattern) if named else GIVEN,
            start,
            start + len(run.content),
            run.offsets,
            skipped,
            classes.ctypes.data,
            self.state,
            self.table,
            self.scratch,
        ):
            self._make_room(kernels.BATCH, longest)

    def add(self, counted: Counted) -> None:
        """Add what was counted elsewhere."""
        done, number = 0, len(counted.short) // kernels.RECORD
        while (done := kernels.add_short(counted.short, done, self.state, self.table)) < number:
            self._make_room(1, 0)
        done, number, longest = 0, len(counted.counts), int(np.diff(counted.starts).max(initial=0))
        while done < number:
            done = kernels.add_long(counted.content, counted.starts, counted.counts, done, self.state, self.table)
            if done < number:
                self._make_room(1, longest)

    def counted(self) -> Counted:
        """The table as it is, without copying."""
        table, long = self.table, int(self.state[kernels.LONG_USED])
        starts = table.starts[: long + 1]
        return Counted(table.short, table.arena[: starts[-1]], starts, table.counts[:long])

    def empty(self) -> None:
        """Spill the table."""
        self.spill.write(self.counted())
        self._clear()

    def _make_room(self, new: int, new_bytes: int) -> None:
        """Room for `new` more pretokens and `new_bytes` more bytes, in a larger table or in one begun anew."""
        short, long = (int(used) + new for used in self.state[[kernels.SHORT_USED, kernels.LONG_USED]])
        table = self.table
        filled = int(table.starts[self.state[kernels.LONG_USED]])
        records, slots = len(table.short), len(table.slots)
        entries, arena = len(table.counts), len(table.arena)
        if 8 * short > 5 * (records // kernels.RECORD):
            records *= 2
        if 2 * long >= slots:
            slots *= 2
        if long >= entries:
            entries *= 2
        if filled + new_bytes > arena:
            arena = 2 * filled + new_bytes
        # While records are moved, the old table is there beside the new one.
        more = 8 * (records % len(table.short) + records * (records > len(table.short)))
        more += 8 * (slots * (slots > len(table.slots)) + 2 * entries * (entries > len(table.counts)))
        if self.memory and self.nbytes + more > self.memory and self.state[kernels.SHORT_USED] + filled:
            self.empty()
            return
        if records > len(table.short):
            larger = np.zeros(records, np.int64)
            kernels.rehash_short(table.short, larger)
            table = table._replace(short=larger)
        if slots > len(table.slots):
            larger_slots = np.zeros(slots, np.uint64)
            kernels.rehash_long(table.slots, larger_slots)
            table = table._replace(slots=larger_slots)
        self.table = table._replace(
            starts=enlarged(table.starts, entries),
            counts=enlarged(table.counts, entries),
            arena=enlarged(table.arena, arena),
        )


def cut_at_names(run: Utf8, names: Utf8) -> tuple[Utf8, NDArray[np.bool_]]:
    """`run` cut before and after each name that stands in it, and which of the texts now are such names."""
    cuts = np.empty(64, np.int64)
    start = run.content.ctypes.data
    while len(names.offsets) > 1:
        found = kernels.cut_at(start, run.offsets, names.content, names.offsets, cuts)
        if 2 * found <= len(cuts):
            break
        cuts = np.empty(2 * found, np.int64)
    else:
        found = 0
    if found == 0:
        return run, np.zeros(len(run.offsets) - 1, np.bool_)
    cuts = cuts[: 2 * found]
    offsets = np.sort(np.concatenate([run.offsets, cuts]), kind="stable")
    # A text starts a name where its first byte does; empty texts may lie at the same place, before or behind it.
    skipped = np.isin(offsets[:-1], cuts[::2]) & (np.diff(offsets) > 0)
    return Utf8(run.content, offsets), skipped


def _added_up(counters: list[Counter], spill: Spill, memory: int | None, min_count: int) -> Iterator[Pretokens]:
    """What all counters and the spilled partitions hold together, in disjoint parts."""
    whole = counters[0]
    while len(counters) > 1:
        other = counters.pop()
        whole.memory = memory and memory - sum(counter.nbytes for counter in counters[1:]) - other.nbytes
        whole.add(other.counted())
    if not spill.used:
        yield _pretokens(whole.counted(), min_count)
        return
    whole.empty()
    counters.clear()
    for blocks in spill.partitions():
        part = Counter(spill)
        for block in blocks:
            part.add(block)
        yield _pretokens(part.counted(), min_count)


def _pretokens(counted: Counted, least: int) -> Pretokens:
    records = counted.short.reshape(-1, kernels.RECORD)
    wanted = records[:, 2] >= least
    number, size = int(wanted.sum()), int((records[wanted, 1] >> 56).sum())
    content, starts = np.empty(size, np.uint8), np.empty(number + 1, np.int64)
    counts = np.empty(number, np.int64)
    kernels.unpack_short(counted.short, least, content, starts, counts)
    short = Pretokens(content, starts, counts)
    if not len(counted.counts):
        return short
    kept = np.flatnonzero(counted.counts >= least)
    long = from_bytes([counted.content[counted.starts[i] : counted.starts[i + 1]].tobytes() for i in kept])
    return _joined([short, Pretokens(long.content, long.offsets, counted.counts[kept])])


def _joined(parts: list[Pretokens]) -> Pretokens:
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.content) for part in parts)])
    starts = [part.starts[:-1] + start for part, start in zip(parts, before, strict=False)]
    return Pretokens(
        np.concatenate([part.content for part in parts]),
        np.concatenate([*starts, before[-1:]]),
        np.concatenate([part.counts for part in parts]),
    )


def enlarged(array: NDArray[Any], size: int) -> NDArray[Any]:
    """`array` with zeros behind it up to `size`; itself where it is that long already."""
    if size <= len(array):
        return array
    larger = np.zeros((size, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
