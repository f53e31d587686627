"""JSON lines -> rows: an object a line, plain or compressed, and any range of a plain file.

orjson parses a line. The few lines that it refuses, or where it rounds a large integer, are parsed again by Python's
parser, which decides: NaN is a number, the last of two equal keys counts, integers have any length. A line that holds
no object with a text is dropped by name; blank lines are no rows. A byte order mark before the first line is left out.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from bpe.parse import parse_json
from corpus.schema import DOCUMENTS, Drop
from corpus.sources.columns import METADATA, Choice, Columns, Unreadable, choose
from corpus.sources.documents import no_text, not_utf8, too_large
from corpus.sources.formats import LARGEST, File, Look, Table
from corpus.sources.lines import read_lines
from corpus.sources.packed import check_content, unpacked

LONGEST = 2 * LARGEST  # bytes of a line: escapes make a text longer
BATCH_BYTES, BATCH_ROWS = 256 << 10, 1024  # of a table
_HEAD_BYTES, _HEAD_LINES = 1 << 20, 100  # what is read of a file to learn its fields
_NUMBERS = frozenset(field.name for field in DOCUMENTS if field.type != pa.string())
_FLOATS = frozenset(field.name for field in DOCUMENTS if field.type == pa.float64())
_INTEGER = 2**63  # orjson makes a float of an integer beyond


class _Inexact(ValueError):
    """orjson has made a float of a number that may be a large integer."""


def look(file: File, columns: Columns) -> Look:
    """The fields of the first lines. Raises Unreadable if none of them is a JSON object."""
    with unpacked(file.stream, file.path) as stream:
        head = _head(stream, file.path)
    lines = [line for line in head.split(b"\n")[:_HEAD_LINES] if line.strip()]
    objects = [value for line in lines if isinstance(value := _parsed_or_none(line), dict)]
    is_cut = bool(lines) and lines[0].lstrip().startswith(b"[") and _parsed_or_none(lines[0]) is None
    if is_cut or (lines and not objects):  # the last item of a list over several lines is an object
        raise Unreadable(f"{file.path}: {_what(lines[0])}")
    merged: dict[str, pa.DataType] = {}
    for one in objects:
        _merge(merged, one)
    return Look(pa.schema(list(merged.items())))


def read(file: File, columns: Columns, kept: pa.Schema) -> Iterator[Table]:
    """The lines of the file's part that are not blank. Raises Unreadable for a file of another kind."""
    fields = look(file._replace(stream=_again(file.stream)), columns).schema
    file.stream.seek(0)
    if not fields.names and file.part.start == 0 and not _has_content(file):
        return  # an empty file
    choice = choose(fields, columns, file.path)
    with unpacked(file.stream, file.path) as stream:
        rows = _Rows(choice, columns, METADATA in kept.names, file.path)
        for block in read_lines(stream, file.part.start, file.part.end, LONGEST):
            offset = block.offset
            if block.long:
                rows.drop(offset, too_large(block.long, LONGEST))
            for line in block.lines:
                if line and not line.isspace():
                    rows.add(offset, line if offset else line.removeprefix(codecs.BOM_UTF8))
                    if rows.is_full:
                        yield rows.table(_share(file, offset))
                offset += len(line) + 1
        if rows.offsets:
            yield rows.table(1.0)


def _again(stream: Any) -> Any:
    stream.seek(0)
    return stream


def _has_content(file: File) -> bool:
    with unpacked(file.stream, file.path) as stream:
        found = bool(stream.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8).strip())
    file.stream.seek(0)
    return found


def _share(file: File, offset: int) -> float:
    """How much of the part is read: by its bytes in a plain file, by the packed bytes in a compressed one."""
    start, end, _ = file.part[1:]
    if end > start:
        return min((offset - start) / (end - start), 1.0)
    return min(file.stream.tell() / max(file.size, 1), 1.0)


