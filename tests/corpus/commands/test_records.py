"""`corpus records`: whatever a WARC file says, a terminal obeys none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from corpus.commands.records import records
from tests.support.warc_records import HTML, record, response

EVIL = "\x1b[2J\x9b31m\u202e"
SHOWN = r"\u001b[2J\u009b31m\u202e"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    parts = [
        record(f"re{EVIL}quest", b"abc"),
        response(HTML, f"Content-Type: te{EVIL}xt", status=f"2{EVIL} OK", url=f"https://a.example/{EVIL}"),
        record("resource", b"abc", extra=f"WARC-Block-Digest: sha1:{EVIL}\r\n", length=900),
    ]
    path = tmp_path / "evil.warc"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("option", [[], ["--check"], ["--json"], ["--check", "--json"]])
def test_no_escape_sequence_is_printed(hostile: Path, option: list[str]) -> None:
    answer = CliRunner().invoke(records, [str(hostile), *option])
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    assert all(line.isprintable() for line in answer.output.split("\n"))
    assert SHOWN.lower() in answer.output.lower() or "--json" in option
