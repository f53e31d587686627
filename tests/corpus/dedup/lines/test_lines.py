from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.dedup.lines import hashes as lines
from corpus.dedup.lines.config import Config
from corpus.dedup.lines.hashes import (
    open_repeated,
    remove_lines,
    repeated_lines,
    repeated_table,
    write_line_hashes,
    write_repeated,
)
from corpus.dedup.lines.kernels.repeated import Repeated
from corpus.dedup.slots import PairFile
from corpus.schema import Outcome
from tests.oracles import dedup_lines as oracle
from tests.support.dedup_files import without_checksums

SMALL = Config(documents=2, min_words=1, min_kept_words=1)
# Few lines, so that documents share them, in all the ways in which they can be written.
LINE = st.sampled_from(
    [
        *["", " ", "\t \v", "\r", "***", "a b c", "  A, b - c\r", "a  b c \t", "abc", "Read more: 12", "read more 34"],
        *[
            "don’t",
            "don't",
            "Ünïcode",
            "ünïcode",
            "公司",
            "公 司。",
            "ภาษา",
            "x" * 8,
            "x" * 8 + " y",
            "x" * 7 + "y" * 2,
        ],
        *[
            "word " * 30,
            "x" * 200,
            "é" * 40,
            "\xa0",
            "“quoted” — text…",
            "𝒜𠀀b",
            "１２",
            "1a2b3c4d5e6f7g8h9i",
            "-a" * 70,
        ],
    ]
)
TEXT = st.lists(LINE, max_size=8).flatmap(lambda found: st.sampled_from(["\n".join(found), "\n\n".join(found)]))
TEXTS = st.lists(TEXT | st.text(st.sampled_from("ab0 .\n\r\téÉΩЯ’公"), max_size=150), max_size=12)
CUTS = st.lists(st.integers(0, 99), max_size=4)
CONFIGS = st.builds(
    Config,
    documents=st.integers(2, 3),
    keep_first=st.booleans(),
    unit=st.sampled_from(["line", "paragraph"]),
    min_words=st.integers(1, 3),
    min_kept_words=st.integers(0, 4),
    match=st.sampled_from(["folded", "numbers", "exact"]),
)


def documents(texts: Sequence[str | None], kind: pa.DataType | None = None) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "text": pa.array(texts, kind or pa.string()),
            "id": pa.array([f"doc{i}" for i in range(len(texts))], pa.string()),
        }
    )


def cut(batch: pa.RecordBatch, cuts: Sequence[int]) -> list[pa.RecordBatch]:
    """The batch cut at these rows (modulo their number)."""
    ends = [0, *sorted(cut % (batch.num_rows + 1) for cut in cuts), batch.num_rows]
    return [batch.slice(start, end - start) for start, end in itertools.pairwise(ends)]


def source(data: bytes, first_row: int = 0) -> PairFile:
    return PairFile(first_row, lambda start, length: data[start : start + length], "unit.lines")


def find_repeated(units: Sequence[Sequence[pa.RecordBatch]], config: Config, parts: int, folder: Path) -> Repeated:
    """The table of a corpus, through all the files."""
    sources, first_row = [], 0
    for batches in units:
        rows, _ = write_line_hashes(batches, folder / "unit.lines", config)
        assert rows == sum(batch.num_rows for batch in batches)
        sources.append(source((folder / "unit.lines").read_bytes(), first_row))
        first_row += rows
    found = (repeated_lines(sources, part, parts, config, threads=2) for part in range(parts))
    count = write_repeated(found, folder / "repeated")
    table = open_repeated(folder / "repeated")
    assert len(table.hashes) == len(table.first) == count
    return table


def left(outcomes: Sequence[Outcome], total: int) -> dict[str, tuple[Any, ...]]:
    """By id: text and lines removed, or the reason for which a document was dropped and its text."""
    found: dict[str, tuple[Any, ...]] = {}
    for kept, dropped, *_ in outcomes:
        found.update({row["id"]: (row["text"], row["lines_removed"]) for row in kept.to_pylist()})
        for row in dropped.to_pylist():
            found[row["id"]] = (row["rule"], row["value"], row["threshold"], row["text"])
    assert len(found) == total
    return found


