"""A whole crawl from a server that fails: all its files with their receipts, and a second run that goes on."""

from __future__ import annotations

import dataclasses
import errno
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corpus.crawl import paths
from corpus.crawl.download import FetchError, Forbidden
from corpus.crawl.fetch import (
    Downloaded,
    Failed,
    FetchConfig,
    FetchEvent,
    FetchSummary,
    Listed,
    Skipped,
    fetch,
    user_agent,
)
from corpus.crawl.part import SEAM
from corpus.store.records import CommitRecord
from corpus.warc.pages import Page, read_pages
from tests.support.crawl_server import (
    Busy,
    CrawlServer,
    Silent,
    Slow,
    crawl_files,
    write_warc,
)
from tests.support.crawls import CRAWL, NAME, ONE, WHOLE, assert_whole, config, largest_part, noise, run


def test_a_crawl_is_fetched_and_can_be_read(tmp_path: Path) -> None:
    html = [b"<html><body>page %d</body></html>" % n for n in range(6)]
    warcs = [write_warc([(f"https://a.example/{n}", html[n])]) for n in range(6)]
    files = crawl_files(CRAWL, warcs)
    with CrawlServer(files) as server:
        summary, events = run(server, tmp_path / "crawl")
    assert_whole(tmp_path / "crawl", files)
    assert len(summary.finished) == 6
    assert summary.bytes == sum(map(len, warcs))
    assert events[0] == Listed(6, 6)
    for n, name in enumerate(summary.finished):
        with (tmp_path / "crawl" / name).open("rb") as stream:
            (page,) = read_pages(stream, name)
        assert isinstance(page, Page)
        assert (page.html, page.dump) == (html[n], CRAWL)