class _Rows:
    """Rows that are gathered for a table."""

    def __init__(self, choice: Choice, columns: Columns, keep: bool, where: str) -> None:
        self._paths = {name: path for name, path in choice.paths.items() if name != "text"}
        self._text = choice.paths["text"]
        self._late = _late(choice, columns)
        self._late_keys = frozenset(path[0] for path in self._late.values())
        self._whole = choice.whole | {path[0] for path in self._late.values() if len(path) == 1}
        self._keep, self._where = keep, where
        self._clear()

    def _clear(self) -> None:
        self.offsets: list[int] = []
        self._size = 0
        self._values: dict[str, list[Any]] = {name: [] for name in ("text", *self._paths)}
        self._late_values: dict[str, dict[int, Any]] = {}
        self._metadata: list[str | None] = []
        self._drops: dict[int, Drop] = {}

    @property
    def is_full(self) -> bool:
        return self._size >= BATCH_BYTES or len(self.offsets) >= BATCH_ROWS

    def add(self, offset: int, line: bytes) -> None:
        """The row of a line."""
        try:
            try:
                row = self._row(orjson.loads(line), offset)
            except ValueError:  # orjson's too
                row = self._slowly(line, offset)
        except RecursionError:  # of Python's own writer
            row = _not_json("brackets are nested too deep")
        if isinstance(row, Drop):
            self.drop(offset, row, len(line))
            return
        self.offsets.append(offset)
        self._size += len(line)
        for values, value in zip(self._values.values(), row.values, strict=True):
            values.append(value)
        for name, value in row.late.items():
            self._late_values.setdefault(name, {})[len(self.offsets) - 1] = value
        self._metadata.append(row.metadata)
        if row.drop:
            self._drops[len(self.offsets) - 1] = row.drop

    def drop(self, offset: int, why: Drop, size: int = 0) -> None:
        """A row that has nothing but the reason why it is dropped."""
        self._drops[len(self.offsets)] = why
        self.offsets.append(offset)
        self._size += size
        for values in self._values.values():
            values.append(None)
        self._metadata.append(None)

    def table(self, share: float) -> Table:
        late = {name: [of.get(row) for row in range(len(self.offsets))] for name, of in self._late_values.items()}
        lists = (self._values | late).items()
        columns = {name: pa.array(values, DOCUMENTS.field(name).type) for name, values in lists}
        kept = {METADATA: pa.array(self._metadata, pa.string())} if self._keep else {}
        made = Table(columns, kept, pa.array(self.offsets, pa.int64()), self._drops, share, is_utf8=True)
        self._clear()
        return made

    def _slowly(self, line: bytes, offset: int) -> _Row | Drop:
        """The row by Python's parser, or why the line is no document."""
        try:
            decoded = line.decode()
        except UnicodeDecodeError as error:
            return not_utf8("line", error.start)
        try:
            value = parse_json(decoded)
        except ValueError as error:
            return _not_json(str(error))
        return _encodable(self._row(value, offset, is_exact=True))

    def _row(self, value: Any, offset: int, *, is_exact: bool = False) -> _Row | Drop:
        if type(value) is not dict:
            return _not_json(f"it is {_kind(value)}")
        text = value.get(self._text[0]) if len(self._text) == 1 else _reach(value, self._text)
        drop = None
        if type(text) is not str:
            drop = no_text() if text is None else _not_json(f"the text is {_kind(text)}")
            text = None
        values = [text]
        for name, path in self._paths.items():
            found = value.get(path[0]) if len(path) == 1 else _reach(value, path)
            is_done = found is None or (type(found) is str and name not in _NUMBERS)
            values.append(found if is_done else self._made(found, name, offset, is_exact))
        late = {}
        if not self._late_keys.isdisjoint(value):
            reached = ((name, _reach(value, path)) for name, path in self._late.items())
            late = {name: self._made(of, name, offset, is_exact) for name, of in reached if of is not None}
        return _Row(values, late, self._rest(value, is_exact) if self._keep else None, drop)

    def _made(self, value: Any, name: str, offset: int, is_exact: bool) -> Any:
        """A value, which is not null, as the column `name` holds it."""
        if name in _NUMBERS:
            return _number(value, name, f"{self._where}, byte {offset}")
        if isinstance(value, str):
            return value
        if not is_exact:
            _check_exact(value)
        return _as_text(value)

    def _rest(self, value: dict[str, Any], is_exact: bool) -> str:
        """The fields that are not taken, as JSON."""
        rest = {name: item for name, item in value.items() if name not in self._whole}
        if not is_exact:
            _check_exact(rest)
            with contextlib.suppress(orjson.JSONEncodeError):  # nested deeper than it writes
                return orjson.dumps(rest).decode()
        return json.dumps(rest)


