"""Downloads from a real HTTP server: what is asked of it, in which order, and when it refuses."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from corpus.crawl import paths
from corpus.crawl.download import FetchError, Forbidden
from corpus.crawl.fetch import (
    Event,
    Failed,
    FetchConfig,
    FetchSummary,
    Finished,
    Listed,
    Progress,
    Retry,
    Skipped,
    fetch,
    user_agent,
)
from corpus.warc.pages import Page, read_pages
from tests.support.crawl_runs import CRAWL, NAME, ONE, WHOLE, assert_whole, config, largest_part, noise, retries, run
from tests.support.crawl_server import Busy, CrawlServer, Cut, Hangup, Silent, Slow, crawl_files, write_warc


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
    files = crawl_files(CRAWL, [b"%d" % n for n in range(20)])
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


def test_progress_is_told_per_file(tmp_path: Path) -> None:
    data = noise(3_000_000)
    with CrawlServer(crawl_files(CRAWL, [data])) as server:
        server.fault("warc.gz", Cut(1_500_000))
        _, events = run(server, tmp_path)
    told = [event for event in events if isinstance(event, Progress)]
    assert {event.total for event in told} == {3_000_000}
    done = [event.done for event in told]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == 3_000_000
    assert 1_500_000 in done
    assert len(done) >= 5
    assert isinstance(events[-1], Finished)


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

        def second(event: Event) -> None:
            if isinstance(event, Listed):
                with pytest.raises(ValueError, match="another fetch is writing here"):
                    run(server, tmp_path)

        fetch(CRAWL, tmp_path, config(server), second)
    assert_whole(tmp_path)


def test_a_receipt_of_another_file_is_not_overwritten(tmp_path: Path) -> None:
    with CrawlServer(ONE) as server:
        run(server, tmp_path)
        file = tmp_path / "_units" / f"{NAME}.json"
        receipt = json.loads(file.read_text())
        receipt["inputs"][0]["path"] = "s3://elsewhere/x"
        file.write_text(json.dumps(receipt))
        with pytest.raises(ValueError, match="is of s3://elsewhere/x"):
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
