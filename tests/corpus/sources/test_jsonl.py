"""JSON lines of any kind that people have: cut anywhere, compressed, with odd numbers, odd lines and odd characters."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from corpus.run.chain import Chain
from corpus.sources import jsonl, plan
from corpus.sources.columns import Columns
from corpus.sources.formats import Part
from corpus.sources.plan import open_sources
from tests.support.sources import read_files
from tests.support.works import NotingAttempt

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write(path: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def test_lines_with_everything(tmp_path: Path) -> None:
    row = {"text": "tä", "id": 7, "url": "u", "language_score": 1, "token_count": "12", "meta": {"a": 1}, "date": None}
    read = read_files(write(tmp_path / "a.jsonl", row, {"text": ""}))
    first, second = read.documents
    assert first == {
        "text": "tä",
        "id": "7",
        "dump": None,
        "url": "u",
        "date": None,
        "file_path": "a.jsonl",
        "language": None,
        "language_score": 1.0,
        "token_count": 12,
        "warc_offset": None,
        "warc_length": None,
        "source_file": "a.jsonl",
        "source_offset": 0,
    }
    at = len(json.dumps(row)) + 1
    assert (second["text"], second["id"], second["source_offset"]) == ("", f"a.jsonl@{at}", at)
    assert read.files.left_out == ["meta"]


def test_rows_that_give_no_document_are_named(tmp_path: Path) -> None:
    lines: list[Any] = [
        {"text": "good", "id": "0"},
        {"text": None, "id": "1"},
        {"id": "2"},
        {"text": 5, "id": "3"},
        {"text": ["t"], "id": "4"},
        "[1]",
        '{"text": "cut',
        '"text"',
        b'{"text": "\xff"}',
        '{"text": "\\ud800", "id": "9"}',
        '{"text": "' + "[" * 10 + '", "x": ' + "[" * 200_000 + "}",
        "",
        "  \t\r",
        {"text": "good too"},
    ]
    read = read_files(write(tmp_path / "a.jsonl", *lines))
    assert read.texts == ["good", "good too"]
    rules = list(read.rules.values())
    assert rules == ["import.no_text"] * 2 + ["import.not_json"] * 5 + ["import.not_utf8"] * 2 + ["import.not_json"]
    assert [row["id"] for row in read.dropped[:4]] == ["1", "2", "3", "4"]
    values = [row["value"] for row in read.dropped]
    assert values[2:5] == ["the text is a number", "the text is a list", "it is a list"]
    assert values[7:] == ["line: byte 10", "lone surrogate at character 0", "brackets are nested too deep"]
    assert read.accounts["a"]["read"] == 12


def test_python_decides_what_a_line_holds(tmp_path: Path) -> None:
    lines = [
        '{"text": "one", "text": "two", "id": 123456789012345678901234567890}',
        '{"text": "nan", "x": NaN, "y": [1e400, -Infinity], "id": 1.50}',
        '{"text": "surrogates \\ud83d\\ude00", "id": [1, {"b": 18446744073709551616}]}',
        '{"text": "id", "id": true, "x": {"big": 99999999999999999999, "small": 1e-7, "neg": -9223372036854775809}}',
        '{"text": "NUL \\u0000", "id": 18446744073709551615}',
    ]
    read = read_files(write(tmp_path / "a.jsonl", *lines), Columns(keep=True))
    assert read.texts == ["two", "nan", "surrogates 😀", "id", "NUL \0"]
    ids = ["123456789012345678901234567890", "1.5", '[1, {"b": 18446744073709551616}]', "true", "18446744073709551615"]
    assert read.ids == ids
    for line, document in zip(lines, read.documents, strict=True):
        rest = {name: value for name, value in json.loads(line).items() if name not in ("text", "id")}
        assert repr(json.loads(document["metadata"])) == repr(rest)


def test_other_fields_are_kept_as_json(tmp_path: Path) -> None:
    pile = {"text": "t", "meta": {"pile_set_name": "Pile-CC"}}
    read = read_files(write(tmp_path / "a.jsonl", pile, {"text": "u"}), Columns(keep=True))
    assert [json.loads(document["metadata"]) for document in read.documents] == [{"meta": pile["meta"]}, {}]
    named = Columns(keep=True, rename=(("dump", "meta.pile_set_name"),))
    read = read_files(tmp_path, named)
    assert [(d["dump"], json.loads(d["metadata"])) for d in read.documents] == [
        ("Pile-CC", {"meta": pile["meta"]}),
        (None, {}),
    ]


def test_dotted_names_reach_into_objects(tmp_path: Path) -> None:
    lines = [{"meta": {"url": "u", "text": "t", "n": {"id": 5}}}, {"meta": {"text": "v", "url": 3}}, {"meta": "w"}]
    columns = Columns(text="meta.text", id="meta.n.id", rename=(("url", "meta.url"),))
    read = read_files(write(tmp_path / "a.jsonl", *lines), columns)
    assert [(d["text"], d["url"]) for d in read.documents] == [("t", "u"), ("v", "3")]
    assert read.ids[0] == "5"
    assert list(read.rules.values()) == ["import.no_text"]


def test_fields_that_only_late_lines_have_are_taken(tmp_path: Path) -> None:
    lines = [{"text": str(row)} for row in range(150)] + [{"text": "late", "url": "u", "token_count": 3, "id": 9}]
    late = read_files(write(tmp_path / "a.jsonl", *lines)).documents[-1]
    assert (late["url"], late["token_count"], late["id"]) == ("u", 3, "9")


@pytest.mark.parametrize("packing", PACKERS)
def test_a_compressed_file_gives_the_same_rows(tmp_path: Path, packing: str) -> None:
    lines = b"".join(json.dumps({"text": f"text {row}"}).encode() + b"\r\n" for row in range(3000))
    (tmp_path / "a.jsonl").write_bytes(lines)
    plain = read_files(tmp_path / "a.jsonl")
    pack = PACKERS[packing]
    (tmp_path / f"b.json{packing}").write_bytes(pack(lines[:40_000]) + pack(lines[40_000:]))
    read = read_files(tmp_path / f"b.json{packing}")
    assert read.texts == plain.texts
    assert [d["source_offset"] for d in read.documents] == [d["source_offset"] for d in plain.documents]


@pytest.mark.parametrize("packing", [".gz", ".zst", ".bz2", ".xz"])
def test_compressed_data_that_are_cut_short_or_damaged_fail_the_unit(tmp_path: Path, packing: str) -> None:
    data = PACKERS[packing](b"".join(json.dumps({"text": f"text {row**5}"}).encode() + b"\n" for row in range(9000)))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for wrong in (data[:-9], data[: len(data) // 2], bytes(flipped), b'{"text": "plain"}\n'):
        (tmp_path / f"a.jsonl{packing}").write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"a.jsonl{packing}: damaged compressed data"):
            read_files(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b" "])
def test_an_empty_file_has_no_rows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert read_files(tmp_path).accounts["a"]["read"] == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PAR1\x15\x04", "holds Parquet, which is not what its name says"),
        (b"\x1f\x8b\x08", "holds gzip"),
        (b"\xff\xfe{\0", "holds UTF-16.*iconv"),
        (b"<html>\n<body>\n", "no line at its beginning is a JSON object; it begins with '<html>'"),
        (b'[\n{"text": "a"},\n{"text": "b"}\n]\n', "is one JSON value over several lines.*jq"),
        (b'{\n"text": "a"\n}\n', "is one JSON value over several lines.*jq"),
    ],
)
def test_a_file_of_another_content_fails_its_unit(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "b.jsonl").write_bytes(content)
    assert open_sources([str(tmp_path)]).keys() == ["b"]
    with pytest.raises(ValueError, match=rf"b.jsonl: {why}"):
        read_files(tmp_path)


def test_a_file_without_a_text_is_refused_before_work_begins(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"title": "t", "summary": "u"})
    with pytest.raises(ValueError, match=r"a.jsonl: no column `text`, only title, summary; .*--text-column"):
        open_sources([str(tmp_path)])
    assert read_files(tmp_path, Columns(text="summary")).texts == ["u"]


def test_a_number_that_is_none_fails_its_unit_by_name(tmp_path: Path) -> None:
    for value in ('"high"', "{}", "true", "[1]"):
        write(tmp_path / "a.jsonl", f'{{"text": "t", "language_score": {value}}}')
        with pytest.raises(ValueError, match=r"a.jsonl, byte 0: column language_score: .* cannot become double"):
            read_files(tmp_path)
    write(tmp_path / "a.jsonl", '{"text": "t", "token_count": 1.5}')
    with pytest.raises(ValueError, match=r"column token_count: '1.5' cannot become int64"):
        read_files(tmp_path)


def test_lines_that_are_too_large_are_dropped_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST", 3 << 20)
    monkeypatch.setattr("corpus.sources.documents.LARGEST", 2 << 20)
    lines = [
        {"text": "a"},
        {"text": "b" * (5 << 20)},
        {"text": "c"},
        {"text": "d" * (5 << 19)},
        {"text": "e" * (9 << 20)},
    ]
    read = read_files(write(tmp_path / "a.jsonl", *lines))
    assert read.texts == ["a", "c"]
    sizes = [int(row["value"]) for row in read.dropped]
    assert sizes == [(5 << 20) + 12, 5 << 19, (9 << 20) + 12]
    assert {row["rule"] for row in read.dropped} == {"import.too_large"}


LINE = st.one_of(
    st.builds(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(), st.text(max_size=12)),
    st.sampled_from([b"", b"  ", b"{}", b"[1]", b"\xff", b'{"text": "a\\nb"}\r']),
)


@given(lines=st.lists(LINE, max_size=12), last=st.booleans(), bom=st.booleans(), cuts=st.lists(st.integers(0, 300)))
def test_any_cut_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], last: bool, bom: bool, cuts: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    data = b"\xef\xbb\xbf" * bom + b'{"text": "first"}\n' + b"\n".join(lines) + b"\n" * last
    path.write_bytes(data)
    files = open_sources([str(path)])
    (unit,) = files.units(files.keys())
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]

    def rows(start: int, end: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        chain = Chain([], NotingAttempt(), 1.0)
        part = unit.__class__(unit.key, unit.inputs, part=Part(("cut.jsonl",), start, end))
        documents = [row for item in files.reader().read(part, chain) for row in item.batch.to_pylist()]
        return documents, chain.dropped().to_pylist()

    parts = [rows(start, end) for start, end in itertools.pairwise(bounds)]
    assert ([row for part in parts for row in part[0]], [row for part in parts for row in part[1]]) == rows(0, -1)
    found = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert sum(len(part[0]) + len(part[1]) for part in parts) == len(found)


def test_a_large_plain_file_is_cut_into_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"text": f"{row} " + "y" * (row % 977), "id": row} for row in range(5000)]
    write(tmp_path / "a.jsonl", *lines)
    whole = read_files(tmp_path)
    monkeypatch.setattr(plan, "PIECE", 100_000)
    pieces = read_files(tmp_path)
    assert len(pieces.accounts) == -(-(tmp_path / "a.jsonl").stat().st_size // 100_000) > 20
    assert pieces.documents == whole.documents


def test_what_well_known_data_sets_look_like(tmp_path: Path) -> None:
    """Dolma, C4, RedPajama, The Pile, OSCAR, code."""
    dolma = {"id": "d", "text": "t", "source": "s", "added": "2024", "metadata": {"a": 1}, "attributes": {}}
    c4 = {"text": "t", "timestamp": "2019-04-25T12:57:54Z", "url": "https://c4.example/"}
    oscar = {"content": "t", "warc_headers": {"warc-target-uri": "u"}, "metadata": {"identification": {"label": "de"}}}
    code = {"content": "t", "path": "a.py", "size": 3, "repo_name": "r"}
    write(tmp_path / "plain.jsonl", c4)
    for name, row in {"dolma": dolma, "c4": c4, "oscar": oscar, "code": code}.items():
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    read = read_files(tmp_path, Columns(rename=(("date", "timestamp"), ("language", "metadata.identification.label"))))
    by_file = {document["source_file"]: document for document in read.documents}
    assert {document["text"] for document in read.documents} == {"t"}
    assert by_file["c4.json.gz"]["date"] == "2019-04-25T12:57:54Z"
    assert by_file["oscar.json.gz"]["language"] == "de"
    assert by_file["dolma.json.gz"]["id"] == "d"
    kept = read_files(tmp_path / "dolma.json.gz", Columns(keep=True)).documents[0]["metadata"]
    assert json.loads(kept) == {name: value for name, value in dolma.items() if name not in ("id", "text")}


@pytest.mark.parametrize("depth", [10, 300, 980, 1010, 1100])
def test_deep_values_are_kept_or_their_rows_dropped(tmp_path: Path, depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"x": ', "}")):
        deep = opening * depth + "1" + closing * depth
        write(
            tmp_path / "a.jsonl", f'{{"text": "t", "deep": {deep}}}', '{"text": "u"}', f'{{"text": "v", "url": {deep}}}'
        )
        read = read_files(tmp_path, Columns(keep=True))
        assert len(read.texts) + len(read.dropped) == 3
        assert set(read.rules.values()) <= {"import.not_json"}
        if depth < 900:
            assert read.texts == ["t", "u", "v"]
            assert read.documents[0]["metadata"].count(opening.strip()) >= depth
