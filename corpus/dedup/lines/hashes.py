"""Lines that many documents have -> documents without them: menus, cookie notices, legal text, out of core.

Map: `write_line_hashes` writes the hashes of each unit's lines, and in how many of its documents each is. Reduce:
`repeated_lines` takes one range of hashes out of every unit's file, and answers which are in at least
`config.documents` documents, and which document has each first. `write_repeated` makes one table of these answers.
Apply: `remove_lines` takes the lines in the table out of a batch of documents.

**A line** is what newlines divide, if it is not blank. With `unit = "paragraph"` all lines up to a blank one are one.
Lines are equal if their words are: runs of letters and digits, with any white space and punctuation between (ASCII, and
the blocks U+0080-00BF, U+2000-206F, U+3000-303F, U+FF00-FF20 and U+FF5B-FF65). Letters of ASCII, Latin-1, Greek and
Cyrillic count in lower case, ASCII digits as 0, other characters as they are, so that accents make a difference. Each
character of a script without spaces is a word (Thai, Lao, Myanmar, Khmer, Kana, Han). Words are hashed as the text is
read, and a line is known by 64 bits: among 10^9 different lines, any two are taken for one with a probability of 3 %.

**Where this comes from.** CCNet (Wenzek et al. 2019, arXiv:1911.00359) drops every paragraph, lower case, digits 0,
punctuation dropped, whose hash another one has in the same few shards, the first one too. C4 (Raffel et al. 2020,
arXiv:1910.10683) keeps one of each span of three sentences; its published code keeps one of each line, in one document.
Both take a line in two documents for repeated, which costs much: FineWeb (Penedo et al. 2024, arXiv:2406.17557) lost
three quarters of its tokens by it and trained worse models. Llama 3 (2024, arXiv:2407.21783, section 3.1.1) removes
lines that appear more than 6 times in 30 million documents, and trained better ones. Hence `documents = 7`: boilerplate
is in many documents, a quotation in two.

**What is left** of a text is, byte for byte, its lines that stay. Of the white space around removed lines, the part
with most newlines remains, so that no paragraph runs into another; what comes before the first line and after the last
remains as well. With `keep_first`, a repeated line stays where it comes first, in the first document that has it, and
nowhere else, not even in that document. A text without repeated lines is unchanged. A line that occurs often in too
few documents is left alone: that is for a filter of repetitions within a document.

A file of line hashes is little-endian uint64 words: SLOTS + 1 byte offsets, then for each slot its records of two
words, the hash, and documents << 32 | first row within the unit. A slot is an equal range of hashes, so partition
`part` of `parts` is one short read and one long one of each file. A record stands for all documents of a unit, so that
a line which a third of the corpus has is no more than one record a unit.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bpe.texts import from_arrow
from corpus.dedup.lines.config import Config
from corpus.dedup.sections import read_range, room
from corpus.schema import Drop, Outcome, dropped_rows, replace_column

if TYPE_CHECKING:
    from corpus.dedup.exchange import PairFile

__all__ = [
    "LINES_REMOVED",
    "NAME",
    "SLOTS",
    "Config",
    "Repeated",
    "open_repeated",
    "remove_lines",
    "repeated_lines",
    "repeated_table",
    "write_line_hashes",
    "write_repeated",
]

NAME = "lines"
LINES_REMOVED = pa.field("lines_removed", pa.int32())  # the column that the stage adds to DOCUMENTS
SLOTS = 1024

_HEADER = 8 * (SLOTS + 1)
_RECORD = 16  # bytes
_BUCKET = 8192  # records that are grouped at a time, on average: they and their hash table fit into a core's own cache
_PIECE = 1 << 20  # places in the table of repeated lines that are looked up at a time


class Repeated(NamedTuple):
    """The repeated lines of a corpus, in arrays that may lie in a file."""

    hashes: NDArray[np.uint64]  # sorted
    first: NDArray[np.uint64]  # for each the row of the first document that has it, counted over all units
    starts: NDArray[np.int64]  # hashes that begin with the bits b are those from starts[b] to starts[b + 1]


def write_line_hashes(texts: Iterable[pa.RecordBatch], target: Path, config: Config) -> tuple[int, int]:
    """Write the line hashes of a unit's batches, whose column `text` is read; returns (documents, records).

    In memory are 24 bytes for each line, three times. A null text counts as an empty one.
    """
    from corpus.dedup.lines.kernels import lines as kernels

    documents = 0
    found = [np.empty((0, 3), np.uint64)]
    for batch in texts:
        scratch = _Scratch.of(batch.column("text"))
        size = scratch.texts[1][-1] - scratch.texts[1][0]
        # A word takes a byte and another one before the next; records that are not written take no memory.
        records = np.empty((size // (2 * config.min_words) + batch.num_rows, 3), np.uint64)
        count = kernels.hash_lines(
            *scratch.texts, config.unit == "paragraph", config.min_words, np.uint64(documents), *scratch.room, records
        )
        found.append(records[:count].copy())
        documents += batch.num_rows
    records, starts = _merged(np.concatenate(found), 0, SLOTS)
    packed = np.stack([records[:, 0], records[:, 2] << np.uint64(32) | records[:, 1]], axis=1)
    with target.open("wb") as file:
        file.write((_HEADER + _RECORD * starts).astype("<u8").data)
        file.write(packed.astype("<u8", copy=False).data)
    return documents, len(records)


def repeated_lines(
    sources: Sequence[PairFile], part: int, parts: int, config: Config, threads: int = 1
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(hashes, rows of the first document) of the repeated lines of one partition: uint64[m] each, in order of hashes.

    `sources` are files of line hashes, in the order of their rows, which count over all units; `parts` is a power of
    two, 1024 at the most. Up to `threads` reads are under way at a time. In memory are 24 bytes for each of the
    partition's records, twice. Raises ValueError naming a file that is not one of line hashes or ends too early.
    """
    if not 0 <= part < parts <= SLOTS or parts & (parts - 1):
        raise ValueError(f"partition {part} of {parts}: the number of partitions is a power of two up to {SLOTS}")
    with ThreadPoolExecutor(threads) as pool:
        ranges = list(pool.map(lambda source: _range(source, part, parts), sources))
        starts = np.cumsum([0, *((end - start) // _RECORD for start, end in ranges)])
        records = room(starts, np.uint64, sources)
        first, last = part * (2**64 // parts), (part + 1) * (2**64 // parts) - 1

        def fill(number: int) -> None:
            start, end = ranges[number]
            words = np.frombuffer(read_range(sources[number], start, end - start), "<u8").reshape(-1, 2)
            mine = records[starts[number] : starts[number + 1]]
            mine[:, 0] = words[:, 0]
            if len(mine) and not (first <= mine[:, 0].min() and mine[:, 0].max() <= last):
                raise ValueError(
                    f"{sources[number].name}: hashes of another partition than {part} of {parts}; "
                    "remove it to make it again"
                )
            mine[:, 1] = (words[:, 1] & np.uint64(2**32 - 1)) + np.uint64(sources[number].first_row)
            mine[:, 2] = words[:, 1] >> np.uint64(32)

        list(pool.map(fill, range(len(sources))))
    merged, _ = _merged(records, parts.bit_length() - 1, len(records) // _BUCKET)
    found = merged[merged[:, 2] >= config.documents]
    found = found[np.argsort(found[:, 0])]
    return found[:, 0].copy(), found[:, 1].copy()


def write_repeated(parts: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint64]]], target: Path) -> int:
    """Write what `repeated_lines` found, all partitions in order, as one table; returns the number of lines in it.

    One partition is in memory at a time. Raises ValueError if they are not in order.
    """
    count, last = 0, -1
    with target.open("wb") as file, tempfile.TemporaryFile(dir=target.parent) as rows:
        for hashes, first in parts:
            if len(hashes) and (int(hashes[0]) <= last or (hashes[1:] <= hashes[:-1]).any()):
                raise ValueError(
                    f"{target}: hashes come in another order than sorted, partition 0, 1, 2...; "
                    "remove the folders of the deduplication of lines"
                )
            last = int(hashes[-1]) if len(hashes) else last
            count += len(hashes)
            file.write(hashes.astype("<u8", copy=False).data)
            rows.write(first.astype("<u8", copy=False).data)
        file.flush()
        rows.seek(0)
        written = np.memmap(target, "<u8", "r", shape=count) if count else np.empty(0, np.uint64)
        shutil.copyfileobj(rows, file, 1 << 20)
        starts = 0
        for piece in _starts(written):
            file.write(piece.astype("<u8").data)
            starts += len(piece)
        file.write(np.array([count, starts], "<u8").data)
    return count


def open_repeated(path: Path) -> Repeated:
    """The table that `write_repeated` wrote, mapped into memory: it may be larger than that. Raises ValueError naming
    a file that is none.
    """
    size = path.stat().st_size
    words = np.memmap(path, "<u8", "r") if size and not size % 8 else np.zeros(1, np.uint64)
    count, starts = words[-2:].tolist() if len(words) > 2 else (0, 0)
    whole = starts >= 3 and not (starts - 1) & (starts - 2) and len(words) == 2 * count + starts + 2
    if not whole or words[2 * count] != 0 or words[-3] != count:
        raise ValueError(f"{path}: not a table of repeated lines; remove it to make it again")
    return Repeated(words[:count], words[count : 2 * count], words[2 * count : -2].view("<i8"))


def repeated_table(hashes: NDArray[np.uint64], first: NDArray[np.uint64]) -> Repeated:
    """The table of hashes, sorted, and the rows of their first documents, in memory."""
    return Repeated(hashes, first, np.concatenate([*_starts(hashes)]))


def remove_lines(batch: pa.RecordBatch, first_row: int, repeated: Repeated, config: Config) -> Outcome:
    """The documents of `batch` without repeated lines, and `lines_removed`; `first_row` is the first one's row.

    Rows count over all units, as for `repeated_lines`, before any document is dropped. Dropped, with the text that it
    had, is a document that lost lines and has fewer than `config.min_kept_words` words left.
    """
    from corpus.dedup.lines.kernels import repeated as kernels

    column = batch.column("text")
    scratch = _Scratch.of(column)
    offsets = scratch.texts[1]
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    removed, words = np.empty(batch.num_rows, np.int32), np.empty(batch.num_rows, np.int64)
    most = len(scratch.room[0])
    any_removed = kernels.remove_lines(
        *scratch.texts,
        config.unit == "paragraph",
        config.min_words,
        np.uint64(first_row),
        config.keep_first,
        *repeated,
        *scratch.room,
        np.empty(most, np.bool_),
        np.empty(4 * most, np.int32),
        out,
        out_offsets,
        removed,
        words,
    )
    kept = replace_column(batch, "lines_removed", pa.array(removed))
    if any_removed:
        buffers = [None, pa.py_buffer(out_offsets), pa.py_buffer(out)]
        texts = pa.Array.from_buffers(pa.large_string(), len(column), buffers).cast(column.type)
        kept = replace_column(kept, "text", pc.if_else(column.is_valid(), texts, None) if column.null_count else texts)
    few = (removed > 0) & (words < config.min_kept_words)
    drops = {
        row: Drop(f"{NAME}.min_kept_words", int(words[row]), config.min_kept_words)
        for row in np.flatnonzero(few).tolist()
    }
    return Outcome(kept.filter(pa.array(~few)) if drops else kept, dropped_rows(batch, NAME, drops), ~few)


class _Scratch(NamedTuple):
    """A column's texts as the kernels read them, and room for the lines of one: memory that is not touched is free."""

    texts: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]  # bytes, offsets, room for the last texts
    room: tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]

    @staticmethod
    def of(column: pa.Array) -> _Scratch:
        from corpus.dedup.lines.kernels import lines as kernels

        data, offsets = from_arrow(column)
        sizes = np.diff(offsets)
        at_the_end = offsets[1:] + kernels.PADDING > len(data)
        tail = np.zeros(sizes[at_the_end].max(initial=0) + kernels.PADDING, np.uint8)
        most = int(sizes.max(initial=0)) // 2 + 1
        room = (np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.int64))
        return _Scratch((data, offsets, tail), room)