class _Row(NamedTuple):
    """The values of a row.

    values    the text, and the other columns in their order
    late      the columns that the first lines of the file do not have
    metadata  the other fields as JSON
    drop      why the row is no document
    """

    values: list[Any]
    late: dict[str, Any]
    metadata: str | None
    drop: Drop | None


def _encodable(row: _Row | Drop) -> _Row | Drop:
    """The row; a value with lone surrogates, which UTF-8 does not have, is null, and the row is dropped."""
    if isinstance(row, Drop):
        return row
    places: tuple[Any, ...] = (row.values, row.late)
    for place in places:
        for at, value in list(enumerate(place) if isinstance(place, list) else place.items()):
            try:
                if isinstance(value, str):
                    value.encode()
            except UnicodeEncodeError as error:
                place[at] = None
                row = row._replace(drop=Drop("import.not_utf8", f"lone surrogate at character {error.start}", "UTF-8"))
    return row


def _late(choice: Choice, columns: Columns) -> dict[str, tuple[str, ...]]:
    """The columns that are wanted and not among the first lines: a later line may have them."""
    named = columns.named()
    wanted = {name: named.get(name, name) for name in DOCUMENTS.names if name not in choice.paths}
    return {ours: tuple(theirs.split(".")) for ours, theirs in wanted.items() if theirs}


def _not_json(why: str) -> Drop:
    return Drop("import.not_json", " ".join(why.split())[:200], "a JSON object with a text")


def _reach(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _check_exact(value: Any) -> None:
    """Raises _Inexact if there is a float in the value that may have been a large integer."""
    open_values = [value]
    while open_values:
        value = open_values.pop()
        if isinstance(value, float):
            if abs(value) >= _INTEGER:
                raise _Inexact
        elif isinstance(value, dict | list):
            open_values += value.values() if isinstance(value, dict) else value


def _as_text(value: Any) -> str:
    """A value as the text of a column: JSON, but for NaN and infinity."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: Any, name: str, where: str) -> float | int | None:
    """The number in a field, or in its text; None for an empty text. Raises ValueError naming file, place, column."""
    is_float = name in _FLOATS
    if type(value) is float if is_float else type(value) is int and abs(value) < _INTEGER:
        return value  # type: ignore[no-any-return]
    text = value.strip() if isinstance(value, str) else str(value)
    try:
        if not text:
            return None
        number = int(text) if text.lstrip("+-").isdecimal() else float(text)
        if is_float:
            return float(number)
        if number != math.floor(number) or abs(number) >= _INTEGER:
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{where}: column {name}: {text[:40]!r} cannot become {DOCUMENTS.field(name).type}; "
            f"take another or none: --map '{name}='"
        ) from None


_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def _head(stream: Any, path: str) -> bytes:
    """Whole lines at the beginning of a file, as many as are in _HEAD_BYTES, but at least one."""
    head = io.BytesIO()
    while head.tell() < LONGEST and (piece := stream.read(_HEAD_BYTES)):
        if head.tell() == 0:
            check_content(piece, path)
        head.write(piece)
        data = head.getvalue()
        if b"\n" in data.lstrip(codecs.BOM_UTF8 + b" \t\r\n") or head.tell() > LONGEST:
            break
    data = head.getvalue().removeprefix(codecs.BOM_UTF8)
    return data[: data.rfind(b"\n")] if len(piece) == _HEAD_BYTES and b"\n" in data else data


def _parsed_or_none(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        try:
            return parse_json(line.decode())
        except ValueError:
            return None


def _what(line: bytes) -> str:
    """What a file without any JSON object in its first lines seems to be."""
    if line.lstrip()[:1] in (b"[", b"{"):
        return "is one JSON value over several lines, not JSON lines; convert it: jq -c '.[]' (or jq -c .)"
    shown = line[:40].decode("utf-8", "replace")
    return f"no line at its beginning is a JSON object; it begins with {shown!r}; check what it holds"


def _merge(fields: dict[str, pa.DataType], value: dict[str, Any], levels: int = 16) -> None:
    """Add the fields of an object: a struct if one of the values is an object, else a string if one of them is."""
    for name, item in value.items():
        known = fields.get(name, pa.null())
        if isinstance(item, dict) and levels:
            inner = {field.name: field.type for field in known} if pa.types.is_struct(known) else {}
            _merge(inner, item, levels - 1)
            fields[name] = pa.struct(list(inner.items()))
        elif not pa.types.is_struct(known):
            fields[name] = pa.string() if isinstance(item, str) else known
