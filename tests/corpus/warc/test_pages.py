"""WARC files, sound and broken, against real ones, the slow reader and arbitrary damage."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.schema import PAGES
from corpus.warc import inflate
from corpus.warc.pages import BadRecord, Page, read_pages, read_record
from tests.oracles import warc_reader
from tests.support.crawl_server import write_warc
from tests.support.warc_records import HTML, bad_of, only, pages_of, read, record, response, rule

# --- Real and prepared files


def test_page_has_the_columns_of_the_contract() -> None:
    assert list(Page._fields) == PAGES.names


def test_every_page_of_a_real_file(testdata: Path) -> None:
    for name in ("tiny/tiny-12-pages.warc.gz", "DEV-20240518000000-00004.warc.gz"):
        file = testdata / "warc" / name
        facts = [json.loads(line) for line in (testdata / "warc/pages.jsonl").read_text().splitlines()]
        known = {fact["uri"]: fact for fact in facts}
        with file.open("rb") as stream:
            items = list(read_pages(stream, f"s3://commoncrawl/{name}"))
        assert len(items) == (12 if "tiny" in name else 173)
        for page in items:
            assert isinstance(page, Page)
            fact = known[page.url]
            assert (page.url, page.charset, len(page.html)) == (
                fact["uri"],
                fact["http_charset"],
                fact["html_bytes"],
            )
            assert hashlib.sha1(page.html).hexdigest() == fact["sha1"]
            assert page.file_path == f"s3://commoncrawl/{name}"
            assert page.date.startswith("2024-05-18T")
        expected = [page[2:4] for page in warc_reader.pages(file.read_bytes())]
        assert [page[5:7] for page in items] == expected


@pytest.mark.parametrize("library", sorted(inflate.BACKENDS))
def test_edge_records(testdata: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "backend", inflate.BACKENDS[library])
    name = "edge-nonhtml-404-redirect-encodings"
    expected = json.loads((testdata / f"warc/edge/{name}.expected.json").read_text())
    with (testdata / f"warc/edge/{name}.warc.gz").open("rb") as stream:
        items = {item.id: item for item in read_pages(stream, name)}
    for fact in expected["responses"]:
        item = items.pop(fact["record_id"])
        assert item.url == fact["uri"]
        if fact["is_html_page"] and fact["payload_bytes"]:
            assert isinstance(item, Page), fact
            assert len(item.html) == fact["payload_bytes"], fact
            assert hashlib.sha1(item.html).hexdigest() == fact["payload_sha1"], fact
        else:
            assert isinstance(item, BadRecord), fact
            if fact["status"] != 200:
                assert item.drop == ("warc.status", fact["status"], 200)
            elif fact["is_html_page"]:
                assert item.drop == ("warc.empty", 0, 1)
            else:
                wrong = "application/pdf" if fact["name"] == "pdf-as-html" else fact["content_type"].split(";")[0]
                assert item.drop == ("warc.content_type", wrong, "text/html")
    others = {fact["name"]: items.pop(fact["record_id"], None) for fact in expected["other"]}
    assert not items
    pages = {name: item for name, item in others.items() if isinstance(item, Page)}
    assert {name: item.media for name, item in pages.items()} == {"resource": "text/html", "conversion": "text/plain"}
    assert {name: item.drop.rule for name, item in others.items() if isinstance(item, BadRecord)} == {
        "dns": "warc.protocol",
        "revisit": "warc.revisit",
    }


@pytest.mark.parametrize("library", sorted(inflate.BACKENDS))
def test_broken_files(testdata: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "backend", inflate.BACKENDS[library])
    folder = testdata / "warc/edge"
    rules = {}
    for name, fact in json.loads((folder / "corrupt.expected.json").read_text()).items():
        if name == "not-a-warc.warc.gz":
            continue
        with (folder / name).open("rb") as stream:
            items = list(read_pages(stream, name))
        rules[name] = [item.drop.rule for item in bad_of(items)]
        if fact["whole_records"] is not None:
            assert [page.id for page in pages_of(items)] == fact["whole_records"], name
            assert [item.id for item in bad_of(items) if item.id] == fact["damaged"], name
            assert len({item.id for item in items if item.id}) == len([item for item in items if item.id]), name
    assert rules == {
        "corrupt-truncated-at-eof.warc.gz": ["warc.truncated"],
        "corrupt-gzip-member-mid.warc.gz": ["warc.damaged"],
        "corrupt-gzip-crc.warc.gz": ["warc.damaged"],
        "corrupt-garbage-between-members.warc.gz": ["warc.damaged"],
        "corrupt-warc-content-length.warc.gz": ["warc.truncated", "warc.damaged"],
        "corrupt-header-line.warc.gz": ["warc.damaged"],
        "single-gzip-member.warc.gz": [],
        "uncompressed.warc": [],
        "corrupt-uncompressed-cut.warc": ["warc.truncated"],
        "empty.warc.gz": [],
    }


def test_a_file_that_is_no_warc(testdata: Path) -> None:
    file = testdata / "warc/edge/not-a-warc.warc.gz"
    with file.open("rb") as stream, pytest.raises(ValueError, match=r"^x/y\.gz: not a WARC file \(.*<html>.*\); "):
        list(read_pages(stream, "x/y.gz"))
    for data in (b"<html>", b"\0" * 100_000, b"\x1f\x8b\x08", gzip.compress(b""), b"PK\x03\x04" * 40_000):
        with pytest.raises(ValueError, match=r"^test\.warc\.gz: not a WARC file"):
            read(data)
    assert read(b"") == []


def test_plain_and_one_member_files_hold_the_same_pages(testdata: Path) -> None:
    folder = testdata / "warc/edge"
    plain = (folder / "uncompressed.warc").read_bytes()
    one = read((folder / "single-gzip-member.warc.gz").read_bytes())
    assert [(item.id, item.html) for item in pages_of(read(plain))] == [(item.id, item.html) for item in pages_of(one)]
    assert {item[5:7] for item in pages_of(one)} == {(0, 0)}  # no range holds one of them alone
    for page in pages_of(read(plain)):
        assert read_record(io.BytesIO(plain), page.warc_offset, page.warc_length)[-1] == page.html


# --- Against the slow reader

BODIES = st.lists(st.binary(max_size=300).map(lambda tail: b"<p>" + tail), min_size=1, max_size=6)


@given(BODIES, st.integers(1, 5000))
def test_sound_files_equal_the_slow_reader(bodies: list[bytes], step: int) -> None:
    data = write_warc((f"https://a.example/{n}", body) for n, body in enumerate(bodies))

    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(step)

    items = list(read_pages(Dribble(data), "f"))
    assert [(p.id, p.url, p.warc_offset, p.warc_length, p.html) for p in pages_of(items)] == warc_reader.pages(data)
    assert {page.dump for page in pages_of(items)} == {"CC-MAIN-2026-43"}
    assert bad_of(items) == []
    for page in pages_of(items):
        alone = data[page.warc_offset : page.warc_offset + page.warc_length]
        assert read(alone)[0]._replace(**{"warc_offset": page.warc_offset}) == page._replace(
            file_path="test.warc.gz", dump=""
        )
        assert read_record(io.BytesIO(data), page.warc_offset, page.warc_length) == page._replace(file_path="", dump="")
        assert read_record(io.BytesIO(data), page.warc_offset, file_path="f") == page._replace(dump="")


@settings(max_examples=300)
@given(st.data())
def test_undamaged_pages_are_delivered(data: st.DataObject) -> None:
    bodies = data.draw(BODIES)
    sound = write_warc((f"https://a.example/{n}", body) for n, body in enumerate(bodies))
    begin = data.draw(st.integers(0, len(sound) - 1))
    end = data.draw(st.integers(begin + 1, min(len(sound), begin + 400)))
    new = data.draw(st.binary(max_size=400))  # overwritten, cut out, or more than there was
    broken = sound[:begin] + new + sound[end:]
    try:
        items = read(broken)
    except ValueError:
        items = []
        assert warc_reader.untouched(sound, begin, end) == []
    got = {(page.id, page.html) for page in pages_of(items)}
    assert {(page[0], page[4]) for page in warc_reader.untouched(sound, begin, end)} <= got
    all_pages = {(page[0], page[4]) for page in warc_reader.pages(sound)}
    assert got <= all_pages  # the checksum lets nothing else through
    borders = {0, len(sound)} | {offset for offset, _ in warc_reader.members(sound)}
    cut_cleanly = {begin, end} <= borders and not new.strip(b"\r\n")  # nobody can see that
    assert got == all_pages or bad_of(items) or not items or cut_cleanly  # no page is lost in silence
    ids = [item.id for item in items if item.id]
    assert len(ids) == len(set(ids))  # each once: a page or a bad record
    offsets = [item.warc_offset for item in items]
    assert offsets == sorted(offsets)


@given(st.data())
def test_damage_to_plain_and_one_member_files_never_raises(data: st.DataObject) -> None:
    bodies = data.draw(BODIES)
    sound = gzip.decompress(write_warc((f"https://a.example/{n}", body) for n, body in enumerate(bodies)))
    if data.draw(st.booleans()):
        sound = gzip.compress(sound, mtime=0)
    begin = data.draw(st.integers(20, len(sound) - 1))
    end = data.draw(st.integers(begin, min(len(sound), begin + 200)))
    broken = sound[:begin] + data.draw(st.binary(max_size=200)) + sound[end:]
    try:
        items = read(broken)
    except ValueError:
        items = None
    assert items is not None or broken.startswith(b"\x1f\x8b")  # the only member lost its first header
    assert len(pages_of(items or [])) <= len(bodies)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_any_bytes_end(noise: bytes, as_record: bool, compressed: bool) -> None:
    data = b"WARC/1.0\r\n" + noise if as_record else noise
    try:
        items = read(gzip.compress(data) if compressed else data)
    except ValueError:
        items = []
    assert pages_of(items) == []


# --- Records


def test_lengths_that_lie_in_a_plain_file_cost_one_record() -> None:
    good = [response(HTML, "Content-Type: text/html", url=f"https://a.example/{n}") for n in range(4)]
    for wrong in (5, 600, 3000, 10**12):
        bad = response(HTML, "Content-Type: text/html", url="https://bad.example/", length=wrong)
        items = read(good[0] + bad + good[1] + good[2])
        assert [item.url[-4:] for item in pages_of(items)] == ["le/0", "le/1", "le/2"]
        assert [item.url for item in bad_of(items)] == ["https://bad.example/"]


@pytest.mark.parametrize("packed", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_lengths_that_lie_in_one_member_cost_one_record(packed: Callable[[bytes], bytes]) -> None:
    good = [response(HTML, "Content-Type: text/html", url=f"https://a.example/{n}") for n in range(4)]
    for wrong in (5, 600, 3000, 10**12):
        bad = response(HTML, "Content-Type: text/html", url="https://bad.example/", length=wrong)
        for data in (good[0] + bad + good[1] + good[2], good[0] + bad + good[1] + bad + good[2]):
            items = read(packed(data))
            assert [item.url[-4:] for item in pages_of(items)] == ["le/0", "le/1", "le/2"]
            assert {item.url for item in bad_of(items)} == {"https://bad.example/"}
            assert len(bad_of(items)) == len(read(data)) - 3


def test_each_record_of_one_member_has_a_row_though_all_lengths_are_too_long() -> None:
    # ClueWeb09: LF at the end of header lines, WARC/0.18, and Content-Length counts CR LF.
    records = [
        response(HTML, "Content-Type: text/html", url=f"https://a.example/{n}", length=len(HTML) + 60)
        .replace(b"\r\n", b"\n")
        .replace(b"WARC/1.0", b"WARC/0.18")
        for n in range(50)
    ]
    data = b"".join(records)
    plain, member = ([item.url for item in read(form)] for form in (data, gzip.compress(data)))
    assert plain == member == [f"https://a.example/{n}" for n in range(50)]


@pytest.mark.parametrize("length", ["", "-1", "x", "1_0", "9" * 5000])
def test_a_content_length_that_is_no_number(length: str) -> None:
    bad = response(HTML).replace(b"Content-Length: ", f"Content-Length: {length}\r\nX: ".encode(), 1)
    items = read(gzip.compress(bad) + gzip.compress(response(HTML)))
    assert [item.drop.rule for item in bad_of(items)] == ["warc.damaged"]
    assert len(pages_of(items)) == 1


def test_a_hole_in_the_file_is_damage() -> None:
    page = gzip.compress(response(HTML, "Content-Type: text/html"))
    for zeros in (1, 7, 10_000, 200_000):
        assert [type(item) for item in read(page + b"\0" * zeros)] == [Page, BadRecord]
        assert [type(item) for item in read(page + b"\0" * zeros + page)] == [Page, BadRecord, Page]


def test_empty_lines_and_members_are_no_damage() -> None:
    page = response(HTML, "Content-Type: text/html")
    for data in (gzip.compress(page), page):
        assert len(read(data + b"\r\n\r\n")) == 1
    assert len(read(gzip.compress(page) + gzip.compress(b"") + gzip.compress(page))) == 2


def test_damage_in_a_record_that_is_no_page_is_reported_too() -> None:
    request = gzip.compress(record("request", b"GET / HTTP/1.1\r\n\r\n"))
    broken = request[:-6] + b"xxxxxx"
    items = read(broken + gzip.compress(response(HTML)))
    assert [(type(item), item.id) for item in items] == [
        (BadRecord, "<urn:uuid:request>"),
        (Page, "<urn:uuid:response>"),
    ]


def test_a_file_may_begin_with_damage() -> None:
    sound = [gzip.compress(response(HTML, url=f"https://a.example/{n}")) for n in range(3)]
    for first in (b"\0" * 50 + sound[0][50:], sound[0][:60], b"x" * 70_000):
        items = read(first + sound[1] + sound[2])
        assert [page.url[-1] for page in pages_of(items)] == ["1", "2"]
        assert len(bad_of(items)) == 1


def test_a_stray_line_in_a_page_is_no_record() -> None:
    page = b"<html>\nWARC/1.0\r\nWARC-Type: response\r\n\r\n\x1f\x8b\x08</html>"
    for data in (response(page), gzip.compress(response(page)), gzip.compress(response(page) * 2)):
        assert {item.html for item in pages_of(read(data))} == {page}
        assert bad_of(read(data)) == []


def test_records_that_are_no_pages() -> None:
    assert rule(response(HTML, status="206 Partial")) == ("warc.status", 206, 200)
    assert rule(response(HTML, status="nonsense")) == ("warc.status", "nonsense", 200)
    assert rule(record("response", b"1 2 3", url="dns:a.example")) == ("warc.protocol", "dns", "http")
    assert rule(record("response", b"")) == ("warc.empty", 0, 1)
    assert rule(response(b"", "Content-Type: text/html")) == ("warc.empty", 0, 1)
    assert rule(response(HTML, length=20)) == (
        "warc.damaged",
        "Content-Length does not end where the record does",
        "Content-Length",
    )
    extra = "WARC-Profile: http://netpreserve.org/warc/1.1/revisit/server-not-modified\r\n"
    assert rule(record("revisit", b"", extra=extra)) == ("warc.revisit", "server-not-modified", "response")
    assert rule(record("resource", b"abc", extra="Content-Type: text/x-log\r\n"))[:2] == (
        "warc.content_type",
        "text/x-log",
    )
    assert rule(record("conversion", b"{}", extra="Content-Type: text/json\r\n"))[:2] == (
        "warc.content_type",
        "text/json",
    )
    assert rule(record("conversion", b"", extra="Content-Type: text/plain\r\n")) == ("warc.empty", 0, 1)
    kinds = ("request", "metadata", "warcinfo", "continuation", "x")
    skipped = Counter[str]()
    assert list(read_pages(io.BytesIO(b"".join(record(kind, b"abc") for kind in kinds)), "f", skipped=skipped)) == []
    assert skipped == {"request": 1, "metadata": 1, "warcinfo": 1, "continuation": 1, "other": 1}


def test_resources_and_conversions_are_pages() -> None:
    item = only(record("resource", HTML, url="file:///a.html", extra="Content-Type: text/html; charset=big5\r\n"))
    assert isinstance(item, Page)
    assert (item.media, item.charset, item.html, item.url) == ("text/html", "big5", HTML, "file:///a.html")
    item = only(record("resource", HTML))  # no type: the bytes decide
    assert isinstance(item, Page)
    item = only(gzip.compress(record("conversion", b"words\r\n", extra="Content-Type: text/plain\r\n")))
    assert isinstance(item, Page)
    assert (item.media, item.charset, item.html) == ("text/plain", None, b"words\r\n")
    assert rule(record("conversion", b"x" * 99, extra="Content-Type: text/plain\r\n"), max_page_bytes=98) == (
        *("warc.too_large", 99, 98),
    )


def test_a_page_that_the_crawler_cut_is_a_page() -> None:
    item = only(response(HTML[:100], "Content-Type: text/html", extra="WARC-Truncated: length\r\n"))
    assert isinstance(item, Page)
    assert item.html == HTML[:100]


def test_the_type_that_the_crawler_detected_goes_before_the_header() -> None:
    saw = "WARC-Identified-Payload-Type: {}\r\n".format
    item = only(response(HTML, "Content-Type: text/plain", extra=saw("text/html")))
    assert isinstance(item, Page)
    assert rule(response(HTML, "Content-Type: text/html", extra=saw("text/css")))[1] == "text/css"


def test_too_large_pages_are_not_held_in_memory() -> None:
    huge = gzip.compress(response(b"<p>" + b"\0" * 24_000_000))
    bomb = gzip.compress(response(gzip.compress(b"<p>" + b"\0" * 24_000_000), "Content-Encoding: gzip"))
    brotli_bomb = gzip.compress(response(brotli.compress(b"<p>" + b" " * 24_000_000), "Content-Encoding: br"))
    endless = gzip.compress(b"WARC/1.0\r\n" + b"a: b\r\n" * 1_000_000)
    one_line = gzip.compress(b"WARC/1.0\r\n" + b"a" * 10_000_000)
    sound = gzip.compress(response(HTML))
    tracemalloc.start()
    try:
        items = read(huge + bomb + brotli_bomb + endless + one_line + sound, max_page_bytes=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [item.drop.rule for item in bad_of(items)] == ["warc.too_large"] * 3 + ["warc.damaged"] * 2
    assert bad_of(items)[0].drop[1] > 24_000_000
    assert len(pages_of(items)) == 1
    assert peak < 14_000_000


def test_a_page_of_exactly_the_limit_is_kept() -> None:
    for coding, body in (("identity", HTML), ("gzip", gzip.compress(HTML)), ("br", brotli.compress(HTML))):
        data = response(body, f"Content-Encoding: {coding}", "Content-Type: text/html")
        assert isinstance(only(data, max_page_bytes=len(HTML)), Page)
        assert rule(data, max_page_bytes=len(HTML) - 1)[0] == "warc.too_large"


def test_lookup_of_a_missing_record() -> None:
    data = gzip.compress(record("request", b"GET / HTTP/1.1\r\n\r\n"))
    whole = data + gzip.compress(response(HTML))
    for offset, length in ((0, None), (0, len(data)), (len(whole), None), (10**6, 100), (0, 0)):
        with pytest.raises(ValueError, match=r"no page begins at byte"):
            read_record(io.BytesIO(whole), offset, length)
    item = read_record(io.BytesIO(whole), 5)
    assert isinstance(item, BadRecord)
    assert (item.warc_offset, item.drop.rule) == (5, "warc.damaged")
