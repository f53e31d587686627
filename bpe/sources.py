"""Texts from files: Parquet files, folders of them, datasets with commit records, text files and JSON lines.

In goes a path, out come Arrow arrays or strings, in pieces, so that no file is held in memory whole. Text files and
JSON lines may be compressed with gzip or Zstandard (.gz, .zst; the latter needs the package `zstandard`).

A Parquet column may hold string, large_string or string_view, dictionary-encoded or not. Binary is not text.

Text is UTF-8. Bytes that are not are refused, or replaced by U+FFFD where the caller asks for it. The byte order mark
with which some programs begin a file is no part of the text. A null is an empty text.
"""

from __future__ import annotations

import codecs
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
from bpe.parse import brief
from bpe.texts import utf8

PACKED = ("", ".gz", ".zst")
TEXT_ENDINGS = tuple(f".txt{packed}" for packed in PACKED)
JSON_ENDINGS = tuple(f".jsonl{packed}" for packed in PACKED)
ROWS = 4096  # of Parquet, read at a time
RUN_BYTES = 1 << 20  # of a text file, read at a time
PACKED_BYTES = 1 << 14  # of Zstandard, unpacked at a time
_NULL = pa.nulls(1, pa.string())  # a null in JSON lines
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_REPLACE = "or replace such bytes by U+FFFD (bpe: --errors replace)"


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
    files: Iterable[Path],
    column: str = "text",
    limit: int | None = None,
    sample: float | None = None,
    seed: int = 0,
    errors: str = "strict",
) -> Iterator[pa.Array | str]:
    """The texts of the files, in order: a column of Parquet or JSON lines, or runs of lines of a text file.

    `sample` (0 to 1) is the share of documents that are kept. The bytes of a document and `seed` alone decide, not the
    files or their order. Of a text file, each run of lines of about 1 MB is kept or left out. `limit` is in bytes of
    text; the document that reaches it is the last. `errors` is "strict" or "replace", for bytes that are not UTF-8.

    Raises ValueError naming file (and line) for a column that is missing or holds no text, for bytes that are not UTF-8
    unless `errors` is "replace", and for compressed data that are cut short or damaged.
    """
    if sample is not None and not 0 < sample <= 1:
        raise ValueError(f"sample = {sample}: should be above 0 and at most 1")
    if limit is not None and limit < 1:
        raise ValueError(f"limit = {limit}: should be at least 1 byte")
    texts = _all_texts(files, column, errors)
    if sample is not None:
        texts = sampled(texts, sample, seed)
    return texts if limit is None else _limited(texts, limit)


def _all_texts(files: Iterable[Path], column: str, errors: str) -> Iterator[pa.Array | str]:
    for file in files:
        if file.name.endswith(".parquet"):
            yield from _read_parquet(file, column, errors)
        elif file.name.endswith(JSON_ENDINGS):
            yield from _read_json_lines(file, column, errors)
        else:
            yield from _read_text(file, errors)


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
        files = [record.parent.parent / output["path"] for output in outputs if output["kind"] == "documents"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record}: not a commit record ({brief(repr(error))}); run the stage again") from error
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: named by {record.name} but not there; copy the whole dataset")
    return files


def _read_parquet(file: Path, column: str, errors: str) -> Iterator[pa.Array]:
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
                yield checked(batch.column(0), file, errors)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def checked(texts: pa.Array, file: Path, errors: str) -> pa.Array:
    """The texts, after a check that they are UTF-8: Parquet files can hold other bytes as strings."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        if errors == "strict":
            raise ValueError(f"{file}: a text is not UTF-8 ({error}); convert it, {_REPLACE}") from None
        binary = (texts.dictionary_decode() if pa.types.is_dictionary(texts.type) else texts).cast(pa.large_binary())
        decoded = [None if text is None else text.decode("utf-8", "replace") for text in binary.to_pylist()]
        return pa.array(decoded, pa.large_string())
    return texts


def _read_json_lines(file: Path, column: str, errors: str) -> Iterator[pa.Array | str]:
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                text = _field(line.removeprefix(codecs.BOM_UTF8), column, f"{file}, line {number}", errors)
                yield _NULL if text is None else text


def _field(line: bytes, column: str, where: str, errors: str) -> str | None:
    """The text in the field `column` of a JSON line. Raises ValueError, with `where` in front, if there is none."""
    decoded = _decoded(line, where, errors)
    try:
        content = json.loads(decoded)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else f"not JSON ({error})"
        raise ValueError(f"{where}: {why}; each line should be an object with {column!r}") from None
    if not isinstance(content, dict) or column not in content:
        names = f", only {', '.join(map(repr, content))}" if content and isinstance(content, dict) else ""
        raise ValueError(f"{where}: no JSON object with {column!r}{names}")
    text = content[column]
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{where}: {column!r} is not a string")
    return text


def _read_text(file: Path, errors: str) -> Iterator[str]:
    """The file in runs of whole lines of about 1 MB, which have the pretokens of the whole file.

    So a run ends with a single end of line between two characters that are not white space; if there is none within
    16 MB, with any end of line.
    """
    held: list[bytes] = []
    size = start = 0  # bytes of the run; of the runs before it
    with _opened(file) as lines:
        for line in lines:
            if size >= RUN_BYTES and (_may_cut(held[-1], line) or size >= 16 * RUN_BYTES):
                yield _run(held, start, file, errors)
                held, size, start = [], 0, start + size
            held.append(line)
            size += len(line)
    if held:
        yield _run(held, start, file, errors)


def _run(lines: list[bytes], start: int, file: Path, errors: str) -> str:
    """The lines as text; `start` is the place of the first one in the file."""
    content = b"".join(lines)
    return _decoded(content if start else content.removeprefix(codecs.BOM_UTF8), str(file), errors, start)


def _decoded(content: bytes, where: str, errors: str, start: int = 0) -> str:
    """The bytes as text. Raises ValueError for bytes that are not UTF-8, or are UTF-16, unless `errors` is "replace".

    UTF-16 without a byte order mark is valid UTF-8 if all its characters are ASCII, but a quarter of it is NUL.
    """
    if errors == "strict" and (content[:2] in _UTF_16 or 4 * content[:4096].count(0) > len(content[:4096])):
        raise ValueError(f"{where}: seems to be UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
    try:
        return content.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 at byte {start + error.start}; convert it, {_REPLACE}") from None


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
