"""Where texts come from: every kind of file gives the same documents, limits and samples are what they say."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import bpe.sources
from bpe.count import count_pretokens
from bpe.sources import files_of, read_texts

DOCUMENTS = [f"Document {number} sagt “Grüße”.\n" * (number % 7) for number in range(5000)]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    # Two frames, as `cat` of two files makes them.
    ".zst": lambda content: zstandard.compress(content[:1000]) + zstandard.compress(content[1000:]),
}


def documents_of(*files: Path, **options: object) -> list[str]:
    found: list[str] = []
    for item in read_texts(files, **options):  # type: ignore[arg-type]
        found += [item] if isinstance(item, str) else [text or "" for text in item.to_pylist()]
    return found


def json_lines(documents: list[str], field: str = "text") -> bytes:
    return "".join(json.dumps({"id": 1, field: text}) + "\n" for text in documents).encode()


@pytest.mark.parametrize("packed", PACK)
def test_json_lines(tmp_path: Path, packed: str) -> None:
    file = tmp_path / f"a.jsonl{packed}"
    file.write_bytes(PACK[packed](json_lines(DOCUMENTS, "body")))
    assert documents_of(file, column="body") == DOCUMENTS
    with pytest.raises(ValueError, match="line 1: no JSON object with 'text'"):
        documents_of(file)


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k"])
def test_a_text_file_in_pieces_is_split_as_one_text(
    tmp_path: Path, packed: str, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpe.sources, "RUN_BYTES", 500)
    text = "".join(DOCUMENTS[:200]) + "a \n b\r\nc\n\n\u00a0d\ne\n" * 300 + "last \n\n"
    file = tmp_path / f"a.txt{packed}"
    file.write_bytes(PACK[packed](text.encode()))
    pieces = documents_of(file)
    assert "".join(pieces) == text
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 1000
    found, expected = count_pretokens(pieces, pattern), count_pretokens([text], pattern)
    assert sorted(found.counts) == sorted(expected.counts)
    assert len(found.content) == len(expected.content)


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_parquet_columns_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([*DOCUMENTS, None]).cast(kind)
    pq.write_table(pa.table({"body": column}), tmp_path / "a.parquet")
    assert documents_of(tmp_path / "a.parquet", column="body") == [*DOCUMENTS, ""]
    assert documents_of(tmp_path / "a.parquet", column="body", limit=1 << 40, sample=1.0) == [*DOCUMENTS, ""]
    assert len(count_pretokens(read_texts([tmp_path / "a.parquet"], "body"), "gpt2").counts) > 100


def test_columns_that_hold_no_text_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"a"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: column 'text' holds binary, not text"):
        documents_of(tmp_path / "a.parquet")


def test_a_folder_holds_files_of_any_kind(tmp_path: Path) -> None:
    for name in ("b.txt", "c.jsonl.zst", "a.parquet", "d.md"):
        (tmp_path / name).touch()
    assert [file.name for file in files_of(tmp_path)] == ["a.parquet", "b.txt", "c.jsonl.zst"]


def test_limit_ends_with_the_document_that_reaches_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": DOCUMENTS}), tmp_path / "a.parquet", row_group_size=100)
    (tmp_path / "b.jsonl").write_bytes(json_lines(DOCUMENTS))
    both = [tmp_path / "a.parquet", tmp_path / "b.jsonl"]
    size = len("".join(DOCUMENTS).encode())
    for limit in (1, 50, 1000, size // 2, size - 1, size, size + 1, 2 * size, 3 * size):
        found = documents_of(*both, limit=limit)
        assert found == (DOCUMENTS * 2)[: len(found)]
        taken = len("".join(found).encode())
        assert taken >= min(limit, 2 * size)
        assert taken - len(found[-1].encode()) < limit


def test_a_sample_depends_on_documents_and_seed_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": DOCUMENTS[::-1]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(json_lines(DOCUMENTS))
    found = documents_of(tmp_path / "b.jsonl", sample=0.3)
    assert documents_of(tmp_path / "a.parquet", sample=0.3) == found[::-1]
    assert set(found) < set(documents_of(tmp_path / "b.jsonl", sample=0.4))
    assert documents_of(tmp_path / "b.jsonl", sample=0.3, seed=1) != found
    assert 0.25 < len({text for text in found if text}) / len({text for text in DOCUMENTS if text}) < 0.35


@pytest.mark.parametrize("options", [{"sample": 0.0}, {"sample": 1.1}, {"limit": 0}])
def test_impossible_shares_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} = "):
        documents_of(**options)


PACKED = {".gz": gzip.compress, ".zst": zstandard.compress}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda packed: packed[: len(packed) // 2],
    "cut in its last bytes": lambda packed: packed[:-3],
    "not packed at all": lambda packed: b"These are ordinary words.\n" * 9,
    "overwritten": lambda packed: packed[:40] + b"\xff" * 200 + packed[240:],
    "followed by something else": lambda packed: packed + b"something else",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("kind", ["jsonl", "txt"])
def test_damaged_compressed_files_are_named(tmp_path: Path, kind: str, packed: str, damage: str) -> None:
    file = tmp_path / f"a.{kind}{packed}"
    file.write_bytes(DAMAGES[damage](PACKED[packed](json_lines(DOCUMENTS))))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(file))}: damaged compressed data \([^\n]+\); copy or make"):
        documents_of(file)


def test_zstandard_frames_of_any_size_are_read_one_after_the_other(tmp_path: Path) -> None:
    parts = [b"", b"a\n", b"\n" * 5_000_000, b"", "Grüße\n".encode() * 100_000, b"end"]
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # a frame that holds no data, RFC 8878, 3.1.2
    (tmp_path / "a.txt.zst").write_bytes(skipped.join(map(zstandard.compress, parts)))
    assert "".join(documents_of(tmp_path / "a.txt.zst")).encode() == b"".join(parts)


GERMAN = "Grüße aus Köln\n" * 3
NOT_UTF8: dict[str, tuple[bytes, str]] = {
    "latin1.txt": (GERMAN.encode("latin-1"), r"latin1\.txt: not UTF-8 at byte 2; convert it, or .* \(bpe: --errors"),
    "late.txt": (b"a b\n" * 600_000 + b"\xff\n", r"late\.txt: not UTF-8 at byte 2400000; convert"),
    "utf16.txt": (GERMAN.encode("utf-16"), r"utf16\.txt: seems to be UTF-16; convert it to UTF-8: iconv"),
    "nomark.txt": (b"Hello\n".decode().encode("utf-16-be") * 9, r"nomark\.txt: seems to be UTF-16"),
    "latin1.jsonl": (
        '{"text": "a"}\n{"text": "Köln"}\n'.encode("latin-1"),
        r"line 2: not UTF-8 at byte 11; convert",
    ),
}


@pytest.mark.parametrize("name", NOT_UTF8)
def test_what_is_not_utf8_is_refused_with_the_place_or_replaced(name: str, tmp_path: Path) -> None:
    content, message = NOT_UTF8[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        documents_of(tmp_path / name)
    assert "\N{REPLACEMENT CHARACTER}" in "".join(documents_of(tmp_path / name, errors="replace")) or "nomark" in name


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_parquet_strings_that_are_not_utf8(kind: pa.DataType, tmp_path: Path) -> None:
    values = pa.array([b"K\xf6ln", b"plain"]).view(pa.string())
    column: pa.Array = pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int32()), values)
    column = column if kind != pa.string() else values.take(pa.array([0, None, 1]))
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet", use_dictionary=False)
    with pytest.raises(ValueError, match=r"a\.parquet: a text is not UTF-8 .*; convert it, or replace"):
        documents_of(tmp_path / "a.parquet")
    assert documents_of(tmp_path / "a.parquet", errors="replace") == ["K\ufffdln", "", "plain"]


def test_a_byte_order_mark_is_no_text_and_a_null_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfHello world\n")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "x"}\n{"text": null}\n{"text": "y"}\n')
    assert documents_of(tmp_path / "a.txt") == ["Hello world\n"]
    assert documents_of(tmp_path / "b.jsonl") == ["x", "", "y"]
    assert documents_of(tmp_path / "b.jsonl", sample=0.999999) == ["x", "", "y"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[" * 100_000, "line 1: nested too deeply; each line should be an object with 'text'"),
        ("[1, 2]", "line 1: no JSON object with 'text'"),
        ('{"body": "x"}', "line 1: no JSON object with 'text', only 'body'"),
        ('{"text": ["x"]}', "line 1: 'text' is not a string"),
        ("{", "line 1: not JSON (Expecting property name"),
    ],
)
def test_json_lines_of_another_shape(line: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'a.jsonl'}, {why}")):
        documents_of(tmp_path / "a.jsonl")


OTHER_PATH = '{"outputs": [{"kind": "documents", "path": [1]}]}'


@pytest.mark.parametrize("record", ["[" * 100_000, "[]", "{}", '{"outputs": 1}', '{"outputs": [1]}', "\0", OTHER_PATH])
def test_records_of_another_shape(record: str, tmp_path: Path) -> None:
    (tmp_path / "_units").mkdir()
    (tmp_path / "_units/u.json").write_text(record)
    with pytest.raises(ValueError, match=r"u\.json: not a commit record .*; run the stage again"):
        files_of(tmp_path)
