"""Opt-outs from use for AI in pages, HTTP headers and files of hosts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from protego import Protego

from corpus.filters import optout
from corpus.filters.optout_hosts import forbidden, load_hosts, origin, origin_hash, write_hosts
from corpus.filters.robots import allowed, matches, parse_robots
from corpus.schema import PAGES

NAMES = frozenset(name.lower() for name in ("robots", *optout.AI_AGENTS))


def signals_of(html: str, headers: str = "") -> list[tuple[str, str]]:
    return optout.signals(f"<html><head>{html}</head><body></body></html>".encode(), headers, NAMES)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<meta name="robots" content="noai, noimageai">', [("noai", "meta"), ("noimageai", "meta")]),
        ("<META CONTENT='index,NoAI' NAME=Robots>", [("noai", "meta")]),
        ('<meta name="GPTBot" content="noai"/>', [("noai", "meta")]),
        ('<meta name="robots" content="noml">', [("noml", "meta")]),
        ('<meta name="tdm-reservation" content="1">', [("tdm", "meta")]),
        ('<meta name="tdm-reservation" content="0">', [("tdm", "")]),
        ('<meta name="robots" content="noindex, nofollow">', []),
        ('<meta name="googlebot-news" content="noai">', []),
        ('<meta name="description" content="what noai means">', []),
        ('<!-- <meta name="robots" content="noai"> -->', []),
        ('<title>noai</title></head><body><meta name="robots" content="noai">', []),
        ('<meta name="robots" content="noai"><meta name="robots" content="noai">', [("noai", "meta")]),
    ],
)
def test_meta(html: str, expected: list[tuple[str, str]]) -> None:
    assert signals_of(html) == expected


def test_a_page_in_utf16() -> None:
    html = '<html><head><meta name="robots" content="noai"></head></html>'
    for encoding in ("utf_16", "utf_16_le", "utf_16_be"):
        assert optout.signals(html.encode(encoding), "", NAMES) == [("noai", "meta")]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("x-robots-tag: noai", [("noai", "header")]),
        ("x-robots-tag: noindex, noimageai", [("noimageai", "header")]),
        ("x-robots-tag: gptbot: noai, noindex", [("noai", "header")]),
        ("x-robots-tag: otherbot: noai", []),
        ("x-robots-tag: unavailable_after: 25 Jun 2027 15:00:00 PST", []),
        ("x-robots-tag: noindex\nx-robots-tag: noml", [("noml", "header")]),
        ("tdm-reservation: 1", [("tdm", "header")]),
        ("tdm-reservation: 0", [("tdm", "")]),
        ("tdm-reservation: yes", []),
        ("", []),
    ],
)
def test_headers(headers: str, expected: list[tuple[str, str]]) -> None:
    assert signals_of("", headers) == expected


def test_on_tdm_the_page_counts_before_its_header() -> None:
    assert signals_of('<meta name="tdm-reservation" content="0">', "tdm-reservation: 1") == [("tdm", "")]
    assert signals_of('<meta name="tdm-reservation" content="1">', "tdm-reservation: 0") == [("tdm", "meta")]


def pages(*rows: dict[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=PAGES)


ROBOTS = """\
User-agent: GPTBot
User-agent: ccbot  # both
Disallow: /private/
Allow: /private/open

User-agent: *
Disallow: /

