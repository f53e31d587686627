"""A crawl's robots records -> the file of hosts; and the reader keeps the opt-out headers of pages."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corpus.filters.optout import AI_AGENTS
from corpus.filters.optout_build import build_hosts
from corpus.filters.optout_hosts import forbidden, load_hosts
from corpus.warc.pages import Page, read_pages

Response = tuple[str, str, bytes, list[tuple[str, str]], str]


def archive(path: Path, responses: list[Response]) -> str:
    """Write a WARC file of (URL, status, body, HTTP headers, date); returns its path."""
    with path.open("wb") as file:
        for number, (url, status, body, headers, date) in enumerate(responses):
            http = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
            block = http.encode("latin_1") + body
            head = (
                f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
                f"WARC-Record-ID: <urn:uuid:{number}>\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            file.write(gzip.compress(head.encode() + block + b"\r\n\r\n"))
    return str(path)


def plain(url: str, body: str, date: str = "2026-10-17T00:00:00Z", status: str = "200 OK") -> Response:
    return url, status, body.encode(), [("Content-Type", "text/plain")], date


def test_files_of_hosts(tmp_path: Path) -> None:
    robots = "User-agent: *\nDisallow: /\n\nUser-agent: GPTBot\nDisallow: /\n\nUser-agent: Googlebot\nDisallow: /\n"
    warc = archive(
        tmp_path / "robots.warc.gz",
        [
            plain("https://a.example/robots.txt", robots),
            plain("https://b.example/robots.txt", "User-agent: *\nDisallow: /"),
            plain("https://c.example/robots.txt", "User-agent: CCBot\nDisallow: /x", "2026-10-18T00:00:00Z"),
            plain("https://c.example/robots.txt", "User-agent: CCBot\nDisallow: /y", "2026-10-17T00:00:00Z"),
            plain("https://d.example/robots.txt", "User-agent: CCBot\nDisallow: /", status="404 Not Found"),
            plain("https://e.example/ai.txt", "\ufeffUser-Agent: *\r\nDisallow: /\r\n"),
            plain("https://f.example/.well-known/tdmrep.json", '[{"location": "*", "tdm-reservation": 1}]'),
            plain("https://g.example/.well-known/tdmrep.json", '[{"location": "*", "tdm-reservation": 0}]'),
            plain("https://h.example/page/robots.txt", "User-agent: CCBot\nDisallow: /"),
        ],
    )
    output = str(tmp_path / "optout.arrow")
    summary = build_hosts([warc], AI_AGENTS, output)
    assert (summary.read, summary.damaged, summary.hosts) == ({"robots": 4, "ai": 1, "tdm": 2}, 0, 4)
    assert summary.forbidding == {"gptbot": 1}
    hosts = load_hosts(output)
    said = {host: forbidden(hosts, f"https://{host}.example/x", AI_AGENTS, has_tdm=False) for host in "abcdefgh"}
    assert said == {
        "a": [("robots", "GPTBot")],
        "b": [],
        "c": [("robots", "CCBot")],
        "d": [],
        "e": [("ai.txt", "host")],
        "f": [("tdm", "host")],
        "g": [],
        "h": [],
    }


def test_files_without_robots_records_are_refused(tmp_path: Path) -> None:
    warc = archive(tmp_path / "x.warc.gz", [plain("https://a.example/", "hello")])
    with pytest.raises(ValueError, match=r"no robots\.txt"):
        build_hosts([warc], AI_AGENTS, str(tmp_path / "y"))
    (tmp_path / "no.warc.gz").write_bytes(b"what is this")
    with pytest.raises(ValueError, match="not a WARC"):
        build_hosts([str(tmp_path / "no.warc.gz")], AI_AGENTS, str(tmp_path / "y"))


@pytest.mark.parametrize("odd", [False, True], ids=["plain header", "odd header"])
def test_headers_of_pages(tmp_path: Path, odd: bool) -> None:
    headers = [
        ("Content-Type", "text/html"),
        ("X-Robots-Tag", "gptbot: noai"),
        ("x-robots-tag", "noml"),
        ("TDM-Reservation", "1"),
        ("X-Odd", "caf\xe9" if odd else "cafe"),
    ]
    date = "2026-10-17T00:00:00Z"
    pages: list[Response] = [
        ("https://a.example/", "200 OK", b"<html>", headers, date),
        ("https://a.example/2", "200 OK", b"<html>", headers[:1], date),
    ]
    warc = archive(tmp_path / "x.warc.gz", pages)
    with open(warc, "rb") as file:
        read = list(read_pages(file, warc))
    assert [page.robots_headers for page in read if isinstance(page, Page)] == [
        "x-robots-tag: gptbot: noai\nx-robots-tag: noml\ntdm-reservation: 1",
        None,
    ]
