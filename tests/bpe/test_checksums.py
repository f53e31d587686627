"""Checksums of Parquet files and JSON objects: every flipped bit is refused or harmless, and old files are read."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.checksums import add_checksums, json_checksum, open_parquet, read_json

TABLE = pa.table({"text": [f"text {n}" for n in range(50)], "n": [n if n % 3 else None for n in range(50)]})
DAMAGED = (pa.ArrowException, ValueError, OSError)


def parquet(checksums: bool = True, **settings: bool) -> bytes:
    """TABLE as a Parquet file of three row groups."""
    file = io.BytesIO()
    pq.write_table(TABLE, file, row_group_size=20, **settings)
    if checksums:
        add_checksums(file)
    return file.getvalue()


def read(data: bytes) -> pa.Table:
    return open_parquet(io.BytesIO(data)).read(use_threads=False)


def test_every_flipped_bit_of_a_parquet_file_is_refused_or_harmless() -> None:
    data = parquet()
    assert read(data) == TABLE
    assert pq.read_table(io.BytesIO(data)) == TABLE  # as other programs read it
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert read(bytes(flipped)) == TABLE
        except DAMAGED:
            continue


def test_only_the_columns_and_rows_that_are_read_are_compared() -> None:
    data = bytearray(parquet())
    start = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(1).data_page_offset
    data[start + 30] ^= 1
    file = open_parquet(io.BytesIO(bytes(data)))
    assert file.read(["text"], use_threads=False).num_rows == 50
    assert file.read_row_group(1, use_threads=False).num_rows == 20
    with pytest.raises(pa.ArrowInvalid, match="differ from their checksum"):
        file.read(use_threads=False)


def test_files_of_other_programs() -> None:
    assert read(parquet(checksums=False)) == TABLE
    data = parquet(checksums=False, write_page_checksum=True, use_dictionary=False)
    column = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    place = column.data_page_offset + column.total_compressed_size - 3
    flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert read(data) == TABLE
    with pytest.raises(DAMAGED):
        read(flipped)
    for data in (b"", b"PAR1", bytes(100), b"PAR1" + b"\xff\xff\xff\x7fPAR1"):
        with pytest.raises(DAMAGED):
            read(data)


def test_an_empty_table() -> None:
    file = io.BytesIO()
    with pq.ParquetWriter(file, TABLE.schema):
        pass
    add_checksums(file)
    assert read(file.getvalue()) == TABLE.slice(0, 0)


@given(st.dictionaries(st.text(), st.none() | st.floats() | st.integers() | st.lists(st.text()), max_size=4), st.data())
def test_a_json_object_is_what_was_written(fields: dict[str, object], data: st.DataObject) -> None:
    fields = {**fields, "format": 2}
    fields.pop("checksum", None)
    written = json.dumps({**fields, "checksum": json_checksum(fields)}, indent=1, ensure_ascii=True).encode()
    assert json.dumps(read_json(written)) == json.dumps(fields)
    flipped = bytearray(written)
    bit = data.draw(st.integers(0, 8 * len(written) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        assert json.dumps(read_json(bytes(flipped)), sort_keys=True) == json.dumps(fields, sort_keys=True)
    except ValueError:
        return