def deduplicated(texts: Sequence[str | None], config: Config = SMALL) -> list[Any]:
    """What is left of each text; None for a document that is dropped."""
    batch = documents(texts)
    with tempfile.TemporaryDirectory() as folder:
        table = find_repeated([[batch]], config, 1, Path(folder))
        kept, *_ = remove_lines(batch, 0, table, config)
    by_id = {row["id"]: row["text"] for row in kept.to_pylist()}
    return [by_id.get(f"doc{i}") for i in range(len(texts))]


@given(TEXTS, CONFIGS)
@example(["a b c d", "x" * 8, "x" * 8 + " y", "x" * 8 + "y"], SMALL)
def test_hashes_equal_the_slow_twin(texts: list[str], config: Config) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "unit.lines")
        rows, count = write_line_hashes([documents(texts)], path, config)
        words = np.frombuffer(path.read_bytes(), "<u8")[lines.SLOTS + 1 :].reshape(-1, 2).tolist()
    found = {h: (int(packed) & (2**32 - 1), int(packed) >> 32) for h, packed in words}
    expected = oracle.documents_of_lines(texts, config)
    assert (rows, count) == (len(texts), len(expected))
    assert found == {oracle.line_hash(line): (rows[0], len(rows)) for line, rows in expected.items()}


@given(TEXTS, CONFIGS, CUTS, CUTS, st.sampled_from([1, 2, 16]))
def test_texts_equal_the_slow_twin_however_they_are_cut(
    texts: list[str], config: Config, units: list[int], batches: list[int], parts: int
) -> None:
    whole = documents(texts)
    with tempfile.TemporaryDirectory() as folder:
        table = find_repeated([cut(unit, batches) for unit in cut(whole, units)], config, parts, Path(folder))
        outcomes, row = [], 0
        for batch in cut(whole, batches):
            outcomes.append(remove_lines(batch, row, table, config))
            row += batch.num_rows
    expected = {}
    for i, one in enumerate(oracle.removed(texts, config)):
        reason = ("lines.min_kept_words", str(one.words), str(config.min_kept_words), texts[i])
        expected[f"doc{i}"] = (one.text, one.removed) if one.kept else reason
    assert left(outcomes, len(texts)) == expected


def test_lines_that_enough_documents_have_are_removed_and_the_first_stays() -> None:
    texts = [f"Sign up for our newsletter today!\nStory {name} is about nothing else." for name in "abc"]
    assert deduplicated(texts, Config(documents=3, min_kept_words=1)) == [
        texts[0],
        *(t.split("\n")[1] for t in texts[1:]),
    ]
    assert deduplicated(texts, Config(documents=4, min_kept_words=1)) == texts


def test_without_keep_first_none_stays() -> None:
    config = Config(documents=2, keep_first=False, min_kept_words=1)
    assert deduplicated(["all rights are reserved\none", "All rights are reserved.\ntwo"], config) == ["one", "two"]


def test_case_digits_punctuation_and_white_space_make_no_difference() -> None:
    assert deduplicated(["Posted on 12.05.2019, by admin", "posted on 30/11/2021 by ADMIN:\r\nnew"]) == [
        "Posted on 12.05.2019, by admin",
        "new",
    ]


def test_letters_of_latin_greek_and_cyrillic_count_in_lower_case() -> None:
    assert deduplicated(["ÜBER UNS, Ωμέγα, ЯЩИК", "Über uns: ωμέγα ящик\nnew"])[1] == "new"


