"""Downloads against a real HTTP server that breaks in every way that the web does."""

from __future__ import annotations

import errno
import hashlib
import json
import random
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
from corpus.store.shards import Dataset, Input, Output
from corpus.warc.pages import Page, read_pages
from corpus.warc.source import warc_address
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
    write_warc,
)

CRAWL = "CC-MAIN-2026-43"


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


ONE = crawl_files(CRAWL, [noise(200_000)])
NAME = paths.file_name(list(ONE)[1])
WHOLE = list(ONE.values())[1]


def config(server: CrawlServer, **settings: object) -> FetchConfig:
    return FetchConfig(**{"base": server.base, "backoff": 0.001, "timeout": 5.0, **settings})


def run(server: CrawlServer, output: Path, **settings: object) -> tuple[FetchSummary, list[Event]]:
    events: list[Event] = []
    return fetch(CRAWL, output, config(server, **settings), events.append), events


def largest_part(folder: Path) -> int:
    return max((part.stat().st_size for part in folder.glob("*.part")), default=0)


def retries(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Retry)]


def assert_whole(output: Path, files: dict[str, bytes] = ONE) -> None:
    """Exactly the crawl's files with right receipts, and nothing half done."""
    warcs = {paths.file_name(path): (path, data) for path, data in files.items() if "/warc/" in path}
    assert {entry.name for entry in output.iterdir()} == {*warcs, "_units"}
    assert {entry.name for entry in (output / "_units").iterdir()} == {f"{name}.json" for name in warcs}
    for name, (path, data) in warcs.items():
        assert (output / name).read_bytes() == data
        receipt = Dataset(output).record(name)
        assert receipt
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        assert (receipt.unit, receipt.stage) == (name, "fetch")
        assert receipt.inputs == (Input(f"s3://commoncrawl/{path}", len(data), etag),)
        assert receipt.outputs == (Output(name, "warc", 0, len(data), hashlib.sha256(data).hexdigest()),)
        assert warc_address(str(output / name)) == f"s3://commoncrawl/{path}"


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
