"""Texts from files: Parquet files, folders of them, datasets with commit records, text files and JSON lines.

In goes a path, out come Arrow arrays or strings, in pieces, so that no file is held in memory whole. Text files and
JSON lines may be compressed with gzip or Zstandard (.gz, .zst; the latter needs the package `zstandard`).

A Parquet column may hold string, large_string or string_view, dictionary-encoded or not. Binary is not text.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpe.checksums import open_parquet, read_json
from bpe.texts import utf8

PACKED = ("", ".gz", ".zst")
TEXT_ENDINGS = tuple(f".txt{packed}" for packed in PACKED)
JSON_ENDINGS = tuple(f".jsonl{packed}" for packed in PACKED)
ROWS = 4096  # of Parquet, read at a time
RUN_BYTES = 1 << 20  # of a text file, read at a time
PACKED_BYTES = 1 << 14  # of Zstandard, unpacked at a time


def files_of(source: Path) -> list[Path]:
    """The files of a source, in order: the file itself, or those in a folder.

    A folder with `_units/` is a dataset. Its files are those that a commit record names as documents; a run may have
    left others there. Raises FileNotFoundError or ValueError, naming the source and the fix.
    """
    if source.is_file():
        if not source.name.endswith((".parquet", *TEXT_ENDINGS, *JSON_ENDINGS)):
            known = ", ".join((".parquet", *TEXT_ENDINGS, *JSON_ENDINGS))
            raise ValueError(f"{source}: unknown kind of file; give one that ends in {known}")
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such file or folder")
    if (source / "_units").is_dir():
        files = [file for record in sorted((source / "_units").glob("*.json")) for file in _documents_of(record)]
        if not files:
            raise ValueError(f"{source}: its commit records name no documents; did the run finish?")
        return files
    files = sorted(file for file in source.iterdir() if file.name.endswith((".parquet", *TEXT_ENDINGS, *JSON_ENDINGS)))
    if not files:
        raise FileNotFoundError(f"{source}: no *.parquet in this folder, nor *.txt or *.jsonl (.gz, .zst)")
    return files


def read_texts(
    files: Iterable[Path], column: str = "text", limit: int | None = None, sample: float | None = None, seed: int = 0
) -> Iterator[pa.Array | str]:
    """The texts of the files, in order: a column of Parquet or JSON lines, or runs of lines of a text file.

    `sample` (0 to 1) is the share of documents that are kept. The bytes of a document and `seed` alone decide, not the
    files or their order. Of a text file, each run of lines of about 1 MB is kept or left out. `limit` is in bytes of
    text; the document that reaches it is the last.

    Raises ValueError naming file (and line) for a column that is missing or holds no text, and for compressed data
    that are cut short or damaged.
    """
    if sample is not None and not 0 < sample <= 1:
        raise ValueError(f"sample = {sample}: should be above 0 and at most 1")
    if limit is not None and limit < 1:
        raise ValueError(f"limit = {limit}: should be at least 1 byte")
    texts = _all_texts(files, column)
    if sample is not None:
        texts = sampled(texts, sample, seed)
    return texts if limit is None else _limited(texts, limit)


def _all_texts(files: Iterable[Path], column: str) -> Iterator[pa.Array | str]:
    for file in files:
        if file.name.endswith(".parquet"):
            yield from _read_parquet(file, column)
        elif file.name.endswith(JSON_ENDINGS):
            yield from _read_json_lines(file, column)
        else:
            yield from _read_text(file)


def sampled(texts: Iterable[pa.Array | str], share: float, seed: int = 0) -> Iterator[pa.Array | str]:
    """A share (0 to 1) of the texts: those whose bytes have a small hash under `seed`, so the order does not matter."""
    if share == 1:
        yield from texts
        return
    bound, key = int(share * 2**64), seed.to_bytes(8, "little", signed=True)

    def is_kept(text: str | None) -> bool:
        digest = hashlib.blake2b(utf8(text or ""), digest_size=8, key=key).digest()
        return int.from_bytes(digest, "little") < bound

    for item in texts:
        if isinstance(item, str):
            if is_kept(item):
                yield item
        else:
            strings = item.cast(pa.large_string())
            yield strings.filter(pa.array([is_kept(text) for text in strings.to_pylist()], pa.bool_()))


def _limited(texts: Iterable[pa.Array | str], limit: int) -> Iterator[pa.Array | str]:
    """The texts up to the one that reaches `limit` bytes in all."""
    for item in texts:
        if isinstance(item, str):
            limit -= len(utf8(item))
            yield item
        else:
            strings = item.cast(pa.large_string())
            until = np.cumsum(pc.fill_null(pc.binary_length(strings), 0).to_numpy())
            yield strings.slice(0, int(np.searchsorted(until, limit)) + 1)
            limit -= int(until[-1]) if len(until) else 0
        if limit <= 0:
            return


def _documents_of(record: Path) -> list[Path]:
    """The files of documents that a commit record names. Raises an error naming what is damaged or missing."""
    try:
        outputs = read_json(record.read_bytes())["outputs"]
        paths = [output["path"] for output in outputs if output["kind"] == "documents"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record}: not a commit record ({error!r}); run the stage again") from error
    files = [record.parent.parent / path for path in paths]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: named by {record.name} but not there; copy the whole dataset")
    return files


def _read_parquet(file: Path, column: str) -> Iterator[pa.Array]:
    with file.open("rb") as stream:
        try:
            parquet = open_parquet(stream)
            if column not in parquet.schema_arrow.names:
                raise ValueError(f"{file}: no column {column!r}, only {', '.join(parquet.schema_arrow.names)}")
            kind = parquet.schema_arrow.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if kind not in (pa.string(), pa.large_string(), pa.string_view(), pa.null()):
                raise ValueError(f"{file}: column {column!r} holds {kind}, not text; name another or convert it")
            for batch in parquet.iter_batches(ROWS, columns=[column], use_threads=False):
                yield batch.column(0)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _read_json_lines(file: Path, column: str) -> Iterator[str]:
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    text = json.loads(line)[column]
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(f"{file}, line {number}: no JSON object with {column!r}") from error
                if not isinstance(text, str):
                    raise ValueError(f"{file}, line {number}: {column!r} is not a string")
                yield text


def _read_text(file: Path) -> Iterator[str]:
    """The file in runs of whole lines of about 1 MB, which have the pretokens of the whole file.

    So a run ends with a single end of line between two characters that are not white space; if there is none within
    16 MB, with any end of line.
    """
    held: list[bytes] = []
    size = 0
    with _opened(file) as lines:
        for line in lines:
            if size >= RUN_BYTES and (_may_cut(held[-1], line) or size >= 16 * RUN_BYTES):
                yield b"".join(held).decode("utf-8", "replace")
                held, size = [], 0
            held.append(line)
            size += len(line)
    if held:
        yield b"".join(held).decode("utf-8", "replace")


def _may_cut(line: bytes, following: bytes) -> bool:
    """Whether one newline is all the white space between the two lines."""
    last, first = line[-5:-1].decode("utf-8", "ignore"), following[:4].decode("utf-8", "ignore")
    return bool(last and first) and not last[-1].isspace() and not first[0].isspace()


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """A file to read bytes from, unpacked. Raises ValueError naming the file if the compressed data are damaged."""
    if file.name.endswith(".gz"):
        try:
            with gzip.open(file) as lines:
                yield cast(IO[bytes], lines)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(file, error) from error
    elif file.name.endswith(".zst"):
        try:
            import zstandard
        except ImportError as error:
            raise ValueError(f"{file}: reading .zst needs the package zstandard: pip install zstandard") from error
        try:
            with file.open("rb") as packed:
                yield io.BufferedReader(_Frames(packed, zstandard.ZstdDecompressor()), RUN_BYTES)
        except (EOFError, zstandard.ZstdError) as error:
            raise _damaged(file, error) from error
    else:
        with file.open("rb") as lines:
            yield lines


class _Frames(io.RawIOBase):
    """The contents of Zstandard frames, one after the other.

    Raises EOFError if the last frame is cut short. The package's own reader takes that for the end of the file.
    """

    def __init__(self, packed: IO[bytes], decompressor: Any) -> None:
        self._packed, self._decompressor = packed, decompressor
        self._frame: Any = None  # the decompressor of the frame that is being read
        self._ahead, self._content = b"", memoryview(b"")  # read and not unpacked yet, unpacked and not given out yet

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content:
            packed = self._ahead or self._packed.read(PACKED_BYTES)
            if not packed and self._frame:
                raise EOFError("it ends in the middle of a frame")
            if not packed:
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            self._content, self._ahead = memoryview(self._frame.decompress(packed)), b""
            if self._frame.eof:
                self._frame, self._ahead = None, self._frame.unused_data
        part = self._content[: len(buffer)]
        self._content = self._content[len(part) :]
        buffer[: len(part)] = part
        return len(part)


def _damaged(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file}: damaged compressed data ({error}); copy or make it again")