def test_every_kind_of_character_has_the_hash_that_it_should_have(tmp_path: Path) -> None:
    ranges = [(0x80, 0x3500), (0x9F00, 0xA100), (0xF800, 0x10100), (0x1F000, 0x1F100), (0x1FF00, 0x20100)]
    texts = [f"a{chr(code)}b" for first, end in ranges for code in range(first, end)]
    write_line_hashes([documents(texts)], tmp_path / "unit.lines", SMALL)
    words = np.frombuffer((tmp_path / "unit.lines").read_bytes(), "<u8")[lines.SLOTS + 1 :: 2]
    assert set(words.tolist()) == {oracle.line_hash(oracle.words(text)) for text in texts}


def test_short_lines_are_left_alone() -> None:
    texts = ["Yes, please\nWho would not want that?", "Yes, please\nNot me"]
    assert deduplicated(texts, Config(documents=2, min_words=3, min_kept_words=1)) == texts


def test_a_line_twice_in_a_document_is_in_one_document() -> None:
    texts = ["the same line\nthe same line\nthe same line", "another line"]
    assert deduplicated(texts) == texts


def test_of_a_line_twice_in_the_first_document_the_first_stays() -> None:
    assert deduplicated(["same line\none\nsame line\ntwo\nsame line", "same line\nthree"]) == [
        "same line\none\ntwo",
        "three",
    ]


def test_what_is_around_removed_lines_stays_apart() -> None:
    known = "menu one\nmenu two"
    assert deduplicated([known, "menu one\n\nbody\n"])[1] == "body\n"
    assert deduplicated([known, "head\n\nmenu one\nbody"])[1] == "head\n\nbody"
    assert deduplicated([known, "head\nmenu one\n\nmenu two\nbody"])[1] == "head\n\nbody"
    assert deduplicated([known, "head\r\nmenu one\r\nbody\r\n"])[1] == "head\r\nbody\r\n"
    assert deduplicated([known, "if x:\n    menu one\n    body"])[1] == "if x:\n    body"
    assert deduplicated([known, "body\n\nmenu one"])[1] == "body"
    assert deduplicated([known, "\n\nmenu one\nbody\n\n"])[1] == "\n\nbody\n\n"


def test_paragraphs_are_compared_as_a_whole() -> None:
    config = Config(documents=2, unit="paragraph", min_kept_words=1)
    texts = ["This is\na paragraph.\n\nThis is", "This is a paragraph.\n \nThis is\nanother", "This is\n\na paragraph"]
    assert deduplicated(texts, config) == [texts[0], "This is\nanother", texts[2]]


def test_a_document_of_which_too_little_is_left_is_dropped_with_its_text() -> None:
    config = Config(documents=2, min_kept_words=3)
    batch = documents(["a repeated line\nand one more", "a repeated line\nshort rest", "short"])
    with tempfile.TemporaryDirectory() as folder:
        kept, dropped, *_ = remove_lines(batch, 0, find_repeated([[batch]], config, 1, Path(folder)), config)
    assert kept.column("id").to_pylist() == ["doc0", "doc2"]  # nothing was removed from doc2
    assert dropped.select(["id", "stage", "rule", "value", "threshold", "text"]).to_pylist() == [
        {
            "id": "doc1",
            "stage": "lines",
            "rule": "lines.min_kept_words",
            "value": "2",
            "threshold": "3",
            "text": "a repeated line\nshort rest",
        }
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_nulls_and_types_of_columns_are_kept(kind: pa.DataType) -> None:
    batch = documents(["one line here\nmore", None, "", "one line here\nrest"], kind)
    with tempfile.TemporaryDirectory() as folder:
        kept, *_ = remove_lines(batch, 0, find_repeated([[batch]], SMALL, 1, Path(folder)), SMALL)
    assert kept.schema == batch.schema.append(lines.LINES_REMOVED)
    assert kept.column("text").to_pylist() == ["one line here\nmore", None, "", "rest"]
    assert kept.column("lines_removed").to_pylist() == [0, 0, 0, 1]


def test_a_batch_without_repeated_lines_keeps_its_texts_memory() -> None:
    batch = documents(["one", "two"])
    kept, dropped, *_ = remove_lines(batch, 0, repeated_table(np.empty(0, np.uint64), np.empty(0, np.uint64)), SMALL)
    assert kept.column("text").buffers()[2].address == batch.column("text").buffers()[2].address
    assert dropped.num_rows == 0


def test_texts_at_the_end_of_a_buffer_are_read_no_further(tmp_path: Path) -> None:
    texts = ["one line of words", "x" * 63, "one line of words\n" + "y" * 64, "é" * 32, ""]
    data = "".join(texts).encode()
    ends = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int64)
    found = set()
    for more in (b"", b"z" * 100):  # nothing after the texts, and bytes that are none of theirs
        column = pa.Array.from_buffers(pa.large_string(), 5, [None, pa.py_buffer(ends), pa.py_buffer(data + more)])
        write_line_hashes([pa.record_batch({"text": column})], tmp_path / "unit.lines", SMALL)
        found.add((tmp_path / "unit.lines").read_bytes())
    write_line_hashes([documents(texts)], tmp_path / "unit.lines", SMALL)
    assert found == {(tmp_path / "unit.lines").read_bytes()}


