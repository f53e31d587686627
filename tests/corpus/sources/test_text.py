"""CSV and plain text: quotes, ends of lines, marks, cuts by file, line and separator."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corpus.sources import delimited, plan
from corpus.sources.columns import Columns
from corpus.sources.plan import open_sources
from tests.support.sources import read_files


def test_csv_fields_in_quotes_hold_anything(tmp_path: Path) -> None:
    rows = 'id,text,url\r\n1,"a, ""b""\r\nc\nd",u\r\n\r\n2,plain,\r\n,"",v'
    for name, data in {"a.csv": rows.encode(), "b.csv.gz": gzip.compress(b"\xef\xbb\xbf" + rows.encode())}.items():
        (tmp_path / name).write_bytes(data)
        read = read_files(tmp_path / name)
        assert read.texts == ['a, "b"\r\nc\nd', "plain", ""]
        assert read.ids == ["1", "2", f"{name}#2"]
        assert [d["url"] for d in read.documents] == ["u", None, "v"]
        assert [d["source_offset"] for d in read.documents] == [0, 1, 2]


def test_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('title\tcontent\ttoken_count\nx\t"a\tb"\t5\ny\tc, d\t\n')
    read = read_files(tmp_path, Columns(keep=True))
    assert [(d["text"], d["token_count"], d["title"]) for d in read.documents] == [
        ("a\tb", 5, "x"),
        ("c, d", None, "y"),
    ]


def test_rows_of_csv_that_give_no_document_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n0,good\n1,too,many\n2\n3,\xff\n4,good too\n")
    read = read_files(tmp_path)
    assert read.texts == ["good", "good too"]
    rules = ["import.not_csv", "import.not_csv", "import.not_utf8"]
    assert [(row["rule"], row["value"]) for row in read.dropped] == list(
        zip(rules, ["3", "1", "text: byte 0"], strict=True)
    )
    assert read.accounts["a"]["read"] == 5


def test_csv_without_header_or_with_an_open_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a.csv: is empty"):
        read_files(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"text,text\na,b\n")
    with pytest.raises(ValueError, match=r"a.csv: two columns are called 'text'"):
        open_sources([str(tmp_path)])
    monkeypatch.setattr(delimited, "_FIELD", 10_000)
    (tmp_path / "a.csv").write_bytes(b'text\n"never closed\n' + b"more\n" * 5000)
    with pytest.raises(ValueError, match=r"a.csv: line \d+: .*is a quote before it not closed"):
        read_files(tmp_path)


def test_a_text_file_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books/a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo\n")
    (tmp_path / "books/b.txt.gz").write_bytes(gzip.compress("zwölf".encode()))
    (tmp_path / "books/c.text").write_bytes(b"\xff")
    (tmp_path / "books/d.txt").write_bytes(b"")
    (tmp_path / "books/e.txt").write_bytes(b" \n")
    (tmp_path / "books/README.txt").write_text("no data")
    read = read_files(tmp_path)
    assert read.texts == ["one\r\n\ntwo\n", "zwölf"]
    assert read.ids == ["books/a.txt@0", "books/b.txt.gz@0"]
    assert read.rules == {"books/c.text@0": "import.not_utf8"}
    assert list(read.accounts) == ["books_a"]


def test_many_small_text_files_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "GATHERED", 100)
    for number in range(250):
        (tmp_path / f"{number:04}.txt").write_text(f"text {number}" * (1 + number % 3))
    files = open_sources([str(tmp_path)])
    assert files.keys() == ["0000", "0100", "0200"]
    read = read_files(tmp_path)
    assert len(read.texts) == 250
    assert [account["read"] for account in read.accounts.values()] == [100, 100, 50]
    assert len({document["source_file"] for document in read.documents}) == 250
    monkeypatch.setattr(plan, "PIECE", 500)
    assert len(open_sources([str(tmp_path)]).keys()) > 3
    assert read_files(tmp_path).documents == read.documents


def test_a_line_is_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xef\xbb\xbfone\r\n\n  \n" + "zwölf\n".encode() + b"\xff\nlast"
    (tmp_path / "a.txt").write_bytes(data)
    whole = read_files(tmp_path, Columns(by="line"))
    assert whole.texts == ["one", "zwölf", "last"]
    assert whole.ids == ["a.txt@0", "a.txt@12", "a.txt@21"]
    assert whole.rules == {"a.txt@19": "import.not_utf8"}
    for piece in (1, 2, 5, 9):
        monkeypatch.setattr(plan, "PIECE", piece)
        cut = read_files(tmp_path, Columns(by="line"))
        assert (cut.documents, cut.dropped) == (whole.documents, whole.dropped)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_a_separator_cuts_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("corpus.sources.text.BLOCK", block)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone<|end|>\ntw<|o\n<|end|><|end|> \n<|end|>three<|en")
    read = read_files(tmp_path, Columns(by="<|end|>"))
    assert read.texts == ["one", "\ntw<|o\n", "three<|en"]
    assert [d["source_offset"] for d in read.documents] == [0, 13, 43]
    (tmp_path / "a.txt").write_bytes(b"one<|end|>")
    assert read_files(tmp_path, Columns(by="<|end|>")).texts == ["one"]


@pytest.mark.parametrize("by", ["file", "line", "\n\n"])
def test_a_text_that_is_too_large_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    for module in ("text", "documents"):
        monkeypatch.setattr(f"corpus.sources.{module}.LARGEST", 2 << 20)
    (tmp_path / "a.txt").write_bytes(b"x" * (5 << 20) + (b"" if by == "file" else b"\n\nsmall\n\n" + b"y" * (4 << 20)))
    read = read_files(tmp_path, Columns(by=by))
    assert read.texts == ([] if by == "file" else ["small"])
    assert [row["value"] for row in read.dropped] == [str(n << 20) for n in ([5] if by == "file" else [5, 4])]


@pytest.mark.parametrize(
    ("head", "kind"), [(b"\xff\xfea\0", "UTF-16"), (b"PK\x03\x04", "a zip archive"), (b"%PDF-1", "PDF")]
)
def test_a_text_file_of_another_content_fails_its_unit(tmp_path: Path, head: bytes, kind: str) -> None:
    (tmp_path / "a.txt").write_bytes(head)
    with pytest.raises(ValueError, match=rf"a.txt: holds {kind}"):
        read_files(tmp_path)