def test_a_second_run_asks_for_nothing_but_the_listing(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        before = len(server.requests)
        summary, events = run(server, tmp_path)
        assert [request.path for request in server.requests[before:]] == [f"crawl-data/{CRAWL}/warc.paths.gz"]
    assert summary == FetchSummary((), (NAME,), (), 0)
    assert events == [Listed(1, 1), Skipped(NAME, len(WHOLE))]


def test_limit_takes_the_first_and_sample_is_seeded(tmp_path: Path) -> None:
    files = crawl_files(CRAWL, [noise(500, n) for n in range(20)])
    with CrawlServer(files) as server:
        first, _ = run(server, tmp_path / "first", limit=2)
        drawn, events = run(server, tmp_path / "drawn", sample=5, seed=3)
        again, _ = run(server, tmp_path / "again", sample=5, seed=3)
        other, _ = run(server, tmp_path / "other", sample=5, seed=4)
        with pytest.raises(ValueError, match="limit and sample: give one"):
            run(server, tmp_path, limit=1, sample=1)
    names = [paths.file_name(path) for path in list(files)[1:]]
    assert list(first.finished) == names[:2]
    assert drawn.finished == again.finished != other.finished
    assert sorted(drawn.finished) == list(drawn.finished)
    assert set(drawn.finished) < set(names)
    assert events[0] == Listed(5, 20)


def test_one_lost_file_does_not_take_the_others_down(tmp_path: Path) -> None:
    files = crawl_files(CRAWL, [noise(1000, n) for n in range(4)])
    with CrawlServer(files) as server:
        server.fault("00001.warc.gz", *[Busy(500)] * 3)
        server.fault("00002.warc.gz", Busy(404))
        summary, _ = run(server, tmp_path, retries=2)
        assert [failed.name[-13:] for failed in summary.failed] == ["00001.warc.gz", "00002.warc.gz"]
        assert "404, no such file" in summary.failed[1].reason
        assert len(summary.finished) == 2
        summary, _ = run(server, tmp_path)
    assert (len(summary.finished), len(summary.skipped)) == (2, 2)
    assert_whole(tmp_path, files)


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


def test_403_stops_everything_and_keeps_what_there_is(tmp_path: Path) -> None:
    files = crawl_files(CRAWL, [noise(100_000, n) for n in range(8)])
    with CrawlServer(files) as server:
        server.fault("00000.warc.gz", Silent(40_000))
        server.fault("00003.warc.gz", Busy(403, once=lambda: largest_part(tmp_path) == 40_000))
        with pytest.raises(Forbidden, match=r"00003\.warc\.gz: 403 Forbidden") as caught:
            run(server, tmp_path, connections=2)
        assert caught.value.url.endswith("00003.warc.gz")
        asked = {request.path[-13:] for request in server.requests}
        assert "00007.warc.gz" not in asked
        assert largest_part(tmp_path) == 40_000  # and perhaps one that had just begun
        summary, _ = run(server, tmp_path)
        assert len(summary.skipped) == 2
    assert_whole(tmp_path, files)


def test_403_for_the_listing(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("paths.gz", Busy(403))
        with pytest.raises(Forbidden):
            run(server, tmp_path)
        assert len(server.requests) == 1


def test_ctrl_c_keeps_the_part_and_ends_the_threads(tmp_path: Path) -> None:
    def interrupt(event: FetchEvent) -> None:
        if isinstance(event, Downloaded) and event.done == 0:
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
        assert server.requests[-1].headers["range"] == f"bytes={60_000 - SEAM}-"
    assert_whole(tmp_path)


@pytest.mark.parametrize("connections", [1, 3])
def test_never_more_connections_than_allowed(tmp_path: Path, connections: int) -> None:
    files = crawl_files(CRAWL, [noise(20_000, n) for n in range(12)])
    with CrawlServer(files) as server:
        server.fault("warc.gz", *[Slow(4000, 0.005)] * 12)
        run(server, tmp_path, connections=connections)
        assert server.peak == connections
    assert_whole(tmp_path, files)


def test_every_request_names_us(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path, contact="crawler@test.example")
        agents = {request.headers["user-agent"] for request in server.requests}
        assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
    assert agents == {user_agent("crawler@test.example")}
    assert user_agent("a\r\nX-Evil: 1").count("\n") == 0
    assert user_agent("crawler@test.example").startswith("corpus-toolkit/")
    assert "crawler@test.example" in user_agent("crawler@test.example")


def test_an_unknown_crawl_is_named(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        with pytest.raises(ValueError, match=r"CC-MAIN-2099-01/warc\.paths\.gz: there is no such crawl"):
            fetch("CC-MAIN-2099-01", tmp_path, config(server))
        for name in ("../x", "", "a b", "/abs", "a//b"):
            with pytest.raises(ValueError, match="should be a name like CC-MAIN-2026-43"):
                fetch(name, tmp_path, config(server))


def test_a_listing_that_is_none_is_refused(tmp_path: Path) -> None:
    url = "http://x/warc.paths.gz"
    with CrawlServer({f"crawl-data/{CRAWL}/warc.paths.gz": b"<html>"}) as server:
        with pytest.raises(ValueError, match=r"warc\.paths\.gz: not a gzip-compressed listing"):
            run(server, tmp_path)
        server.fault("paths.gz", Busy(401))
        with pytest.raises(FetchError, match="HTTP status 401"):
            run(server, tmp_path)
    for path in ("../../etc/passwd", "/etc/passwd", "a/.bashrc", "http://evil.example/x", "a\\b"):
        with pytest.raises(ValueError, match="is no path of a crawl file"):
            paths.parse_listing(paths.gzip.compress(path.encode()), url)
    with pytest.raises(ValueError, match="two files of the same name"):
        paths.parse_listing(paths.gzip.compress(b"a/x.gz\nb/x.gz"), url)
    assert paths.parse_listing(paths.gzip.compress(b"a/x.gz\na/x.gz\n"), url) == ["a/x.gz"]


def test_two_fetches_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:

        def second(event: FetchEvent) -> None:
            if isinstance(event, Listed):
                with pytest.raises(ValueError, match="another fetch is writing here"):
                    run(server, tmp_path)

        fetch(CRAWL, tmp_path, config(server), second)
    assert_whole(tmp_path)


def test_a_receipt_of_another_file_is_not_overwritten(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        file = tmp_path / "_units" / f"{NAME}.json"
        receipt = CommitRecord.from_json(file.read_bytes(), file.name)
        other = dataclasses.replace(receipt.inputs[0], path="s3://elsewhere/x")
        file.write_bytes(dataclasses.replace(receipt, inputs=(other,)).to_json())
        with pytest.raises(ValueError, match="is the receipt of s3://elsewhere/x"):
            run(server, tmp_path)
        file.write_text("{}")
        with pytest.raises(ValueError, match="not a commit record"):
            run(server, tmp_path)


def test_a_full_disk_is_an_error_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with CrawlServer(ONE) as server:
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run(server, tmp_path)
        monkeypatch.undo()
        assert not (tmp_path / NAME).exists()
        run(server, tmp_path)
    assert_whole(tmp_path)


def test_bad_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="connections = 11: should be between 1 and 10"):
        fetch(CRAWL, tmp_path, FetchConfig(connections=11))


def test_a_failed_file_event_equals_the_summary(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        server.fault("warc.gz", Busy(418))
        summary, events = run(server, tmp_path)
    assert summary.failed == tuple(event for event in events if isinstance(event, Failed))
    assert "HTTP status 418" in summary.failed[0].reason