def test_bytes_that_are_no_utf_8_are_letters_and_stay() -> None:
    raw = [b"caf\xe9 one \xf0\n\x80\x80 two", b"\x80\x80 two\nthree \xe2\x80"]
    texts = pa.array(raw, pa.binary()).view(pa.string())
    batch = pa.record_batch({"text": texts, "id": pa.array(["doc0", "doc1"])})
    with tempfile.TemporaryDirectory() as folder:
        kept, *_ = remove_lines(batch, 0, find_repeated([[batch]], SMALL, 1, Path(folder)), SMALL)
    assert kept.column("text").view(pa.binary()).to_pylist() == [raw[0], b"three \xe2\x80"]


def test_real_texts_equal_the_slow_twin(testdata: Path, tmp_path: Path) -> None:
    texts = pq.read_table(testdata / "neardup/docs.parquet", columns=["text"])["text"].to_pylist()[::8]
    with gzip.open(testdata / "text/mixed_multilingual_code.jsonl.gz", "rt", encoding="utf-8") as file:
        texts += [json.loads(line)["text"] for line in file][::4]
    for config in (Config(documents=2), Config(documents=2, unit="paragraph", keep_first=False)):
        batch = documents(texts)
        outcome = remove_lines(batch, 0, find_repeated([[batch]], config, 4, tmp_path), config)
        found = left([outcome], len(texts))
        expected = oracle.removed(texts, config)
        assert sum(one.removed for one in expected) > 20
        for i, one in enumerate(expected):
            assert found[f"doc{i}"][0] == (one.text if one.kept else "lines.min_kept_words")


