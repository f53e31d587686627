"""Rows of a file -> a batch of documents: types, ids, lineage, and which rows are no documents.

In: a `Table` as a format's module makes it. Out: a batch with the columns of DOCUMENTS, `source_file`, `source_offset`
and the columns that are kept, and for each row that is no document the reason. Every string of the batch is UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import DOCUMENTS, Drop
from corpus.sources.columns import SOURCE, Choice, is_string, is_text
from corpus.sources.formats import LARGEST, Table
from corpus.stage import Rule

NAME = "import"  # the account of the rows, in front of all stages

# Every reason for which a row gives no document. Their thresholds are no settings.
RULES = (
    Rule("no_text", "the text, which is null or missing", "listed"),
    Rule(
        "not_utf8", "the first byte of the text, or of another column, that is not UTF-8", "listed", source="RFC 3629"
    ),
    Rule("not_json", "the line, which holds no JSON object with a text", "listed", source="RFC 8259"),
    Rule("not_csv", "fields of the row, which are not as many as the header has", "listed", source="RFC 4180"),
    Rule("too_large", "bytes of the text, or of the line", "above"),
)


# What the account of the rows counts besides documents.
SUMS = {"equal_ids": "rows with the id of an earlier row"}


def no_text() -> Drop:
    return Drop("import.no_text", "null", "a text")


def not_utf8(column: str, byte: int) -> Drop:
    return Drop("import.not_utf8", f"{column}: byte {byte}", "UTF-8")


def too_large(size: int, limit: int = LARGEST) -> Drop:
    return Drop("import.too_large", size, limit)


def check_types(choice: Choice, where: str) -> None:
    """Raises ValueError naming file, column and types, for a column that cannot become one of DOCUMENTS."""
    for ours, kind in choice.types.items():
        target = DOCUMENTS.field(ours).type
        if not (_is_castable(kind, target) if ours != "text" else is_text(kind) or pa.types.is_null(kind)):
            name = ".".join(choice.paths[ours])
            fix = "name another with --text-column" if ours == "text" else f"take another or none: --map '{ours}='"
            raise ValueError(f"{where}: column {name!r} holds {kind}, which cannot become {ours} ({target}); {fix}")


def _is_castable(kind: pa.DataType, target: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_text(kind) or is_number or pa.types.is_null(kind):
        return True
    return target == pa.string() and (pa.types.is_boolean(kind) or pa.types.is_date(kind) or _is_clock(kind))


def _is_clock(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time(kind))


def documents(
    table: Table, name: str, mark: str, kept: pa.Schema, where: str
) -> tuple[pa.RecordBatch, dict[int, Drop]]:
    """(batch, drops by row) of some rows of the file `name`; `mark` is `Format.mark`, `where` the file in messages.

    A row that is dropped is in the batch as well, without its text. Raises ValueError naming the file and the column
    for a value that cannot be cast.
    """
    rows, drops = len(table.offsets), dict(table.drops)
    strings: dict[str, pa.Array] = {}
    for ours, values in table.columns.items():
        if DOCUMENTS.field(ours).type == pa.string():
            strings[ours], bad = (values, {}) if table.is_utf8 else as_strings(values)
            drops |= {row: not_utf8(ours, byte) for row, byte in bad.items() if row not in drops}
    others = []
    for field in kept:
        values = table.kept.get(field.name)
        if values is not None and field.type == pa.string() and (is_text(values.type) or pa.types.is_null(values.type)):
            values, bad = as_strings(values)
            drops |= {row: not_utf8(field.name, byte) for row, byte in bad.items() if row not in drops}
        others.append(
            pa.nulls(rows, field.type) if values is None else _valid(_cast(values, field, where), field, where)
        )
    strings["text"] = _judged(strings["text"], drops)
    source = pa.repeat(pa.scalar(name), rows)
    strings["id"] = _with_made_ids(strings.get("id"), name + mark, table.offsets)
    strings["file_path"] = pc.coalesce(strings["file_path"], source) if "file_path" in strings else source
    arrays = []
    for field in DOCUMENTS:
        values = strings.get(field.name, table.columns.get(field.name))
        if values is None:
            arrays.append(pa.nulls(rows, field.type))
        else:
            arrays.append(values if field.name in strings else _cast(values, field, where))
    return pa.record_batch(
        [*arrays, source, table.offsets, *others], schema=pa.schema([*DOCUMENTS, *SOURCE, *kept])
    ), drops


def _judged(texts: pa.Array, drops: dict[int, Drop]) -> pa.Array:
    """The texts, null where the row is dropped; rows without a text and rows with too much are added to `drops`."""
    if texts.null_count:
        for row in pc.indices_nonzero(pc.is_null(texts)).to_pylist():
            drops.setdefault(row, no_text())
    if texts.nbytes > LARGEST:
        for row, size in enumerate(pc.binary_length(texts).to_pylist()):
            if size is not None and size > LARGEST:
                drops.setdefault(row, too_large(size))
    return without(texts, drops) if drops else texts


def without(values: pa.Array, rows: Iterable[int]) -> pa.Array:
    """The values, null in the named rows."""
    mask = [False] * len(values)
    for row in rows:
        mask[row] = True
    return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values)


def _with_made_ids(ids: pa.Array | None, prefix: str, offsets: pa.Array) -> pa.Array:
    """The ids, with one made of file and offset where there is none."""
    if ids is not None and not ids.null_count and pc.min(pc.binary_length(ids)).as_py():
        return ids
    made = pc.binary_join_element_wise(prefix, offsets.cast(pa.string()), "")
    if ids is None:
        return made
    return pc.if_else(pc.fill_null(pc.equal(ids, ""), True), made, ids)


def as_strings(values: pa.Array) -> tuple[pa.Array, dict[int, int]]:
    """(strings, {row: byte}) of a column of any type that can be text; rows that are not UTF-8 are null and named.

    Numbers become their shortest exact text, timestamps ISO 8601, with Z if they have a time zone.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if kind == pa.string_view():
        values, kind = values.cast(pa.large_string()), pa.large_string()
    elif kind == pa.binary_view():
        values, kind = values.cast(pa.large_binary()), pa.large_binary()
    if not is_text(kind):
        return _iso(values) if pa.types.is_timestamp(kind) else values.cast(pa.string()), {}
    if not is_string(kind):
        values = values.view(pa.string() if kind == pa.binary() else pa.large_string())
    bad: dict[int, int] = {}
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        bad = _not_utf8_rows(values)
        values = without(values, bad)
    return values.cast(pa.string()), bad


