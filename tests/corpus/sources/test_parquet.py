"""Parquet of any kind that people have: types of text, nested columns, ids, row groups, damage."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.schema import DOCUMENTS
from corpus.sources import parquet
from corpus.sources.columns import Columns
from corpus.sources.plan import open_sources
from corpus.store.records import Input
from tests.support.sources import read_files

TEXTS = ["first", "", "zwölf Boxkämpfer", "日本語", None, "x" * 5000]


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_every_type_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    array = pa.array(TEXTS, pa.binary() if pa.types.is_binary(kind) else pa.string()).cast(kind)
    read = read_files(write(tmp_path / "a.parquet", {"text": array}))
    assert read.texts == [text for text in TEXTS if text is not None]
    assert read.ids == [f"a.parquet#{row}" for row in (0, 1, 2, 3, 5)]
    assert read.rules == {"a.parquet#4": "import.no_text"}
    assert read.files.schema.names == [*DOCUMENTS.names, "source_file", "source_offset"]


def test_fineweb_keeps_its_columns_and_adds_where_a_row_came_from(tmp_path: Path) -> None:
    row = {
        "text": "t",
        "id": "<urn:uuid:1>",
        "dump": "CC-MAIN-2024-10",
        "url": "https://a.example/",
        "date": "2024-02-20T00:00:00Z",
        "file_path": "s3://commoncrawl/a.warc.gz",
        "language": "en",
        "language_score": 0.9,
        "token_count": 1,
    }
    write(tmp_path / "data/CC-MAIN-2024-10/000_00000.parquet", {name: [value] for name, value in row.items()})
    (tmp_path / "README.md").write_text("a card")
    read = read_files(tmp_path)
    lineage = {"source_file": "data/CC-MAIN-2024-10/000_00000.parquet", "source_offset": 0}
    assert read.documents == [row | {"warc_offset": None, "warc_length": None} | lineage]
    assert list(read.accounts) == ["data_CC-MAIN-2024-10_000_00000"]


def test_known_columns_are_cast(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 2, 20, 1, 2, 3, 500000, tzinfo=datetime.UTC)
    path = write(
        tmp_path / "a.parquet",
        {
            "text": ["t", "u"],
            "id": [7, None],
            "date": pa.array([when, when.replace(microsecond=0)], pa.timestamp("us", "Europe/Berlin")),
            "language_score": [1, None],
            "token_count": ["12", " "],
            "warc_offset": pa.array([3.0, None]),
            "language": pa.array(["en", None]).dictionary_encode(),
            "dump": [True, None],
            "url": pa.array([decimal.Decimal("1.50"), None]),
        },
    )
    first, second = read_files(path).documents
    assert first == {
        "text": "t",
        "id": "7",
        "dump": "true",
        "url": "1.50",
        "date": "2024-02-20T01:02:03.5Z",
        "file_path": "a.parquet",
        "language": "en",
        "language_score": 1.0,
        "token_count": 12,
        "warc_offset": 3,
        "warc_length": None,
        "source_file": "a.parquet",
        "source_offset": 0,
    }
    assert (second["id"], second["date"], second["token_count"]) == ("a.parquet#1", "2024-02-20T01:02:03Z", None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([datetime.date(2024, 2, 20)]), "2024-02-20"),
        (pa.array([1_500], pa.timestamp("ms")), "1970-01-01T00:00:01.5"),
        (pa.array([100], pa.timestamp("s")), "1970-01-01T00:01:40"),
        (pa.array([100_000_000_001], pa.timestamp("ns", "UTC")), "1970-01-01T00:01:40.000000001Z"),
    ],
)
def test_dates_are_iso_8601(tmp_path: Path, values: pa.Array, expected: str) -> None:
    assert read_files(write(tmp_path / "a.parquet", {"text": ["t"], "date": values})).documents[0]["date"] == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": [1]}, r"a.parquet: column 'text' holds int64, which cannot become text .*--text-column"),
        ({"text": [["a"]]}, r"column 'text' holds list<.*--text-column"),
        ({"text": ["t"], "language": [{"code": "en"}]}, r"column 'language' holds struct<.*--map 'language='"),
        ({"text": ["t"], "token_count": [True]}, r"column 'token_count' holds bool, which cannot become token_count"),
        ({"a": ["t"], "b": ["u"]}, r"a.parquet: no column `text`, only a, b; .*--text-column"),
        ({"a": [1]}, r"a.parquet: no column `text`, only a; .*--text-column"),
    ],
)
def test_what_cannot_be_cast_is_said_before_work_begins(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(ValueError, match=message):
        open_sources([str(path)])


def test_a_value_that_cannot_be_cast_fails_its_unit_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["t"], "token_count": ["many"]})
    with pytest.raises(ValueError, match=r"a.parquet: column token_count: string cannot become int64 .*many"):
        read_files(path)
    read = read_files(path, Columns(rename=(("token_count", ""),)))
    assert (read.documents[0]["token_count"], read.files.left_out) == (None, ["token_count"])


@pytest.mark.parametrize("name", ["text", "content", "raw_content", "body", "document", "anything"])
def test_the_text_column_has_usual_names(tmp_path: Path, name: str) -> None:
    columns = {"number": [1], name: ["t"]} | ({} if name == "anything" else {"title": ["not this"]})
    assert read_files(write(tmp_path / "a.parquet", columns)).texts == ["t"]


def test_dotted_names_reach_into_structs(tmp_path: Path) -> None:
    meta = pa.array([{"url": "u", "page": {"no": 5}, "body": "t"}, None])
    path = write(tmp_path / "a.parquet", {"meta": meta, "other": ["x", "y"], "a.b": ["dot", None]})
    columns = Columns(text="meta.body", id="meta.page.no", rename=(("url", "meta.url"), ("dump", "a.b")))
    read = read_files(path, columns)
    assert [(d["text"], d["id"], d["url"], d["dump"]) for d in read.documents] == [("t", "5", "u", "dot")]
    assert read.rules == {"a.parquet#1": "import.no_text"}
    assert read.files.left_out == ["other"]


def test_a_column_that_is_named_and_nowhere_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["t"]})
    for columns, flag in (
        (Columns(text="body"), "no column 'body', only text"),
        (Columns(id="uid"), "--id-column uid: no file has this column"),
        (Columns(rename=(("url", "link"),)), "--map url=link: no file has this column"),
    ):
        with pytest.raises(ValueError, match=flag):
            open_sources([str(path)], columns)
    with pytest.raises(ValueError, match="documents have no column 'link'"):
        Columns(rename=(("link", "url"),))
    with pytest.raises(ValueError, match="named twice"):
        Columns(id="a", rename=(("id", "b"),))


def test_bytes_that_are_not_utf8_are_dropped_by_name(tmp_path: Path) -> None:
    bad = pa.array([b"good", b"ok\xff", b"\xed\xa0\x80", None], pa.binary())
    url = pa.array([b"u", b"v", b"w", b"\xc3"], pa.binary())
    for kind in (pa.string(), pa.binary()):
        columns = {"text": bad.view(kind), "url": url.view(kind), "id": ["a", "b", "c", "d"]}
        read = read_files(write(tmp_path / "a.parquet", columns))
        assert read.texts == ["good"]
        assert read.rules == dict.fromkeys("bcd", "import.not_utf8")
        assert [row["value"] for row in read.dropped] == ["text: byte 2", "text: byte 0", "url: byte 0"]


def test_texts_that_are_too_large_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.sources.documents.LARGEST", 1000)
    read = read_files(write(tmp_path / "a.parquet", {"text": ["x" * 1000, "x" * 1001, "y"]}))
    assert read.texts == ["x" * 1000, "y"]
    assert [(row["rule"], row["value"]) for row in read.dropped] == [("import.too_large", "1001")]


def test_equal_ids_are_counted(tmp_path: Path) -> None:
    read = read_files(write(tmp_path / "a.parquet", {"text": ["a", "b", "c", "d"], "id": ["1", "2", "1", "1"]}))
    assert read.accounts["a"]["equal_ids"] == 2
    assert (
        "equal_ids" not in read_files(write(tmp_path / "b.parquet", {"text": ["a", "b"], "id": [1, 2]})).accounts["b"]
    )


def test_a_file_is_cut_into_runs_of_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{row:05} " + "words " * (row % 40) for row in range(3000)]
    path = write(tmp_path / "a.parquet", {"text": texts}, row_group_size=100, use_dictionary=False)
    whole = read_files(path)
    assert list(whole.accounts) == ["a"]
    monkeypatch.setattr(parquet, "PIECE", 50_000)
    pieces = read_files(path)
    assert list(pieces.accounts) == [f"a-{number:05}" for number in range(len(pieces.accounts))]
    assert len(pieces.accounts) > 5
    assert pieces.documents == whole.documents
    assert {account["read"] % 100 for account in pieces.accounts.values()} == {0}


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_row_groups_of_any_size(tmp_path: Path, size: int) -> None:
    texts = [f"text {row}" for row in range(20_000 if size > 7 else 500)]
    read = read_files(write(tmp_path / "a.parquet", {"text": texts, "id": range(len(texts))}, row_group_size=size))
    assert read.texts == texts
    assert [document["source_offset"] for document in read.documents] == list(range(len(texts)))


def test_a_file_without_rows_and_without_row_groups(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"text": pa.array([], pa.string())})
    with pq.ParquetWriter(tmp_path / "b.parquet", pa.schema([("text", pa.string())])):
        pass
    read = read_files(tmp_path)
    assert [(key, account["read"]) for key, account in read.accounts.items()] == [("a", 0), ("b", 0)]


def test_kept_columns_are_behind_ours_with_their_types(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"text": ["t"], "score": pa.array([1], pa.int32()), "tags": [["x"]]})
    write(tmp_path / "b.parquet", {"score": [0.5], "text": ["u"], "kind": pa.array(["k"]).dictionary_encode()})
    read = read_files(tmp_path, Columns(keep=True))
    assert read.files.schema.names[13:] == ["score", "tags", "kind"]
    assert [str(field.type) for field in read.files.schema][13:] == ["double", "list<element: string>", "string"]
    assert [(d["score"], d["tags"], d["kind"]) for d in read.documents] == [(1.0, ["x"], None), (0.5, None, "k")]
    assert read.files.left_out == []
    assert set(read_files(tmp_path).files.left_out) == {"score", "tags", "kind"}
    assert open_sources([str(tmp_path)], Columns(keep=True)).config() != open_sources([str(tmp_path)]).config()


def test_kept_columns_of_one_name_and_different_kinds_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"text": ["t"], "score": [1]})
    write(tmp_path / "b.parquet", {"text": ["u"], "score": [["x"]]})
    with pytest.raises(ValueError, match=r"b.parquet: column 'score' holds list.* but int64 in .*a.parquet"):
        open_sources([str(tmp_path)], Columns(keep=True))
    assert read_files(tmp_path).texts == ["t", "u"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>404</html>", "is not a Parquet file"),
        (b"", "is not a Parquet file .it is empty"),
        (b"PAR1 cut off", "damaged Parquet file"),
    ],
)
def test_a_file_of_another_content_fails_its_unit_alone(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "b.parquet").write_bytes(content)
    write(tmp_path / "a.parquet", {"text": ["t"]})
    files = open_sources([str(tmp_path)])
    assert files.keys() == ["a", "b"]
    assert read_files(tmp_path / "a.parquet").texts == ["t"]
    with pytest.raises(ValueError, match=rf"b.parquet: {why}"):
        read_files(tmp_path / "b.parquet")


def test_damage_within_a_file_names_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": [f"{row} of many texts" for row in range(5000)]})
    data = bytearray(path.read_bytes())
    data[200:4000] = b"\0" * 3800
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a.parquet: damaged Parquet file"):
        read_files(path)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="two columns 'text'"):
        open_sources([str(tmp_path)])


def test_a_file_that_vanished_fails_its_unit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["t"]})
    files = open_sources([str(path)])
    path.unlink()
    (unit,) = files.units(["a"])
    assert unit.inputs == (Input(str(path), 0, ""),)
    from corpus.run.chain import Chain
    from tests.support.works import NotingAttempt

    with pytest.raises(FileNotFoundError, match=r"a.parquet"):
        list(files.reader().read(unit, Chain([], NotingAttempt(), 1.0)))


def test_kept_texts_are_utf8_too(tmp_path: Path) -> None:
    bad = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    read = read_files(write(tmp_path / "a.parquet", {"text": ["t", "u"], "title": bad}), Columns(keep=True))
    assert [(d["text"], d["title"]) for d in read.documents] == [("t", "ok")]
    assert [row["value"] for row in read.dropped] == ["title: byte 0"]
    nested = pa.StructArray.from_arrays([bad], ["inner"])
    path = write(tmp_path / "b.parquet", {"text": ["t", "u"], "title": nested})
    assert read_files(path).texts == ["t", "u"]
    with pytest.raises(ValueError, match=r"b.parquet: column title: .*UTF8"):
        read_files(path, Columns(keep=True))


def test_a_struct_is_kept_whole_where_a_field_of_it_is_taken(tmp_path: Path) -> None:
    meta = [{"url": "u", "n": 1}, {"url": None, "n": 2}]
    path = write(tmp_path / "a.parquet", {"text": ["t", "v"], "meta": meta, "url": ["no", "no"]})
    read = read_files(path, Columns(keep=True, rename=(("url", "meta.url"),)))
    assert [(d["url"], d["meta"]) for d in read.documents] == list(zip(["u", None], meta, strict=True))
    assert read.files.left_out == ["url"]
