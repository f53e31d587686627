"""A crawl of one file, a fetch of it, and what must be in the folder afterwards."""

from __future__ import annotations

import gzip
import hashlib
import random
from pathlib import Path

from corpus.crawl import paths
from corpus.crawl.fetch import (
    FetchConfig,
    FetchEvent,
    FetchSummary,
    Retry,
    fetch,
)
from corpus.store.records import Input, Output
from corpus.store.shards import Dataset
from corpus.warc.source import warc_address
from tests.support.crawl_server import (
    CrawlServer,
    crawl_files,
)

CRAWL = "CC-MAIN-2026-43"


def noise(size: int, seed: int = 0) -> bytes:
    """A WARC file of exactly so many bytes, at least 200: a gzip member of noise, and one that fills the rest."""
    member = gzip.compress(b"WARC/1.0\r\n" + random.Random(seed).randbytes(max(0, size - 200 - size // 1000)), mtime=0)
    empty = gzip.compress(b"", mtime=0)
    comment = b"-" * (size - len(member) - len(empty) - 1) + b"\0"
    return member + empty[:3] + b"\x10" + empty[4:10] + comment + empty[10:]


ONE = crawl_files(CRAWL, [noise(200_000)])
NAME = paths.file_name(list(ONE)[1])
WHOLE = list(ONE.values())[1]


def config(server: CrawlServer, **settings: object) -> FetchConfig:
    return FetchConfig(**{"base": server.base, "backoff": 0.001, "timeout": 5.0, **settings})


def run(server: CrawlServer, output: Path, **settings: object) -> tuple[FetchSummary, list[FetchEvent]]:
    events: list[FetchEvent] = []
    return fetch(CRAWL, output, config(server, **settings), events.append), events


def largest_part(folder: Path) -> int:
    return max((part.stat().st_size for part in folder.glob("*.part")), default=0)


def retries(events: list[FetchEvent]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Retry)]


def assert_whole(output: Path, files: dict[str, bytes] = ONE) -> None:
    """The folder holds exactly the crawl's files with right receipts, and no unfinished file."""
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