def _not_utf8_rows(values: pa.Array) -> dict[int, int]:
    bad = {}
    large = values.type == pa.large_string()
    for row, data in enumerate(values.view(pa.large_binary() if large else pa.binary()).to_pylist()):
        try:
            if data is not None:
                data.decode()
        except UnicodeDecodeError as error:
            bad[row] = error.start
    return bad


def _iso(values: pa.Array) -> pa.Array:
    unit, zone = values.type.unit, values.type.tz
    if zone:
        values = values.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit))
    texts = pc.replace_substring(values.cast(pa.string()), " ", "T")
    if unit != "s":
        texts = _short_fractions(texts)
    return pc.binary_join_element_wise(texts, "Z", "") if zone else texts


def _short_fractions(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$", r"\1"), r"\.0+$", "")


def _cast(values: pa.Array, field: pa.Field, where: str) -> pa.Array:
    if values.type == field.type:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type) and not is_text(field.type):  # numbers in text; an empty one is none
        strings, _ = as_strings(values)
        values = pc.if_else(pc.equal(pc.utf8_trim_whitespace(strings), ""), pa.scalar(None, pa.string()), strings)
    try:
        return values.cast(field.type)
    except pa.ArrowException as error:
        raise ValueError(
            f"{where}: column {field.name}: {values.type} cannot become {field.type} ({str(error).splitlines()[0]}); "
            f"take another column or none: --map '{field.name}='"
        ) from None


def _valid(values: pa.Array, field: pa.Field, where: str) -> pa.Array:
    """The values of a column that is kept. Raises ValueError for nested texts that are not UTF-8."""
    if pa.types.is_nested(field.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{where}: column {field.name}: {error}; read this file without --keep-columns") from None
    return values


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column gets which is kept: strings and binary in one width each, dictionaries decoded."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if is_string(kind):
        return pa.string()
    return pa.binary() if kind in (pa.large_binary(), pa.binary_view()) else kind
