"""Downloads that break in every way that the web has: what was fetched is kept only if it is the right part."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corpus.crawl.fetch import Event, Progress, fetch
from tests.support.crawl_runs import CRAWL, NAME, ONE, WHOLE, assert_whole, config, noise, retries, run
from tests.support.crawl_server import (
    Busy,
    CrawlServer,
    Cut,
    IgnoreRange,
    NewVersion,
    Silent,
    Slow,
    WrongLength,
    WrongRange,
    crawl_files,
)


def test_cut_connections_are_resumed_where_they_broke(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Cut(50_000), Cut(0), Cut(100), Cut(99_000))
        _, events = run(server, tmp_path, retries=2)  # fewer than the cuts: progress starts the count again
        assert server.pending() == 0
        asked = [request.headers.get("range") for request in server.for_path("warc.gz")]
        etag = f'"{hashlib.sha256(WHOLE).hexdigest()[:16]}"'
        assert {request.headers.get("if-range") for request in server.for_path("warc.gz")[1:]} == {etag}
    assert asked == [None, "bytes=50000-", "bytes=50000-", "bytes=50100-", "bytes=149100-"]
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
    # Too short a promise: the rest of the file is not seen, so the file is as long as the server says; the next
    # run or the receipt's reader cannot know better. Too long a one never comes true.
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", WrongLength(by))
        summary, events = run(server, tmp_path, retries=2)
    if by > 0:
        assert "closed after 200000 of 205000" in retries(events)[0] or "IncompleteRead" in retries(events)[0]
        assert_whole(tmp_path)
    else:
        assert summary.bytes == 195_000
        assert (tmp_path / NAME).read_bytes() == WHOLE[:195_000]


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
        assert server.requests[-1].headers["range"] == "bytes=200000-"
    assert summary.finished == (NAME,)
    assert retries(events) == []
    assert_whole(output)


def test_a_run_killed_between_file_and_receipt_is_completed(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        (tmp_path / "_units" / f"{NAME}.json").unlink()
        before = len(server.requests)
        run(server, tmp_path)
        assert [request.method for request in server.requests[before:]] == ["GET", "HEAD"]
        assert_whole(tmp_path)
        (tmp_path / "_units" / f"{NAME}.json").unlink()
        (tmp_path / NAME).write_bytes(b"cut")  # not ours, or damaged: fetched again
        run(server, tmp_path)
        assert_whole(tmp_path)
        (tmp_path / NAME).write_bytes(b"cut")  # with its receipt
        run(server, tmp_path)
        assert_whole(tmp_path)


def test_a_slow_body_arrives(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Slow(10_000, 0.001))
        run(server, tmp_path)
    assert_whole(tmp_path)


def test_a_silent_connection_is_broken_off_and_resumed(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Silent(70_000))
        _, events = run(server, tmp_path, timeout=0.3)
        assert server.requests[-1].headers["range"] == "bytes=70000-"
    assert "ReadTimeoutError" in retries(events)[0]
    assert_whole(tmp_path)


def test_ctrl_c_keeps_the_part_and_ends_the_threads(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 0:
            raise KeyboardInterrupt  # in a worker here; the same way out as in the main thread

    with CrawlServer(crawl_files(CRAWL, [noise(200_000), noise(200_000, 1)])) as server:
        server.fault("00000.warc.gz", Silent(60_000))
        with pytest.raises(KeyboardInterrupt):
            fetch(CRAWL, tmp_path, config(server), interrupt)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")]
        summary, _ = run(server, tmp_path)
    assert len(summary.finished) == 2


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_is_resumed(tmp_path: Path, signal_number: signal.Signals) -> None:
    code = (
        "import sys, pathlib; from corpus.crawl.fetch import fetch, FetchConfig;"
        "fetch(sys.argv[1], pathlib.Path(sys.argv[2]), FetchConfig(base=sys.argv[3]))"
    )
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Silent(60_000))
        process = subprocess.Popen(
            [sys.executable, "-c", code, CRAWL, str(tmp_path), server.base], stderr=subprocess.PIPE, text=True
        )
        part = tmp_path / f"{NAME}.part"
        while not (part.exists() and part.stat().st_size == 60_000):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal_number)
        _, said = process.communicate(timeout=25)  # the socket would be waited for 60 s
        assert process.returncode != 0
        assert ("KeyboardInterrupt" in said) == (signal_number == signal.SIGINT)
        assert part.stat().st_size == 60_000
        run(server, tmp_path)
        assert server.requests[-1].headers["range"] == "bytes=60000-"
    assert_whole(tmp_path)