def test_many_lines_in_one_slot_and_rows_beyond_32_bits(tmp_path: Path) -> None:
    batch = documents([f"line of words number {chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600)])
    write_line_hashes([batch], tmp_path / "unit.lines", SMALL)
    data = (tmp_path / "unit.lines").read_bytes()
    hashes, first = repeated_lines([source(data, 2**33), source(data, 2**34)], 0, 1, SMALL)
    assert len(hashes) == 600
    assert (np.diff(hashes.astype(object)) > 0).all()
    assert sorted(first.tolist()) == [2**33 + row for row in range(600)]


def test_files_that_are_damaged_are_named(tmp_path: Path) -> None:
    write_line_hashes([documents(["one line of words"])], tmp_path / "unit.lines", SMALL)
    data = (tmp_path / "unit.lines").read_bytes()
    with pytest.raises(ValueError, match=r"unit\.lines: .* bytes at"):
        repeated_lines([source(data[:-1])], 0, 1, SMALL)
    with pytest.raises(ValueError, match=r"unit\.lines: not a file of line hashes"):
        repeated_lines([source(bytes(len(data)))], 0, 1, SMALL)
    with pytest.raises(ValueError, match="partition 3 of 3"):
        repeated_lines([source(data)], 3, 3, SMALL)
    for content in (b"", b"1234", bytes(80)):
        (tmp_path / "repeated").write_bytes(content)
        with pytest.raises(ValueError, match="repeated: not a table of repeated lines"):
            open_repeated(tmp_path / "repeated")


def test_files_of_impossible_length_and_of_other_hashes_are_named(tmp_path: Path) -> None:
    write_line_hashes([documents(["one line of words"])], tmp_path / "unit.lines", SMALL)
    data = (tmp_path / "unit.lines").read_bytes()
    header = 8 * (lines.SLOTS + 1)
    longer = data[: header - 8] + b"\xff" * 4 + data[header - 4 :]
    with pytest.raises(ValueError, match=r"unit\.lines: (no memory for|16 of) .* remove it to make it again"):
        repeated_lines([source(longer)], 0, 1, SMALL)
    with pytest.raises(ValueError, match=r"unit\.lines: records differ from their checksum; remove it"):
        repeated_lines([source(data[:-1] + bytes([data[-1] ^ 1]))], 0, 1, SMALL)
    data = without_checksums(data, 16)
    slot = next(
        slot for slot in range(lines.SLOTS) if data[8 * slot : 8 * slot + 8] != data[8 * slot + 8 : 8 * slot + 16]
    )
    half = slot // (lines.SLOTS // 2)
    moved = data[: header + 7] + bytes([data[header + 7] ^ 0x80]) + data[header + 8 :]
    with pytest.raises(ValueError, match=rf"unit\.lines: hashes of another partition than {half} of 2; remove it"):
        repeated_lines([source(moved)], half, 2, SMALL)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1), st.booleans())
def test_any_bytes_may_be_wrong_in_the_table(changes: list[tuple[float, int]], keep_first: bool) -> None:
    config = Config(documents=2, min_words=1, min_kept_words=1, keep_first=keep_first)
    batch = documents([f"the line {chr(97 + i % 26)}{chr(97 + i % 7)}" for i in range(300)])
    with tempfile.TemporaryDirectory() as folder:
        find_repeated([[batch]], config, 1, Path(folder))
        path = Path(folder, "repeated")
        wrong = bytearray(path.read_bytes())
        for where, change in changes:
            wrong[int(where * (len(wrong) - 1))] ^= change
        path.write_bytes(wrong)
        told = ""
        try:
            kept, dropped, *_ = remove_lines(batch, 0, open_repeated(path), config)
            assert kept.num_rows + dropped.num_rows == 300
        except ValueError as error:
            told = str(error)
        assert told.startswith((f"{path}: not a table of repeated lines", f"{path}: differs from its")) or not told


def test_a_table_with_wrong_places_finds_nothing_beyond_its_end(tmp_path: Path) -> None:
    batch = documents([f"the line {i % 9}" for i in range(50)] + ["a", "b", "a", "b"])
    find_repeated([[batch]], SMALL, 1, tmp_path)
    words = np.delete(np.fromfile(tmp_path / "repeated", "<u8"), -3)  # the checksum
    words[-1] &= np.uint64(2**63 - 1)
    for place in (2**40, -(2**40)):
        words[-4] = np.array(place, np.int64).view(np.uint64)  # where the last but one of the starts leads
        words.tofile(tmp_path / "repeated")
        kept, dropped, *_ = remove_lines(batch, 0, open_repeated(tmp_path / "repeated"), SMALL)
        assert kept.num_rows + dropped.num_rows == 54


def test_partitions_of_the_table_come_in_order(tmp_path: Path) -> None:
    low, high = (np.array([value], np.uint64) for value in (5, 2**63))
    with pytest.raises(ValueError, match="another order"):
        write_repeated([(high, low), (low, low)], tmp_path / "repeated")
    for hashes in (np.array([5, 7, 6], np.uint64), np.array([5, 5], np.uint64)):
        with pytest.raises(ValueError, match="another order"):
            write_repeated([(hashes, hashes)], tmp_path / "repeated")


def test_settings_load_without_numba() -> None:
    code = "import sys, corpus.dedup.lines.stage; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