def _merged(records: NDArray[np.uint64], skipped: int, buckets: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(one record of each hash, starts[buckets + 1]), in a power of two of equal ranges of hashes, at least 2, whose
    `skipped` highest bits are all alike.
    """
    from corpus.dedup.lines.kernels import repeated as kernels

    bits = max(1, (buckets - 1).bit_length())
    starts = np.zeros((1 << bits) + 1, np.int64)
    grouped = np.empty_like(records)
    kernels.partition_lines(records, np.uint64(64 - skipped - bits), starts, grouped)
    largest = int(np.diff(starts).max())
    table = np.empty(2 << largest.bit_length(), np.int32)
    count = kernels.merge_lines(grouped, starts, table, np.empty(largest, np.uint64))
    return grouped[:count], starts


def _starts(hashes: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Where the hashes begin that share their first bits, as many bits as leave about six hashes each; in pieces."""
    bits = max(1, len(hashes).bit_length() - 2)
    for begin in range(0, 1 << bits, _PIECE):
        firsts = np.arange(begin, min(begin + _PIECE, 1 << bits), dtype=np.uint64) << np.uint64(64 - bits)
        yield np.searchsorted(hashes, firsts).astype(np.int64)
    yield np.array([len(hashes)], np.int64)


def _range(source: PairFile, part: int, parts: int) -> tuple[int, int]:
    """Where a partition's records begin and end, bytes."""
    slots = SLOTS // parts
    header = np.frombuffer(read_range(source, 8 * part * slots, 8 * (slots + 1)), "<u8").astype(np.int64)
    if np.diff(header).min() < 0 or header[0] < _HEADER or ((header - _HEADER) % _RECORD).any():
        raise ValueError(f"{source.name}: not a file of line hashes; remove it to make it again")
    return int(header[0]), int(header[-1])
