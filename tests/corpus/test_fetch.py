from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.crawl.download import Config, Forbidden
from corpus.crawl.fetch import Event, Summary, fetch
from corpus.crawl.paths import choose, parse_listing
from corpus.shards import Dataset
from corpus.work import warc_address
from tests.corpus.crawl_server import CRAWL, CrawlServer, crawl_files, serve

COUNT = 5


@pytest.fixture
def server() -> Iterator[CrawlServer]:
    with serve(crawl_files(COUNT)) as state:
        yield state


def run(server: CrawlServer, output: Path, **settings: object) -> tuple[Summary, list[Event]]:
    events: list[Event] = []
    config = Config(base=server.base, **{"backoff": 0.01, **settings})  # type: ignore[arg-type]
    return fetch(CRAWL, output, config, events.append), events


def check(server: CrawlServer, output: Path, count: int = COUNT) -> None:
    """Whole files, right receipts, nothing left over."""
    wanted = {Path(path).name: (path, data) for path, data in server.files.items() if path.endswith(".warc.gz")}
    assert sorted(path.name for path in output.glob("*.warc.gz")) == sorted(wanted)[:count]
    for record in Dataset(output).records():
        path, data = wanted[record.unit]
        assert (output / record.unit).read_bytes() == data
        assert record.inputs[0].path == f"s3://commoncrawl/{path}" == warc_address(str(output / record.unit))
        assert record.inputs[0].etag == server.etag(path)
        assert record.outputs[0].sha256 == hashlib.sha256(data).hexdigest()
        assert record.outputs[0].bytes == record.inputs[0].size == len(data)
    assert len(Dataset(output).records()) == count
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"_units"}


def test_all_files_arrive(server: CrawlServer, tmp_path: Path) -> None:
    summary, events = run(server, tmp_path)
    assert (summary.files, summary.done, summary.skipped) == (COUNT, COUNT, 0)
    check(server, tmp_path)
    assert {request.user_agent for request in server.requests} == {"corpus-toolkit/0.1.0 (pretraining corpus pipeline)"}
    assert sum(event.kind == "done" for event in events) == COUNT


def test_what_is_there_is_not_asked_for_again(server: CrawlServer, tmp_path: Path) -> None:
    run(server, tmp_path, limit=2)
    check(server, tmp_path, 2)
    before = len(server.requests)
    summary, events = run(server, tmp_path, limit=3)
    assert (summary.done, summary.skipped) == (1, 2)
    assert [request.path for request in server.requests[before:]] == list(server.files)[0:4:3]
    assert sum(event.kind == "skipped" for event in events) == 2


@pytest.mark.parametrize("trouble", ["503", "503-after", "429", "cut"])
def test_troubles_that_pass(server: CrawlServer, tmp_path: Path, trouble: str) -> None:
    server.trouble = lambda path, nth, range: trouble if nth <= 4 else None
    _, events = run(server, tmp_path)
    check(server, tmp_path)
    assert sum(event.kind == "retry" for event in events) == 4 * (COUNT + 1)


