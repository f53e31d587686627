"""Fetches files of a crawl into a folder. A second run goes on where the first one stopped.

In: a crawl's name. Out, in the folder:

    <file name>                 the file, byte for byte
    _units/<file name>.json     its receipt, written last: where it came from (address, size, ETag) and its sha256
    <file name>.part[.json]     the bytes that an interrupted download has so far

A file with a receipt is done and is not requested again, unless `corpus.store.content` finds that it is another file
than its name says. Only one fetch at a time writes to a folder. Everything that a person may want to see is passed on
as an event; this module prints nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bpe.whole import make_folder
from corpus.config import check, setting
from corpus.crawl import paths
from corpus.store.files import sha256
from corpus.store.records import CommitRecord, Input, Output
from corpus.store.shards import Dataset

if TYPE_CHECKING:
    from corpus.crawl.download import Client

DISTRIBUTION = "corpus-toolkit"
_MOST_BYTES = 64 << 30  # of a file; Common Crawl's have 1 GB
ADDRESS = "s3://commoncrawl/"  # the column `file_path` begins with this, wherever the bytes were downloaded from


@dataclass(frozen=True)
class FetchConfig:
    """What to fetch and how politely (limits: Common Crawl's guidance on access)."""

    limit: int | None = setting(None, "fetch the first N files of the crawl; all without it", low=1)
    sample: int | None = setting(None, "fetch N files drawn at random from the whole crawl", low=1)
    seed: int = setting(0, "seed of --sample: the same seed draws the same files", low=0)
    kind: str = setting("warc", "which files: pages are in warc", choices=paths.KINDS)
    base: str = setting(paths.BASE, "address that the crawl's paths are appended to; a mirror goes here")
    connections: int = setting(4, "downloads at a time (Common Crawl asks for 10 at the most)", low=1, high=10)
    retries: int = setting(10, "failures in a row before a file is given up", low=0, high=100)
    backoff: float = setting(1.0, "seconds of the first wait after a failure at most; doubles", low=0, high=3600)
    max_backoff: float = setting(3600.0, "seconds of any wait at most", low=0, high=86400)
    timeout: float = setting(60.0, "seconds without a byte before a connection counts as broken", low=0.1)
    lowest_speed: int = setting(
        1000, "bytes a second, over --timeout, below which a connection counts as broken; 0: none", low=0
    )
    contact: str = setting("", "e-mail or web address in the User-Agent, so that the server's owner can reach you")

    def __post_init__(self) -> None:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample: give one of them")


class Listed(NamedTuple):
    """The crawl's listing was read: `chosen` of its `available` files will be fetched."""

    chosen: int
    available: int


class Skipped(NamedTuple):
    """The file has a receipt already, so it is not fetched again."""

    name: str
    bytes: int


class Downloaded(NamedTuple):
    """`done` bytes of `total` (None: the server did not say) are on disk, those of earlier attempts included."""

    name: str
    done: int
    total: int | None


class Retry(NamedTuple):
    """An attempt failed; the next begins after `wait` seconds. `failures` counts the failures in a row."""

    name: str
    failures: int
    wait: float
    reason: str


class Finished(NamedTuple):
    """The file and its receipt are in place."""

    name: str
    bytes: int


class Failed(NamedTuple):
    """The file was given up; the others go on."""

    name: str
    reason: str


FetchEvent = Listed | Skipped | Downloaded | Retry | Finished | Failed


class FetchSummary(NamedTuple):
    """What a run did: file names in the listing's order. If `failed` is not empty, the set of files is not complete."""

    finished: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[Failed, ...]
    bytes: int  # of finished files


def fetch(
    crawl: str, output: Path, config: FetchConfig, on_event: Callable[[FetchEvent], None] = lambda event: None
) -> FetchSummary:
    """Fetch the chosen files of `crawl` (`CC-MAIN-2026-43`) into the folder `output`.

    `on_event` is called from several threads, one call at a time. A file that fails for good is in `failed`.

    Raises ValueError for a crawl that does not exist or settings that contradict each other, `download.FetchError` if
    the listing cannot be had, `download.Forbidden` if the server blocks this client (partial files stay), OSError for
    the local disk.
    """
    from corpus.crawl.download import Client, Missing, Speed

    config = check(config)
    make_folder(output)
    calls = threading.Lock()

    def report(event: FetchEvent) -> None:
        with calls:
            on_event(event)

    client = Client(
        connections=config.connections,
        retries=config.retries,
        backoff=config.backoff,
        max_backoff=config.max_backoff,
        speed=Speed(config.timeout, config.lowest_speed),
        user_agent=user_agent(config.contact),
    )
    with _sole_writer(output):
        listing = paths.listing_path(crawl, config.kind)
        url = paths.join(config.base, listing)
        try:
            data = client.get(url, lambda *retry: report(Retry(paths.file_name(listing), *retry)))
        except Missing:
            raise ValueError(
                f"{url}: there is no such crawl; names are listed at https://data.commoncrawl.org/"
            ) from None
        available = paths.parse_listing(data, url)
        chosen = paths.choose(available, config.limit, config.sample, config.seed)
        report(Listed(len(chosen), len(available)))
        outcomes = _fetch_all(client, chosen, output, config, report)
    finished = [event for event in outcomes if isinstance(event, Finished)]
    return FetchSummary(
        tuple(event.name for event in finished),
        tuple(event.name for event in outcomes if isinstance(event, Skipped)),
        tuple(event for event in outcomes if isinstance(event, Failed)),
        sum(event.bytes for event in finished),
    )


def user_agent(contact: str) -> str:
    """The User-Agent of every request: name, version, purpose, and whom to write to."""
    about = "fetches Common Crawl files for language-model training data"
    # A header is one line of ASCII.
    person = contact.encode("ascii", "ignore").decode("ascii").translate({ord(mark): None for mark in "\r\n()"})
    version = importlib.metadata.version(DISTRIBUTION)
    return f"{DISTRIBUTION}/{version} ({about}{'; contact: ' + person if person else ''})"


def _fetch_all(
    client: Client, chosen: list[str], output: Path, config: FetchConfig, report: Callable[[FetchEvent], None]
) -> list[FetchEvent]:
    with ThreadPoolExecutor(config.connections, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(_fetch_file, client, path, output, config, report) for path in chosen]
        try:
            for future in as_completed(futures):
                future.result()  # raises Forbidden or a local error, which ends the run
        finally:
            client.stop()  # if all went well, no transfer is left to stop
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _fetch_file(
    client: Client, path: str, output: Path, config: FetchConfig, report: Callable[[FetchEvent], None]
) -> FetchEvent:
    from corpus.crawl.download import FetchError, Limits
    from corpus.crawl.part import part_of
    from corpus.store.content import file_fault

    name = paths.file_name(path)
    target, url = output / name, paths.join(config.base, path)

    def on_retry(failures: int, wait: float, reason: str) -> None:
        report(Retry(name, failures, wait, reason))

    event: FetchEvent
    kept = _receipt_size(output, path)
    right = target.is_file() and not file_fault(target, name)
    if kept is not None and right and target.stat().st_size == kept:
        event = Skipped(name, kept)
        report(event)
        return event
    try:
        size, etag = client.size_and_etag(url, on_retry) if right else (None, "")
        if size is not None and size == target.stat().st_size:  # an earlier run ended between the file and its receipt
            part_of(target).discard()
        else:
            size, etag = client.download(
                url, target, lambda done, total: report(Downloaded(name, done, total)), on_retry, Limits(_MOST_BYTES)
            )
    except FetchError as error:
        event = Failed(name, str(error))
    else:
        _write_receipt(output, path, size, etag, config.kind)
        event = Finished(name, size)
    report(event)
    return event


def _receipt_size(output: Path, path: str) -> int | None:
    """The size in the file's receipt, None if it has none. Raises ValueError for the receipt of another file."""
    name = paths.file_name(path)
    record = Dataset(output).record(name)
    if record is None:
        return None
    if record.stage != "fetch" or record.inputs[0].path != ADDRESS + path:
        raise ValueError(
            f"{output}/_units/{name}.json: is the receipt of {record.inputs[0].path}, not of {ADDRESS}{path}; "
            "fetch into another folder"
        )
    return record.outputs[0].bytes


def _write_receipt(output: Path, path: str, size: int, etag: str, kind: str) -> None:
    name = paths.file_name(path)
    file = Output(name, kind, 0, size, sha256(output / name))
    record = CommitRecord(name, "fetch", "", (Input(ADDRESS + path, size, etag),), (file,), ())
    place = Dataset(output).storage
    place.make_folder("_units")
    place.remove(f"_units/{name}.json")  # the receipt of an earlier file, which is gone
    place.create(f"_units/{name}.json", record.to_json())


@contextlib.contextmanager
def _sole_writer(output: Path) -> Iterator[None]:
    """Hold the folder's lock, because two downloads of one file would write to the same .part file."""
    descriptor = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"{output}: another fetch is writing here; wait for it or use another folder") from None
    try:
        yield
    finally:
        os.close(descriptor)
