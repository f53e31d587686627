"""Files of sections: one that is damaged, or of another kind, is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import Config
from corpus.dedup.candidates import candidates_schema, write_candidates
from corpus.dedup.labels import DECISIONS
from corpus.dedup.sections import Sections, offsets, read_section, words
from tests.support.dedup_files import SMALL, candidate


def test_a_damaged_file_of_sections_is_refused_by_name(tmp_path: Path) -> None:
    schema = candidates_schema(SMALL)
    path = tmp_path / "candidates"
    rows = [candidate(0, dump="CC-MAIN-2024-10"), candidate(1, score=1.0), candidate(2, block=1)]
    assert write_candidates([pa.RecordBatch.from_pylist([row], schema=schema) for row in rows], path, 2) == 3
    whole = path.read_bytes()

    def read(data: bytes, number: int) -> list[pa.RecordBatch] | str:
        file = Sections(lambda start, length: data[start : start + length], path.name)
        try:
            return list(read_section(file, number, schema))
        except ValueError as error:
            return str(error)

    expected = [read(whole, number) for number in (0, 1)]
    assert sorted(map(len, expected)) == [1, 2]
    for place in range(len(whole)):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]):
            found = [read(data, number) for number in (0, 1)]
            assert found != expected
            assert all(
                one == other or str(one).startswith("candidates: ") for one, other in zip(found, expected, strict=True)
            )


def test_a_section_of_another_kind_or_of_impossible_length_is_refused(tmp_path: Path) -> None:
    schema = candidates_schema(SMALL)
    path = tmp_path / "candidates"
    write_candidates([pa.RecordBatch.from_pylist([candidate(0)], schema=schema)], path, 1)
    other = candidates_schema(Config(bands=4, rows=2))
    with path.open("rb", buffering=0) as stream:

        def read(start: int, length: int) -> bytes:
            stream.seek(start)
            return stream.read(length)

        assert len(list(read_section(Sections(read, "candidates"), 0, schema))) == 1
        for wrong in (other, DECISIONS):
            with pytest.raises(ValueError, match=r"candidates: section 0 is damaged \(its checksum\)"):
                list(read_section(Sections(read, "candidates"), 0, wrong))
        header, body = np.frombuffer(path.read_bytes()[:16], "<u8"), path.read_bytes()[16:]
        path.write_bytes((header & np.uint64(2**48 - 1)).astype("<u8").tobytes() + body)  # of an earlier version
        assert len(list(read_section(Sections(read, "candidates"), 0, schema))) == 1
        path.write_bytes(header.tobytes()[:8] + (2**47).to_bytes(8, "little") + body)
        with pytest.raises(ValueError, match="candidates: offsets differ from their hashes; remove it"):
            list(read_section(Sections(read, "candidates"), 0, schema))
        for end in (2**44, 2**48 - 8):
            path.write_bytes(words(np.array([16, end])).tobytes() + body)
            with pytest.raises(ValueError, match=r"candidates: no memory for .* if it is not that long, remove it"):
                list(read_section(Sections(read, "candidates"), 0, schema))


@given(st.integers(0, 2**48 - 1), st.integers(0, 63))
def test_every_flipped_bit_of_an_offset_is_refused(offset: int, bit: int) -> None:
    word = int(words(np.array([offset]))[0])
    assert offsets("x", word.to_bytes(8, "little")) == [offset]
    with pytest.raises(ValueError, match="x: offsets differ from their hashes"):
        offsets("x", (word ^ 1 << bit).to_bytes(8, "little"))