def test_a_cut_connection_goes_on_where_it_broke(server: CrawlServer, tmp_path: Path) -> None:
    server.trouble = lambda path, nth, range: "cut" if nth <= 3 and path.endswith("00000.warc.gz") else None
    run(server, tmp_path, limit=1)
    path, data = next((path, data) for path, data in server.files.items() if path.endswith("00000.warc.gz"))
    asked = [request for request in server.requests if request.path == path]
    size = len(data)
    starts = [0, size // 2, size // 2 + size // 4, size // 2 + size // 4 + size // 8]
    assert [request.range for request in asked] == [None] + [f"bytes={start}-" for start in starts[1:]]
    assert {request.if_range for request in asked[1:]} == {server.etag(path)}
    check(server, tmp_path, 1)


@pytest.mark.parametrize("answer", ["ignore-range", "wrong-range", "long"])
def test_a_range_that_is_not_honoured_starts_over(server: CrawlServer, tmp_path: Path, answer: str) -> None:
    server.trouble = lambda path, nth, range: "cut" if nth == 1 else answer if nth == 2 else None
    run(server, tmp_path)
    check(server, tmp_path)


def test_a_file_that_changed_meanwhile_starts_over(server: CrawlServer, tmp_path: Path) -> None:
    path = list(server.files)[1]

    def trouble(asked: str, nth: int, range: str | None) -> str | None:
        if asked == path and nth == 2:
            server.files[path] = b"another file, " * 20000
        return "cut" if nth == 1 else None

    server.trouble = trouble
    run(server, tmp_path)
    check(server, tmp_path)


def test_a_part_that_is_whole_is_taken(server: CrawlServer, tmp_path: Path) -> None:
    path = list(server.files)[1]
    part = tmp_path / "_part" / f"{Path(path).name}.part"
    part.parent.mkdir()
    part.write_bytes(server.files[path])
    part.with_name(part.name + ".etag").write_text(server.etag(path))
    run(server, tmp_path, limit=1)
    assert server.requests[-1].range == f"bytes={len(server.files[path])}-"
    check(server, tmp_path, 1)


def test_a_part_that_is_too_long_starts_over(server: CrawlServer, tmp_path: Path) -> None:
    path = list(server.files)[1]
    part = tmp_path / "_part" / f"{Path(path).name}.part"
    part.parent.mkdir()
    part.write_bytes(server.files[path] + b"x")
    part.with_name(part.name + ".etag").write_text(server.etag(path))
    run(server, tmp_path, limit=1)
    check(server, tmp_path, 1)


def test_403_stops_everything_and_keeps_the_parts(server: CrawlServer, tmp_path: Path) -> None:
    third = list(server.files)[3]
    server.trouble = lambda path, nth, range: (
        "403" if path == third or nth == 2 else "cut" if nth == 1 and range is None and "warc/" in path else None
    )
    with pytest.raises(Forbidden, match="the server forbids it"):
        run(server, tmp_path, connections=2)
    assert len(server.requests) <= 6
    assert list((tmp_path / "_part").glob("*.part"))
    server.trouble = lambda path, nth, range: None
    run(server, tmp_path)
    check(server, tmp_path)
    assert any(request.range for request in server.requests)


def test_a_file_is_given_up_alone(server: CrawlServer, tmp_path: Path) -> None:
    second = list(server.files)[2]
    server.trouble = lambda path, nth, range: "503" if path == second else None
    with pytest.raises(OSError, match=r"00001\.warc\.gz: given up after 3 failures: the server answered 503"):
        run(server, tmp_path, retries=2)
    assert len(Dataset(tmp_path).records()) == COUNT - 1


def test_never_more_connections_than_asked_for(server: CrawlServer, tmp_path: Path) -> None:
    server.trouble = lambda path, nth, range: "slow"
    run(server, tmp_path, connections=2)
    assert server.most_at_once == 2


def test_another_file_of_that_name_is_not_overwritten(server: CrawlServer, tmp_path: Path) -> None:
    name = Path(list(server.files)[1]).name
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="another file of that name"):
        run(server, tmp_path, limit=1)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_an_unknown_crawl_is_named(server: CrawlServer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="CC-MAIN-1999-01: no such crawl"):
        fetch("CC-MAIN-1999-01", tmp_path, Config(base=server.base), lambda event: None)


def test_choices() -> None:
    paths = [str(index) for index in range(100)]
    assert choose(paths, None, None, 1) == paths
    assert choose(paths, 3, None, 1) == ["0", "1", "2"]
    drawn = choose(paths, None, 5, 1)
    assert drawn == choose(paths, None, 5, 1) != choose(paths, None, 5, 2)
    assert len(set(drawn)) == 5
    assert choose(paths, None, 500, 1) == paths


@pytest.mark.parametrize("data", [b"not gzip", b"\x1f\x8b\x08"])
def test_a_damaged_listing(data: bytes) -> None:
    with pytest.raises(ValueError, match="http://x: not a list of WARC files"):
        parse_listing(data, "http://x")


def test_the_command(server: CrawlServer, tmp_path: Path) -> None:
    def corpus(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "corpus", "fetch", CRAWL, "-o", str(tmp_path / "crawl"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert corpus("--base", server.base, "--limit", "2").returncode == 0
    check(server, tmp_path / "crawl", 2)
    server.trouble = lambda path, nth, range: "403"
    forbidden = corpus("--base", server.base)
    assert forbidden.returncode == 4
    assert "403" in forbidden.stderr
    assert corpus("--base", server.base, "--connections", "11").returncode == 2
    assert corpus("--base", server.base, "--limit", "1", "--sample", "1").returncode == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_and_resumed(server: CrawlServer, tmp_path: Path, how: signal.Signals) -> None:
    server.trouble = lambda path, nth, range: (
        "cut" if nth == 1 and "warc/" in path else "503" if "warc/" in path else None
    )
    command = [sys.executable, "-m", "corpus", "fetch", CRAWL, "-o", str(tmp_path), "--base", server.base]
    with subprocess.Popen([*command, "--backoff", "60"], stderr=subprocess.DEVNULL) as running:
        try:
            while not list(tmp_path.glob("_part/*.warc.gz.part")):
                assert running.poll() is None
                time.sleep(0.02)
            running.send_signal(how)
            assert running.wait(20) == (-9 if how is signal.SIGKILL else 130)
        finally:
            running.kill()
    assert list(tmp_path.glob("_part/*.warc.gz.part"))
    server.trouble = lambda path, nth, range: None
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    check(server, tmp_path)
    assert any(request.range for request in server.requests)
