"""Counts the different pretokens of texts in one pass. Memory grows with their number, not with the text.

In go texts, out come `Pretokens`. Each thread counts into a table of its own, and at the end the tables are added up.
So the counts depend on the texts alone, not on threads, batches or the order of files; only the order of the pretokens
in `Pretokens` depends on these, and no caller may rely on it.

With a memory budget, a table that would outgrow it is written to a temporary folder, in partitions by hash, and
emptied; at the end the partitions are added up one by one. The counts stay exact (`bpe.spill`).
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
from bpe.kernels.count import LONG_USED, RECORD, SHORT_USED, Counted
from bpe.kernels.scan import BY_REGEX
from bpe.patterns import is_named, scheme
from bpe.regex_split import regex_table
from bpe.spill import Spill
from bpe.texts import Utf8, batches, from_bytes
from bpe.unicode import class_table

RUN_BYTES = 4 << 20  # of texts that a thread counts at a time
FIRST_RECORDS = 1 << 12  # of an empty table; 5/8 of them must hold a batch

Progress = Callable[[str, int, int | None], None]  # ("counting", bytes, None) or ("merging", tokens, wanted)


class Pretokens(NamedTuple):
    """Different pretokens: number i is `content[starts[i] : starts[i + 1]]`, seen `counts[i]` times."""

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
    """Every different pretoken that the texts hold at least `min_count` times, with its count, in any order.

    A text is cut where it names one of `special_tokens`, and the name is not counted. `memory` (bytes) bounds the
    tables of all threads together. Raises TypeError for an item of `texts` that is no text.
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
    """The table of one thread. It grows up to `memory` bytes and is then emptied into `spill`."""

    def __init__(self, spill: Spill, memory: int | None = None) -> None:
        self.spill, self.memory = spill, memory
        self.scratch = np.empty(kernels.SCRATCH, np.int64)
        self._clear()

    def _clear(self) -> None:
        self.table = kernels.Table(
            short=np.zeros(FIRST_RECORDS * RECORD, np.int64),
            slots=np.zeros(1 << 11, np.uint64),
            starts=np.zeros(1 << 10, np.int64),
            counts=np.zeros(1 << 10, np.int64),
            arena=np.empty(1 << 14, np.uint8),
            used=np.zeros(2, np.int64),
        )

    @property
    def nbytes(self) -> int:
        """The bytes of the table; of its arena only the part in use."""
        table = self.table
        fixed = table.short.nbytes + table.slots.nbytes + table.starts.nbytes + table.counts.nbytes
        return int(fixed + table.starts[table.used[LONG_USED]])

    def count(self, texts: Utf8, pattern: str, names: Utf8) -> None:
        """Count the pretokens of `texts`, the `names` in them left out."""
        texts, is_name = cut_at_names(texts, names)
        named = is_named(pattern)
        classes: NDArray[Any] = class_table() if named else regex_table(pattern, texts)
        start, longest = texts.content.ctypes.data, int(np.diff(texts.offsets).max(initial=0))
        run = kernels.Run(
            scheme=scheme(pattern) if named else BY_REGEX,
            classes=classes.ctypes.data,
            text=start,
            limit=start + len(texts.content),
            offsets=texts.offsets,
            skipped=is_name,
            reached=np.zeros(2, np.int64),
        )
        while not kernels.count_pretokens(run, self.table, self.scratch):
            self._make_room(kernels.BATCH, longest)

    def add(self, counted: Counted) -> None:
        """Add the counts of another table."""
        done, size = 0, len(counted.short) // RECORD
        while (done := kernels.add_short(counted, done, self.table)) < size:
            self._make_room(1, 0)
        done, size, longest = 0, len(counted.counts), int(np.diff(counted.starts).max(initial=0))
        while (done := kernels.add_long(counted, done, self.table)) < size:
            self._make_room(1, longest)

    def counted(self) -> Counted:
        """The contents of the table, not copied."""
        table, long = self.table, int(self.table.used[LONG_USED])
        starts = table.starts[: long + 1]
        return Counted(table.short, table.arena[: starts[-1]], starts, table.counts[:long])

    def empty(self) -> None:
        """Write the table to the temporary folder and start a new one."""
        self.spill.write(self.counted())
        self._clear()

    def _make_room(self, new: int, new_bytes: int) -> None:
        """Make room for `new` more pretokens and `new_bytes` more bytes, by a larger table or an empty one."""
        table = self.table
        short, long = (int(used) + new for used in table.used)
        filled = int(table.starts[table.used[LONG_USED]])
        records, slots = len(table.short), len(table.slots)
        entries, arena = len(table.counts), len(table.arena)
        if 8 * short > 5 * (records // RECORD):
            records *= 2
        if 2 * long >= slots:
            slots *= 2
        if long >= entries:
            entries *= 2
        if filled + new_bytes > arena:
            arena = 2 * filled + new_bytes
        # While an array is copied into a larger one, there are both.
        more = 8 * records * (records > len(table.short))
        more += 8 * (slots * (slots > len(table.slots)) + 2 * entries * (entries > len(table.counts)))
        if self.memory and self.nbytes + more > self.memory and table.used[SHORT_USED] + filled:
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


def cut_at_names(texts: Utf8, names: Utf8) -> tuple[Utf8, NDArray[np.bool_]]:
    """`texts` cut before and after each name in them, and which of the resulting texts are names."""
    cuts = np.empty(64, np.int64)
    start, places = texts.content.ctypes.data, 0
    while len(names.offsets) > 1:
        places = kernels.cut_at(start, texts.offsets, names.content, names.offsets, cuts)
        if 2 * places <= len(cuts):
            break
        cuts = np.empty(2 * places, np.int64)
    if places == 0:
        return texts, np.zeros(len(texts.offsets) - 1, np.bool_)
    cuts = cuts[: 2 * places]
    offsets = np.sort(np.concatenate([texts.offsets, cuts]), kind="stable")
    # A name starts where a text that is not empty starts; empty texts may lie at that place too.
    is_name = np.isin(offsets[:-1], cuts[::2]) & (np.diff(offsets) > 0)
    return Utf8(texts.content, offsets), is_name


def _added_up(counters: list[Counter], spill: Spill, memory: int | None, min_count: int) -> Iterator[Pretokens]:
    """The sums over all counters and spilled partitions, in parts that share no pretoken."""
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
    """The pretokens seen at least `least` times."""
    records = counted.short.reshape(-1, RECORD)
    frequent = records[:, 2] >= least
    number, size = int(frequent.sum()), int((records[frequent, 1] >> 56).sum())
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
    """`array` with zeros after it up to length `size`; `array` itself if it is as long already."""
    if size <= len(array):
        return array
    larger = np.zeros((size, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
