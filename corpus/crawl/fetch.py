"""WARC files of a crawl into a folder, each whole, each with a receipt; what is there is not asked for again.

Unfinished files wait in `_part/` for the next call. A finished one is published under its own name, and last comes
its receipt `_units/<name>.json`, from which extraction learns the WARC's own address.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corpus.crawl.download import Config, download, make_pool
from corpus.crawl.paths import choose, listing_path, parse_listing
from corpus.shards import Dataset, Input, Output, Record
from corpus.storage import sha256

if TYPE_CHECKING:
    import urllib3

BUCKET = "s3://commoncrawl/"


class Event(NamedTuple):
    """kind: listed (detail: how many files), skipped, bytes, retry (detail: why), done."""

    kind: str
    name: str = ""
    have: int = 0
    total: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Summary:
    """What one call did."""

    files: int
    done: int
    skipped: int
    bytes: int  # downloaded by this call


def fetch(crawl: str, output: Path, config: Config, on_event: Callable[[Event], None]) -> Summary:
    """Download what is wanted of `crawl` and not there yet.

    Raises Forbidden when the server answers 403 (all parts are kept), FileNotFoundError naming a crawl that is not
    there, OSError when a file is given up after its retries; the others are finished first.
    """
    pool = make_pool(config)
    stop = threading.Event()
    dataset = Dataset(output)
    parts = output / "_part"
    parts.mkdir(parents=True, exist_ok=True)
    base = config.base if config.base.endswith("/") else config.base + "/"

    def one(path: str) -> int:
        name = Path(path).name
        part = parts / f"{name}.part"
        remote = download(
            pool,
            base + path,
            part,
            config,
            stop,
            lambda have, total: on_event(Event("bytes", name, have, total)),
            lambda reason: on_event(Event("retry", name, detail=reason)),
        )
        file = Output(name, "warc", 0, remote.size, sha256(part))
        _check_free(output / name, file.sha256)
        record = Record(name, "fetch", "", (Input(BUCKET + path, remote.size, remote.etag),), (file,), ())
        dataset.commit(record, [part])
        part.unlink()
        part.with_name(part.name + ".etag").unlink(missing_ok=True)
        on_event(Event("done", name, remote.size, remote.size))
        return remote.size

    listing = _listing(pool, base, crawl, parts, config, stop, on_event)
    wanted = choose(listing, config.limit, config.sample, config.seed)
    todo = [path for path in wanted if not _is_there(dataset, Path(path).name)]
    on_event(Event("listed", detail=str(len(wanted))))
    for path in wanted:
        if path not in todo:
            on_event(Event("skipped", Path(path).name))
    sizes = _run(one, todo, config.connections, stop)
    if not any(parts.iterdir()):
        parts.rmdir()
    return Summary(len(wanted), len(sizes), len(wanted) - len(todo), sum(sizes))


def _run(one: Callable[[str], int], paths: list[str], connections: int, stop: threading.Event) -> list[int]:
    """All files, `connections` at a time; a refusal stops the others, a file that is given up does not."""
    sizes = []
    failures: list[OSError] = []
    with concurrent.futures.ThreadPoolExecutor(connections) as threads:
        try:
            futures = [threads.submit(one, path) for path in paths]
            for future in concurrent.futures.as_completed(futures):
                try:
                    sizes.append(future.result())
                except OSError as error:
                    failures.append(error)
        except BaseException:  # Forbidden, Ctrl-C: nobody goes on, every part is kept
            stop.set()
            threads.shutdown(cancel_futures=True)
            raise
    if failures:
        raise failures[0]
    return sizes


def _listing(
    pool: urllib3.PoolManager,
    base: str,
    crawl: str,
    parts: Path,
    config: Config,
    stop: threading.Event,
    on_event: Callable[[Event], None],
) -> list[str]:
    path = listing_path(crawl)
    part = parts / f"{crawl}.paths.gz"
    part.unlink(missing_ok=True)
    try:
        download(
            pool,
            base + path,
            part,
            config,
            stop,
            lambda have, total: None,
            lambda reason: on_event(Event("retry", path, detail=reason)),
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{crawl}: no such crawl at {base}; names look like CC-MAIN-2024-51 (https://commoncrawl.org/latest-crawl)"
        ) from None
    data = part.read_bytes()
    part.unlink()
    part.with_name(part.name + ".etag").unlink(missing_ok=True)
    return parse_listing(data, base + path)


def _is_there(dataset: Dataset, name: str) -> bool:
    record = dataset.record(name)
    path = Path(dataset.path, name)
    return record is not None and path.is_file() and path.stat().st_size == record.outputs[0].bytes


def _check_free(path: Path, digest: str) -> None:
    """A file of that name may be there already, from a call that ended before its receipt; then it is the same."""
    if path.is_file() and sha256(path) != digest:
        raise FileExistsError(f"{path}: another file of that name is there; move it away")
