"""One file from a server that fails in every way known from the web: the file is whole, or it is not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from corpus.crawl.fetch import (
    Downloaded,
    Finished,
    Retry,
)
from corpus.crawl.part import SEAM
from tests.support.crawl_server import (
    Busy,
    CrawlServer,
    Cut,
    Hangup,
    IgnoreRange,
    NewVersion,
    Silent,
    Slow,
    WrongLength,
    WrongRange,
    crawl_files,
)
from tests.support.crawls import CRAWL, NAME, ONE, WHOLE, assert_whole, noise, retries, run


def test_503_with_retry_after_is_waited_out(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.paths.gz", Busy(503), Busy(429))
        server.fault("warc.gz", Busy(503), Busy(500, None), Busy(502), Busy(504, "soon"), Hangup())
        _, events = run(server, tmp_path)
        assert server.pending() == 0
    assert_whole(tmp_path)
    assert [reason.split(":")[0] for reason in retries(events)] == [
        *("HTTP status 503", "HTTP status 429"),
        *("HTTP status 503", "HTTP status 500", "HTTP status 502", "HTTP status 504", "ProtocolError"),
    ]


def test_retry_after_is_honoured_and_bounded(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Busy(503, "7200"), Busy(503, "Fri, 31 Dec 2100 23:59:59 GMT"))
        _, events = run(server, tmp_path, max_backoff=0.05)
    assert [event.wait for event in events if isinstance(event, Retry)] == [0.05, 0.05]


def test_waits_grow_with_jitter_and_end(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", *[Busy(503, None)] * 8)
        summary, events = run(server, tmp_path, retries=7)
        assert server.pending() == 0
    waits = [event.wait for event in events if isinstance(event, Retry)]
    assert [event.failures for event in events if isinstance(event, Retry)] == [1, 2, 3, 4, 5, 6, 7]
    assert all(wait <= 0.001 * 2**n for n, wait in enumerate(waits))
    assert len(set(waits)) == 7
    (failed,) = summary.failed
    assert failed in events
    assert "gave up after 8 failed attempts (HTTP status 503)" in failed.reason


def test_cut_connections_are_resumed_where_they_broke(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(50_000), Cut(0), Cut(SEAM + 100), Cut(SEAM + 99_000))
        _, events = run(server, tmp_path, retries=2)  # fewer than the cuts: progress starts the count again
        assert server.pending() == 0
        asked = [request.headers.get("range") for request in server.for_path("warc.gz")]
        etag = f'"{hashlib.sha256(WHOLE).hexdigest()[:16]}"'
        assert {request.headers.get("if-range") for request in server.for_path("warc.gz")[1:]} == {etag}
    assert asked == [None, *(f"bytes={done - SEAM}-" for done in (50_000, 50_000, 50_100, 149_100))]
    assert len(retries(events)) == 4
    assert_whole(tmp_path)


def test_a_server_that_ignores_ranges_starts_over(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(150_000), IgnoreRange())
        run(server, tmp_path)
    assert_whole(tmp_path)


def test_a_server_that_ignores_ranges_and_always_breaks_is_given_up(tmp_path: Path) -> None:
    with CrawlServer(ONE, etags="none") as server:
        server.fault("warc.gz", *[Cut(1000)] * 100)
        summary, _ = run(server, tmp_path, retries=3)
        assert len(server.for_path("warc.gz")) == 4  # the first failure and three retries
        assert all("range" not in request.headers for request in server.requests)
    assert len(summary.failed) == 1


@pytest.mark.parametrize("etags", ["weak", "none"])
def test_without_a_strong_validator_nothing_is_joined(tmp_path: Path, etags: str) -> None:
    with CrawlServer(ONE, etags=etags) as server:
        server.fault("warc.gz", Cut(100_000))
        run(server, tmp_path)
        assert all("range" not in request.headers for request in server.requests)
    assert (tmp_path / NAME).read_bytes() == WHOLE


def test_a_range_that_begins_elsewhere_is_not_joined(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(100_000), WrongRange(-10))
        run(server, tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("by", [-5000, 5000])
def test_a_wrong_length_is_noticed(tmp_path: Path, by: int) -> None:
    # If the server promises too few bytes, the last gzip member is cut off. If it promises too many, the connection
    # ends too early. Either attempt fails, and the next attempt gets the right length.
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", WrongLength(by))
        _, events = run(server, tmp_path, retries=2)
    if by > 0:
        assert "closed after 200000 of 205000" in retries(events)[0] or "IncompleteRead" in retries(events)[0]
    else:
        assert retries(events) == ["not the file: the last gzip member is cut off or damaged, starting over"]
    assert_whole(tmp_path)


def test_a_file_that_changes_between_attempts_is_one_version(tmp_path: Path) -> None:
    new = noise(180_000, seed=9)
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(120_000), NewVersion(new))
        run(server, tmp_path)
    assert_whole(tmp_path, {**ONE, list(ONE)[1]: new})


def test_a_part_of_another_version_is_discarded(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(120_000), *[Busy()] * 4)
        summary, _ = run(server, tmp_path, retries=3)
        assert summary.failed
        assert (tmp_path / f"{NAME}.part").stat().st_size == 120_000
        new = noise(150_000, seed=8)
        server.fault("warc.gz", NewVersion(new))
        run(server, tmp_path)
    assert_whole(tmp_path, {**ONE, list(ONE)[1]: new})


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}', "{"])
def test_a_part_of_unknown_origin_is_discarded(tmp_path: Path, note: str) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    if note:
        (tmp_path / f"{NAME}.part.json").write_text(note)
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
    assert_whole(tmp_path)


def test_a_part_that_is_already_whole_is_published(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path / "a")
        version = {
            "url": f"{server.base}{list(ONE)[1]}",
            "etag": f'"{hashlib.sha256(WHOLE).hexdigest()[:16]}"',
            "modified": "",
            "size": len(WHOLE),
        }
        output = tmp_path / "b"
        output.mkdir()
        (output / f"{NAME}.part").write_bytes(WHOLE)
        (output / f"{NAME}.part.json").write_text(json.dumps(version))
        summary, events = run(server, output)
        assert server.requests[-1].headers["range"] == f"bytes={200_000 - SEAM}-"
    assert summary.finished == (NAME,)
    assert retries(events) == []
    assert_whole(output)


def test_a_slow_body_arrives(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Slow(10_000, 0.001))
        run(server, tmp_path)
    assert_whole(tmp_path)


def test_a_silent_connection_is_broken_off_and_resumed(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Silent(70_000))
        _, events = run(server, tmp_path, timeout=0.3)
        assert server.requests[-1].headers["range"] == f"bytes={70_000 - SEAM}-"
    assert "ReadTimeoutError" in retries(events)[0]
    assert_whole(tmp_path)


def test_progress_is_told_per_file(tmp_path: Path) -> None:
    data = noise(3_000_000)
    with CrawlServer(crawl_files(CRAWL, [data])) as server:
        server.fault("warc.gz", Cut(1_500_000))
        _, events = run(server, tmp_path)
    told = [event for event in events if isinstance(event, Downloaded)]
    assert {event.total for event in told} == {3_000_000}
    done = [event.done for event in told]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == 3_000_000
    assert 1_500_000 in done
    assert len(done) >= 5
    assert isinstance(events[-1], Finished)
