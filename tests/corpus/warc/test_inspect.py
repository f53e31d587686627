"""`corpus records`: the list of a file, the check of a file, and the bytes of one record."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner

from corpus.cli import main
from corpus.warc import inspect as records
from corpus.warc.pages import Page
from corpus.warc.source import warc_address
from tests.support.warc_records import HTML, record, response

ARTICLE = b"<html><body><article>" + b"".join(b"<p>A long sentence, number %d of it.</p>" % n for n in range(30))
PARTS = [
    record("warcinfo", b"software: x\r\n"),
    record("request", b"GET / HTTP/1.1\r\n\r\n"),
    response(gzip.compress(ARTICLE), "Content-Encoding: gzip", "Content-Type: text/html"),
    response(b"gone", status="404 Gone", url="https://a.example/gone").replace(b"uuid:response", b"uuid:gone"),
]
PACKERS: dict[str, Any] = {
    "a.warc": b"".join,
    "a.warc.gz": lambda parts: b"".join(map(gzip.compress, parts)),
    "one.warc.gz": lambda parts: gzip.compress(b"".join(parts)),
    "a.warc.zst": lambda parts: b"".join(map(zstandard.compress, parts)),
    "one.warc.zst": lambda parts: zstandard.compress(b"".join(parts)),
}


def run(*arguments: str | Path) -> tuple[bytes, BaseException | None, int]:
    result = CliRunner().invoke(main, ["records", *map(str, arguments)], standalone_mode=False)
    return result.stdout_bytes, result.exception, result.return_value


@pytest.mark.parametrize("name", PACKERS)
def test_every_record_is_listed_and_found(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(PACKERS[name](PARTS))
    listed = [json.loads(line) for line in run(path, "--json")[0].splitlines()]
    assert [line["type"] for line in listed] == ["warcinfo", "request", "response", "response"]
    assert [line.get("status") for line in listed] == [None, None, "200", "404"]
    assert listed[2]["content_type"] == "text/html"
    table = run(path)[0].decode().splitlines()
    assert len(table) == 5
    assert table[3].split() == [
        *(str(listed[2][key]) for key in ("offset", "length", "type", "status", "bytes", "content_type", "url")),
    ]
    for line, part in zip(listed, PARTS, strict=True):
        assert run(path, "--id", line["id"], "--raw")[0] == part
        if not name.startswith("one"):
            assert run(path, "--offset", str(line["offset"]), "--raw")[0] == part
    assert run(path, "--url", "https://a.example/", "--html")[0] == ARTICLE
    assert run(path, "--id", "urn:uuid:response", "--text")[0].startswith(b"A long sentence, number 0 of it.\n")
    assert run(path, "--check")[2] == 0


def test_a_missing_record_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(PACKERS["a.warc.gz"](PARTS))
    for options, said in (
        (["--id", "x", "--raw"], "no record with id x in it"),
        (["--offset", "1", "--html"], "no record with offset 1 in it"),
        (["--url", "https://a.example/gone", "--html"], "is no page: warc.status: 404, not 200; --raw shows it"),
        (["--id", "urn:uuid:request", "--text"], "is a request: no page; --raw shows it"),
    ):
        _, error, _ = run(path, *options)
        assert isinstance(error, ValueError)
        assert said in str(error)
        assert "\n" not in str(error)
    for options in (["--id", "x"], ["--raw"], ["--id", "x", "--url", "y", "--raw"], ["--id", "x", "--raw", "--check"]):
        assert "--" in str(run(path, *options)[1])
        assert run(path, *options)[1].__class__.__name__ == "UsageError"


def test_a_check_names_all_damage(testdata: Path) -> None:
    folder = testdata / "warc/edge"
    for name, fact in json.loads((folder / "corrupt.expected.json").read_text()).items():
        if name == "not-a-warc.warc.gz":
            with pytest.raises(ValueError, match="not a WARC file"):
                records.check(str(folder / name))
            continue
        report = records.check(str(folder / name))
        out, _, code = run(folder / name, "--check", "--json")
        assert code == (1 if report.damaged else 0)
        assert bool(report.damaged) == name.startswith("corrupt")
        found = json.loads(out)
        assert found["pages"] == report.pages
        assert len(found["damaged"]) == len(report.damaged)
        if fact["whole_records"] is not None:
            assert report.pages == len(fact["whole_records"])
            assert [line.id for line in report.damaged if line.id] == fact["damaged"]
        assert report.wrong == []
    text = run(folder / "corrupt-gzip-crc.warc.gz", "--check")[0].decode()
    assert "DAMAGED at byte 15319: response <urn:uuid:92acb5ea-" in text
    assert "12 whole records (11 response, 1 warcinfo), 11 pages" in text


def test_every_digest_of_real_pages_is_verified(testdata: Path) -> None:
    report = records.check(str(testdata / "warc/DEV-20240518000000-00005.warc.gz"))
    assert (report.verified, report.pages, report.wrong, report.damaged) == (505, 168, [], [])
    assert report.skipped == {"metadata": 168, "request": 168, "warcinfo": 1}


def test_a_digest_that_the_crawler_got_wrong_is_reported_and_costs_no_page(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    wrong = response(HTML, "Content-Type: text/html", extra=f"WARC-Block-Digest: sha1:{'0' * 40}\r\n")
    path.write_bytes(gzip.compress(wrong))
    report = records.check(str(path))
    assert ([line.digest for line in report.wrong], report.pages, report.damaged) == (["wrong"], 1, [])
    assert "wrong digest at byte 0" in run(path, "--check")[0].decode()
    assert isinstance(records.body(str(path), records.find(str(path), lambda line: True, "")), Page)
    path.write_bytes(wrong)  # nothing but the digest vouches for it now
    report = records.check(str(path))
    assert ([line.fault for line in report.damaged], report.pages) == (["warc.damaged"], 0)
    with pytest.raises(ValueError, match=r"the record at byte 0 is no good: warc\.damaged: sha1:0000"):
        records.find(str(path), lambda line: True, "")


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '{"inputs": 1}', '{"inputs": []}', '{"inputs": [[1]]}'])
def test_a_receipt_of_another_shape_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "_units").mkdir()
    (tmp_path / "_units/a.warc.gz.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.warc\.gz\.json: not a receipt of a fetched file"):
        warc_address(str(tmp_path / "a.warc.gz"))
