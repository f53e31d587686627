"""Finds lines that many documents have, such as menus, cookie notices and legal text, and removes them; out of core.

Map: `write_line_hashes` writes the hashes of a shard's lines, and in how many of its documents each line is. Reduce:
`repeated_lines` takes one range of hashes from the files of all shards, and finds the hashes of lines that at least
`config.documents` documents have, and the first document that has each. `write_repeated` makes one table of them.
Apply: `remove_lines` removes the lines in this table from a batch of documents.

**A line** is what newlines divide, if it is not blank. With `unit = "paragraph"`, all lines up to a blank one are one.
Lines are equal if their words are equal. Words are runs of letters and digits, with any white space and punctuation
between them (of ASCII, and of the blocks U+0080-00BF, U+2000-206F, U+3000-303F, U+FF00-FF20 and U+FF5B-FF65). Letters
of ASCII, Latin-1, Greek and Cyrillic are compared in lower case, ASCII digits as 0, and all other characters as they
are, so that accents make a difference. In scripts without spaces (Thai, Lao, Myanmar, Khmer, Kana, Han) each character
is a word. With `match = "numbers"`, digits are compared as they are; with `match = "exact"`, lines are equal if all
their bytes are, but for white space at the end. Words are hashed as the text is read, and a line is known by 64 bits:
among 10^9 different lines, any two have one hash with a probability of 3 %.

**Where this comes from.** CCNet (Wenzek et al. 2019, arXiv:1911.00359) hashes paragraphs in lower case, with digits as
0 and without punctuation. It drops every paragraph whose hash occurs twice in a few shards, the first one too. C4
(Raffel et al. 2020, arXiv:1910.10683) keeps one of equal spans of three sentences; its published code keeps one of
equal lines, in one document. Both call a line repeated that is in two documents, and that costs much: FineWeb (Penedo
et al. 2024, arXiv:2406.17557) lost three quarters of its tokens by it and trained worse models. Llama 3 (2024,
arXiv:2407.21783, section 3.1.1) removes lines that appear more than 6 times in 30 million documents, and trained
better ones. Hence `documents = 7`: boilerplate is in many documents, a quotation in two.

**What is left** of a text is, byte for byte, its lines that stay. Between two lines that stay, of the white space
around the removed lines, the stretch with the most newlines remains, so that no paragraph runs into another. White
space before the first line and after the last remains as well. With `keep_first`, a repeated line stays where it comes
first, in the first document that has it, and nowhere else, not even later in that document. A text without repeated
lines is unchanged. A line that is repeated within too few documents stays: filters of repetition look for these. A
document that lost lines and has fewer than `min_kept_words` words left is dropped; with 0, a document of which nothing
is left stays, with an empty text.

A file of line hashes is a file of records by slots (`corpus.dedup.slots`), each of two words of 8 bytes: the hash, and
documents << 32 | first row within the shard. A slot is an equal range of hashes, so partition `part` of `parts` is one
short read and one long read of each file. One record stands for all documents of a shard, so
that a line which a third of the corpus has makes no more than one record a shard.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bpe.texts import from_arrow, utf8
from corpus.dedup.lines.config import Config
from corpus.dedup.lines.kernels import lines as line_kernels
from corpus.dedup.lines.kernels import repeated as kernels
from corpus.dedup.lines.kernels.repeated import Repeated
from corpus.dedup.sections import room
from corpus.dedup.slots import SLOTS, PairFile, read_records, read_slots, slot_words
from corpus.schema import Drop, Outcome, dropped_rows, replace_column

NAME = "lines"
LINES_REMOVED = pa.field("lines_removed", pa.int32())  # the column that the stage adds to DOCUMENTS

_RECORD = 16  # bytes
_BUCKET = 8192  # records that are grouped at a time, on average: they and their hash table fit into a core's own cache
_HAS_CHECKSUM = 1 << 63  # in the last word of a table: a CRC-32 of the table is before the last two words
_READ = 4 << 20  # bytes of a file that are read at a time
_PIECE = 1 << 20  # prefixes that are looked up in the table of repeated lines at a time


def write_line_hashes(texts: Iterable[pa.RecordBatch], target: Path, config: Config) -> tuple[int, int]:
    """Write the hashes of a shard's lines, from the column `text` of its batches; returns (documents, records).

    In memory are 24 bytes for each line, three times. A null text counts as an empty one.
    """
    documents, records, starts = line_records(texts, config)
    packed = np.stack([records[:, 0], records[:, 2] << np.uint64(32) | records[:, 1]], axis=1)
    with target.open("wb") as file:
        file.write(slot_words(packed.astype("<u8", copy=False), starts).data)
        file.write(packed.astype("<u8", copy=False).data)
    return documents, len(records)


def line_records(texts: Iterable[pa.RecordBatch], config: Config) -> tuple[int, NDArray[np.uint64], NDArray[np.int64]]:
    """(documents, records, starts) of the lines in the column `text` of the batches.

    records  uint64[m, 3]: a line's hash, the row of the first document that has it, the number of documents that do
    starts   int64[SLOTS + 1]: where the records of each slot begin
    """
    documents = 0
    parts = [np.empty((0, 3), np.uint64)]
    for batch in texts:
        column = _column(batch.column("text"))
        size = column.texts.offsets[-1] - column.texts.offsets[0]
        # A word takes a byte, and a byte stands before the next word. Records that are not written take no memory.
        records = np.empty((size // (2 * config.min_words) + batch.num_rows, 3), np.uint64)
        count = line_kernels.hash_lines(column.texts, _rule(config), np.uint64(documents), column.lines, records)
        parts.append(records[:count].copy())
        documents += batch.num_rows
    return documents, *_merged(np.concatenate(parts), 0, SLOTS)


def lines_of(text: str, config: Config) -> tuple[NDArray[np.uint64], list[str]]:
    """(hashes uint64[n], lines) of the lines of one text that have enough words, in order."""
    array = pa.array([utf8(text)], pa.large_string())
    column = _column(array)
    records = np.empty((column.texts.offsets[-1] // (2 * config.min_words) + 1, 3), np.uint64)
    count = line_kernels.hash_lines(column.texts, _rule(config), np.uint64(0), column.lines, records)
    places = np.flatnonzero(column.lines.words >= config.min_words)[:count]  # behind the lines is unwritten memory
    bounds = zip(column.lines.begins[places].tolist(), column.lines.stops[places].tolist(), strict=True)
    data = column.texts.content.tobytes()
    return records[:count, 0], [data[begin:stop].decode() for begin, stop in bounds]


def repeated_lines(
    files: Sequence[PairFile], part: int, parts: int, config: Config, threads: int = 1
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(hashes, row of the first document of each) of one partition's repeated lines: uint64[m] each, by hash.

    `files` are files of line hashes, in the order of their rows; rows count over all of them. `parts` is a power of two
    up to 1024. Up to `threads` reads are under way at a time. In memory are 24 bytes for each record of the partition,
    twice. Raises ValueError naming a file that does not hold line hashes or ends too early.
    """
    if not 0 <= part < parts <= SLOTS or parts & (parts - 1):
        raise ValueError(f"partition {part} of {parts}: the number of partitions is a power of two up to {SLOTS}")
    with ThreadPoolExecutor(threads) as pool:
        slots = SLOTS // parts
        places = list(pool.map(lambda file: read_slots(file, part * slots, slots, _RECORD, "line hashes"), files))
        starts = np.cumsum([0, *(place.bounds[-1] - place.bounds[0] for place in places)])
        records = room(starts, np.uint64, files)
        first, last = part * (2**64 // parts), (part + 1) * (2**64 // parts) - 1

        def fill(number: int) -> None:
            words = np.frombuffer(read_records(files[number], places[number]), "<u8").reshape(-1, 2)
            target = records[starts[number] : starts[number + 1]]
            target[:, 0] = words[:, 0]
            if len(target) and not (first <= target[:, 0].min() and target[:, 0].max() <= last):
                raise ValueError(
                    f"{files[number].name}: hashes of another partition than {part} of {parts}; "
                    "remove it to make it again"
                )
            target[:, 1] = (words[:, 1] & np.uint64(2**32 - 1)) + np.uint64(files[number].first_row)
            target[:, 2] = words[:, 1] >> np.uint64(32)

        list(pool.map(fill, range(len(files))))
    merged, _ = _merged(records, parts.bit_length() - 1, len(records) // _BUCKET)
    return repeated_records(merged, config)


def repeated_records(records: NDArray[np.uint64], config: Config) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(hashes, row of the first document of each) of the repeated lines among records of `line_records`, by hash."""
    repeated = records[records[:, 2] >= config.documents]
    repeated = repeated[np.argsort(repeated[:, 0])]
    return repeated[:, 0].copy(), repeated[:, 1].copy()


def write_repeated(parts: Iterable[tuple[NDArray[np.uint64], NDArray[np.uint64]]], target: Path) -> int:
    """Write the repeated lines of all partitions, in order, as one table; returns the number of lines in it.

    One partition is in memory at a time. Raises ValueError if their hashes are not in order.
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
        file.flush()
        file.write(np.array([_checksum(target, file.tell()), count, starts | _HAS_CHECKSUM], "<u8").data)
    return count


def open_repeated(path: Path) -> Repeated:
    """The table that `write_repeated` wrote, mapped into the address space: it may be larger than the memory.

    It is read once from beginning to end. Raises ValueError naming a file that is no such table, or is damaged.
    """
    size = path.stat().st_size
    words = np.memmap(path, "<u8", "r") if size and not size % 8 else np.zeros(1, np.uint64)
    count, last = words[-2:].tolist() if len(words) > 3 else (0, 0)
    starts = last & ~_HAS_CHECKSUM
    end = len(words) - (3 if last & _HAS_CHECKSUM else 2)  # a table of an earlier version has no checksum
    whole = starts >= 3 and not (starts - 1) & (starts - 2) and end == 2 * count + starts
    if not whole or words[2 * count] != 0 or words[end - 1] != count:
        raise ValueError(f"{path}: not a table of repeated lines; remove it to make it again")
    if last & _HAS_CHECKSUM and words[end] != _checksum(path, 8 * end):
        raise ValueError(f"{path}: differs from its checksum; remove it to make it again")
    return Repeated(words[:count], words[count : 2 * count], words[2 * count : end].view("<i8"))


def _checksum(path: Path, size: int) -> int:
    """The CRC-32 of the first `size` bytes of a file."""
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(min(_READ, size - file.tell())):
            checksum = zlib.crc32(data, checksum)
    return checksum


def repeated_table(hashes: NDArray[np.uint64], first: NDArray[np.uint64]) -> Repeated:
    """The table of these hashes (sorted) and the rows of their first documents, in memory."""
    return Repeated(hashes, first, np.concatenate([*_starts(hashes)]))


def remove_lines(batch: pa.RecordBatch, first_row: int, repeated: Repeated, config: Config) -> Outcome:
    """The documents of `batch` without repeated lines, and with `lines_removed`.

    `first_row` is the row of the first document; rows count over all shards, as for `repeated_lines`. A document that
    lost lines and has fewer than `config.min_kept_words` words left is dropped, with the text that it had.
    """
    texts = batch.column("text")
    column, count = _column(texts), batch.num_rows
    offsets = column.texts.offsets
    trimmed = kernels.Trimmed(
        np.empty(offsets[-1] - offsets[0], np.uint8),
        np.zeros(count + 1, np.int64),
        np.empty(count, np.int32),
        np.empty(count, np.int64),
    )
    room_for = len(column.lines.hashes)
    marks = kernels.Marks(np.empty(room_for, np.bool_), np.empty(4 * room_for, np.int32))
    row = np.uint64(first_row)
    any_removed = kernels.remove_lines(
        column.texts, _rule(config), config.keep_first, row, repeated, column.lines, marks, trimmed
    )
    kept = replace_column(batch, LINES_REMOVED.name, pa.array(trimmed.removed))
    if any_removed:
        buffers = [None, pa.py_buffer(trimmed.offsets), pa.py_buffer(trimmed.content)]
        left = pa.Array.from_buffers(pa.large_string(), count, buffers).cast(texts.type)
        kept = replace_column(kept, "text", pc.if_else(texts.is_valid(), left, None) if texts.null_count else left)
    few = (trimmed.removed > 0) & (trimmed.words < config.min_kept_words)
    drops = {
        row: Drop(f"{NAME}.min_kept_words", int(trimmed.words[row]), config.min_kept_words)
        for row in np.flatnonzero(few).tolist()
    }
    return Outcome(kept.filter(pa.array(~few)) if drops else kept, dropped_rows(batch, NAME, drops), ~few)


class _Column(NamedTuple):
    """The texts of a column as the kernels read them, and room for the lines of one of them."""

    texts: line_kernels.LineTexts
    lines: line_kernels.Lines


def _column(texts: pa.Array) -> _Column:
    content, offsets = from_arrow(texts)
    sizes = np.diff(offsets)
    at_the_end = offsets[1:] + line_kernels.PADDING > len(content)
    tail = np.zeros(sizes[at_the_end].max(initial=0) + line_kernels.PADDING, np.uint8)
    most = int(sizes.max(initial=0)) // 2 + 1  # memory that is not written to takes none
    kinds = (np.uint64, np.int32, np.int64, np.int64)
    return _Column(
        line_kernels.LineTexts(content, offsets, tail), line_kernels.Lines(*(np.empty(most, kind) for kind in kinds))
    )


def _rule(config: Config) -> line_kernels.LineRule:
    digits = np.uint64(0 if config.match == "folded" else 2**64 - 1)
    return line_kernels.LineRule(config.unit == "paragraph", config.min_words, digits, config.match == "exact")


def _merged(records: NDArray[np.uint64], skipped: int, buckets: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(one record for each hash, starts[buckets + 1]): the records by buckets, which are equal ranges of hashes.

    There are at least two buckets, a power of two. All hashes have equal `skipped` highest bits.
    """
    bits = max(1, (buckets - 1).bit_length())
    starts = np.zeros((1 << bits) + 1, np.int64)
    grouped = np.empty_like(records)
    kernels.partition_lines(records, np.uint64(64 - skipped - bits), starts, grouped)
    largest = int(np.diff(starts).max())
    table = np.empty(2 << largest.bit_length(), np.int32)
    count = kernels.merge_lines(grouped, starts, table, np.empty(largest, np.uint64))
    return grouped[:count], starts


def _starts(hashes: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Where the hashes with each prefix begin, in pieces. Prefixes are so long that about six hashes have each."""
    bits = max(1, len(hashes).bit_length() - 2)
    for begin in range(0, 1 << bits, _PIECE):
        firsts = np.arange(begin, min(begin + _PIECE, 1 << bits), dtype=np.uint64) << np.uint64(64 - bits)
        yield np.searchsorted(hashes, firsts).astype(np.int64)
    yield np.array([len(hashes)], np.int64)