User-agent: ClaudeBot/1.0
Disallow: /*.html$
"""
TDM = '[{"location": "/free/*", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}]'


@pytest.fixture
def hosts(tmp_path: Path) -> str:
    path = tmp_path / "optout.arrow"
    rows = [
        ("https://a.example/robots.txt", {"robots": ROBOTS}),
        ("https://b.example/", {"tdm": TDM}),
        ("http://c.example:8080/ai.txt", {"ai": "User-Agent: *\nDisallow: /art"}),
        ("https://d.example/", {"tdm": "no JSON", "robots": "\0\ufeff"}),
    ]
    assert write_hosts(str(path), [(origin_hash(url), texts) for url, texts in rows]) == 4
    return str(path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/private/x", [("robots", "CCBot,GPTBot")]),
        ("https://A.example:443/private/open/x", []),
        ("https://a.example/x.html", [("robots", "ClaudeBot")]),
        ("https://a.example/x.html?y", []),
        ("http://a.example/private/x", []),
        ("https://b.example/x", [("tdm", "host")]),
        ("https://b.example/free/x", []),
        ("http://c.example:8080/art/1", [("ai.txt", "host")]),
        ("http://c.example/art/1", []),
        ("https://d.example/", []),
        ("https://e.example/", []),
        ("no url", []),
    ],
)
def test_files_of_hosts(hosts: str, url: str, expected: list[tuple[str, str]]) -> None:
    assert forbidden(load_hosts(hosts), url, optout.AI_AGENTS, has_tdm=False) == expected


def test_recorded_and_counted_but_kept() -> None:
    batch = pages(
        {"url": "https://x.example/1", "html": b"<head><meta name=robots content=noai>"},
        {"url": "https://x.example/2", "html": b"<p>", "robots_headers": "tdm-reservation: 1"},
        {"url": "https://x.example/3", "html": b"<p>"},
        {"url": "https://x.example/4"},
    )
    kept, dropped, _, sums, *_ = optout.process(batch, optout.Config())
    assert (kept.num_rows, dropped.num_rows) == (4, 0)
    assert kept.column("opt_out").to_pylist() == ["noai:meta", "tdm:header", None, None]
    assert sums == {"opt_out_noai": 1, "opt_out_tdm": 1}


def test_dropped_if_asked(hosts: str) -> None:
    batch = pages(
        {"url": "https://b.example/1", "html": b"<p>"},
        {"url": "https://b.example/2", "html": b"<meta name=tdm-reservation content=0>"},
        {"url": "https://c.example/3", "html": b"<meta name=robots content='noai,noimageai'>"},
    )
    kept, dropped, *_ = optout.process(batch, optout.Config(drop=("tdm", "noai"), hosts=hosts))
    assert kept.column("opt_out").to_pylist() == [None]
    assert [(row["rule"], row["value"], row["threshold"]) for row in dropped.to_pylist()] == [
        ("optout.tdm", "host", "no opt-out"),
        ("optout.noai", "meta", "no opt-out"),
    ]


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"User-agent: *")
    with pytest.raises(ValueError, match="corpus optout"):
        load_hosts(str(path))


def test_no_hosts(tmp_path: Path) -> None:
    path = str(tmp_path / "none.arrow")
    assert write_hosts(path, []) == 0
    assert forbidden(load_hosts(path), "https://a.example/", optout.AI_AGENTS, has_tdm=False) == []


def test_origin() -> None:
    assert origin("HTTPS://Ex.Example.:443/a") == "https://ex.example"
    assert origin("http://ex.example:8080/") == "http://ex.example:8080"
    assert origin("//[::1") == origin("mailto:x") == origin("") == ""


PATTERNS = st.lists(st.sampled_from(["/", "a", "b", "*", "$", "?", "%41", "ab"]), min_size=1, max_size=8).map(
    lambda parts: "/" + "".join(parts)
)


@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=5), PATTERNS)
@example([(True, "/a"), (False, "/a")], "/a")
@example([(False, "/*a$")], "/aa")
def test_robots_as_protego_reads_them(rules: list[tuple[bool, str]], path: str) -> None:
    lines = [f"{'Allow' if allow else 'Disallow'}: {pattern}" for allow, pattern in rules if "$" not in pattern[:-1]]
    text = "\n".join(["User-agent: GPTBot", *lines])
    url = f"https://a.example{path}"
    expected = Protego.parse(text).can_fetch(url, "GPTBot")
    if "$" not in path:  # Protego reads it as an anchor in a URL too
        assert allowed(parse_robots(text)["gptbot"], url) == expected


@given(st.text(max_size=200), st.text(max_size=60))
def test_nothing_raises(text: str, url: str) -> None:
    rules = parse_robots(text)
    for name in rules:
        allowed(rules[name], f"https://a.example/{url}".replace("[", ""))
    optout.signals(text.encode("utf-8", "surrogatepass"), text, NAMES)


@given(st.binary(max_size=300))
def test_any_bytes(html: bytes) -> None:
    optout.signals(b"<meta name=robots content=noai>" + html, "", NAMES)


def test_no_pattern_takes_long() -> None:
    assert not matches("/" + "*a" * 2000 + "b", "/" + "a" * 20000)


@pytest.mark.parametrize(
    "piece", [b"<meta a", b"<meta ", b'<meta a=" ', b"<!--", b"noai", b"<meta name=robots content=noai "]
)
def test_no_page_takes_long(piece: bytes) -> None:
    optout.signals(b"<meta name=noai " + piece * 60_000, "", NAMES)
    optout.signals(b"noai<meta " + b"a" * 400_000, "", NAMES)
