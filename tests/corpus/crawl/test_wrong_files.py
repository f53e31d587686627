"""Answers with status 200 or 206 that are not the file: none gets a receipt, and the next attempt gets the file."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import pytest

from corpus.crawl.fetch import Finished, Retry
from corpus.crawl.part import SEAM
from corpus.store.content import file_fault, head_fault
from corpus.store.shards import Dataset
from tests.support.crawl_server import (
    CrawlServer,
    Cut,
    Drip,
    Endless,
    Fault,
    IgnoreRange,
    Instead,
    NewVersion,
    NoLength,
    OtherRange,
    Redirect,
    Slow,
    crawl_files,
)
from tests.support.crawls import CRAWL, NAME, ONE, WHOLE, assert_whole, noise, retries, run

PORTAL = b"<html>Please log in here.</html>\n"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code></Error>'

WRONG = {
    "portal": Instead(PORTAL),
    "portal without a type": Instead(PORTAL, "application/octet-stream"),
    "long portal": Instead(PORTAL * 10_000),
    "xml": Instead(XML, "application/xml"),
    "json": Instead(b'{"error": "try later"}', "application/json"),
    "nothing": Instead(b"", "application/gzip"),
    "a gzipped portal": Instead(gzip.compress(PORTAL), "text/html"),
    "gzipped twice": Instead(gzip.compress(WHOLE), "application/gzip"),
    "an empty member": Instead(gzip.compress(b""), "application/gzip"),
    "the beginning": Instead(WHOLE[:123_456], "application/gzip"),
    "the first byte": Instead(WHOLE[:1], "application/gzip"),
    "without the last byte": Instead(WHOLE[:-1], "application/gzip"),
    "with a byte more": Instead(WHOLE + b"\n", "application/gzip"),
    "the last byte flipped": Instead(WHOLE[:-6] + bytes([WHOLE[-6] ^ 1]) + WHOLE[-5:], "application/gzip"),
    "cut without a length": NoLength(100_000),
    "nothing without a length": NoLength(0),
    "cut in chunks": NoLength(100_000, chunked=True),
    "whole, but no last chunk": NoLength(200_000, chunked=True),
    "a redirect to no address": Redirect("http://[/"),
    "a redirect to another protocol": Redirect("ftp://127.0.0.1/x"),
    "a redirect to a file": Redirect("file:///etc/passwd"),
    "a redirect to a strange port": Redirect("http://127.0.0.1:999999/"),
    "a redirect to a host that is none": Redirect("http://" + "a" * 70 + ".example/"),
    "a redirect to controls": Redirect("http://127.0.0.1:1/\x1b[31m"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_the_file_is_asked_for_again(tmp_path: Path, name: str) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", WRONG[name])
        summary, events = run(server, tmp_path)
        assert server.pending() == 0
    assert summary.finished == (NAME,)
    assert len(retries(events)) == 1
    assert retries(events)[0].isprintable()
    assert_whole(tmp_path)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_never_the_file_is_one_failed_file_without_a_receipt(tmp_path: Path, name: str) -> None:
    files = crawl_files(CRAWL, [WHOLE, noise(1000)])
    with CrawlServer(files) as server:
        server.fault("00000.warc.gz", *[WRONG[name]] * 4)
        summary, _ = run(server, tmp_path, retries=3)
        assert [failed.name for failed in summary.failed] == [NAME]
        assert [path.name for path in (tmp_path / "_units").iterdir()] == [f"{summary.finished[0]}.json"]
        assert not (tmp_path / NAME).exists()
        server._state.faults.clear()
        assert run(server, tmp_path)[0].finished == (NAME,)
    assert_whole(tmp_path, files)


def test_the_reason_names_what_came_instead(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Instead(XML), Instead(gzip.compress(PORTAL)), Instead(gzip.compress(WHOLE)))
        _, events = run(server, tmp_path)
    assert retries(events) == [
        "not the file: begins with '<?xml version=\"1.0\" enco' and is no .gz file, starting over",
        "not the file: inflates to '<html>Please log in here' and is no WARC file, starting over",
        "not the file: is compressed twice, starting over",
    ]


def test_a_whole_file_that_is_wrong_twice_is_not_asked_for_eleven_times(tmp_path: Path) -> None:
    with CrawlServer({**ONE, list(ONE)[1]: WHOLE[:150_000]}) as server:
        summary, _ = run(server, tmp_path)
        assert len(server.for_path("warc.gz")) == 2
    assert "the server's file is not right: the last gzip member is cut off" in summary.failed[0].reason
    assert not list(tmp_path.glob("*.part*"))


def test_a_large_portal_is_noticed_at_its_beginning(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Endless())
        _, events = run(server, tmp_path)
    assert "begins with 'bad.example" in retries(events)[0]
    assert_whole(tmp_path)


def test_an_old_receipt_of_another_file_is_repaired(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        receipt = Dataset(tmp_path).record(NAME)
        assert receipt
        output = dataclasses.replace(receipt.outputs[0], bytes=len(XML), sha256=hashlib.sha256(XML).hexdigest())
        wrong = dataclasses.replace(receipt, outputs=(output,))
        (tmp_path / "_units" / f"{NAME}.json").write_bytes(wrong.to_json())
        (tmp_path / NAME).write_bytes(XML)
        assert run(server, tmp_path)[0].finished == (NAME,)
    assert_whole(tmp_path)


def test_a_wrong_file_without_a_receipt_gets_none_because_its_size_is_right(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(PORTAL * 10)
    with CrawlServer({**ONE, list(ONE)[1]: PORTAL * 10}) as server:
        summary, _ = run(server, tmp_path, retries=0)
        assert len(summary.failed) == 1
        assert not (tmp_path / "_units").exists() or not list((tmp_path / "_units").iterdir())


OTHER = noise(200_000, seed=5)
ETAG = f'"{hashlib.sha256(WHOLE).hexdigest()[:16]}"'


@pytest.mark.parametrize(
    "answer",
    [
        OtherRange(OTHER),
        OtherRange(OTHER, (("ETag", ETAG),)),
        OtherRange(WHOLE[:119_000] + OTHER[119_000:120_000] + WHOLE[120_000:], (("ETag", ETAG),)),
        IgnoreRange(),
        NewVersion(WHOLE),
    ],
)
def test_a_resumed_file_is_of_one_version(tmp_path: Path, answer: Fault) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(120_000), answer)
        run(server, tmp_path / "crawl")
    assert_whole(tmp_path / "crawl")


def test_bytes_that_changed_on_the_disk_are_seen_at_the_seam(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(120_000))
        run(server, tmp_path, retries=0)
        part = tmp_path / f"{NAME}.part"
        part.write_bytes(WHOLE[: 120_000 - SEAM // 2] + bytes(SEAM // 2))  # as after a power cut
        _, events = run(server, tmp_path)
    assert retries(events) == ["other bytes than before came from the server, starting over"]
    assert_whole(tmp_path)


def test_a_drip_ends_however_long_it_goes_on(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", *[Slow(100, 0.05)] * 3)
        summary, events = run(server, tmp_path, timeout=0.3, lowest_speed=20_000, retries=2)
        assert "gave up after 3 failed attempts (only" in summary.failed[0].reason
        assert [event.failures for event in events if isinstance(event, Retry)] == [1, 2]
        server.fault("warc.gz", Slow(20_000, 0.05))
        _, events = run(server, tmp_path, timeout=0.3, lowest_speed=0)
    assert isinstance(events[-1], Finished)
    assert_whole(tmp_path)


@pytest.mark.parametrize("drip", [Drip(), Drip(100_000), Drip(1)])
def test_a_drip_within_a_line_ends(tmp_path: Path, drip: Drip) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", drip)
        _, events = run(server, tmp_path, timeout=0.2)
    assert len(retries(events)) == 1
    assert_whole(tmp_path)


def test_redirects_are_followed_and_end(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Redirect(f"{server.base}{list(ONE)[1]}"), Redirect(f"/{list(ONE)[1]}"))
        _, events = run(server, tmp_path / "a")
        assert retries(events) == []
        server.fault("warc.gz", *[Redirect(f"/{list(ONE)[1]}")] * 6)
        _, events = run(server, tmp_path / "b")
        assert retries(events) == ["more than 5 redirects"]
        server.fault("warc.gz", Endless(302, f"/{list(ONE)[1]}"))  # its body is not read
        run(server, tmp_path / "c")
    assert_whole(tmp_path / "c")


def member(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def test_the_last_member_is_found_in_files_of_every_kind(tmp_path: Path) -> None:
    record = b"WARC/1.0\r\n" + noise(3000) + b"\r\n\r\n"  # its payload is a gzip file itself
    files = {
        "many": member(record) * 50,
        "one": member(record * 50),
        "stored": gzip.compress(record, 0) * 2,
        "header": member(record) + member(b""),
    }
    for name, data in files.items():
        path = tmp_path / f"{name}.warc.gz"
        path.write_bytes(data)
        assert file_fault(path, path.name) == "", name
        for cut in (1, 7, 9, 30, len(data) - 20, len(data) - 1):
            path.write_bytes(data[:-cut])
            whole = name == "header" and cut == len(member(b""))
            assert bool(file_fault(path, path.name)) != whole, (name, cut)


def test_a_last_member_of_over_32_mib_and_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    data = member(b"WARC/1.0\r\n") + gzip.compress(noise(1000) + bytes(1) + b"x" * 10 + noise(34 << 20), 0)
    path.write_bytes(data)
    assert file_fault(path, path.name) == ""
    path.write_bytes(data[:-100])
    assert "cut off" in file_fault(path, path.name)
    path.write_bytes(member(b"WARC/1.0\r\n" + bytes(200 << 20)))
    assert "cut off or damaged" in file_fault(path, path.name)


@pytest.mark.parametrize(
    ("name", "head", "fault"),
    [
        ("domains", b"bad.example\n", ""),
        ("list.txt", PORTAL, "is a web page"),
        ("list.txt", b"\xef\xbb\xbf\n <!DOCTYPE html>", "is a web page"),
        ("list", XML, "is a web page"),
        ("page.html", PORTAL, ""),
        ("list.tgz", b"bad.example\n", "is no .tgz file"),
        ("list.TAR.GZ", gzip.compress(b"x"), ""),
        ("a.warc.zst", b"\x28\xb5\x2f\xfdxxx", ""),
        ("a.warc.zst", gzip.compress(b"x"), "is no .zst file"),
        ("a.warc", b"WARC/1.0", ""),
        ("a.warc", XML, "is no .warc file"),
        ("x.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff", "damaged"),
    ],
)
def test_a_name_says_what_a_file_begins_with(name: str, head: bytes, fault: str) -> None:
    assert fault in head_fault(name, head)
    assert bool(fault) == bool(head_fault(name, head))
