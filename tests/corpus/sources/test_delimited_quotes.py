"""Quotes of CSV that are not closed, or stand where RFC 4180 has none, fail the file: no row is swallowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.inputs import read_documents


@pytest.mark.parametrize(
    "text", ['id,text\n1,a\n2,"b\n3,c\n', 'id,text\n1,"a" b\n2,c\n', 'id,text\n1,a\n2,"b\n3,c\n4,"d"\n5,e\n']
)
def test_a_wrong_quote_names_file_and_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"a\.csv: line \d: .*; is a quote before it not closed, or not doubled\?"):
        list(read_documents(tmp_path))


def test_right_quotes_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"a ""b"", c\nd"\n2,\n')
    assert [row["text"] for row in read_documents(tmp_path)] == ['a "b", c\nd', ""]
