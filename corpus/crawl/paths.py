"""Which files a crawl has, and which of them to fetch.

In: the crawl's listing, `crawl-data/<CRAWL>/<kind>.paths.gz`, one path a line (Common Crawl, "Get Started").
Out: the chosen paths. The first N are always the same N; a seeded sample draws N from the whole crawl, which is
what a measurement should use: neighbouring files hold neighbouring hosts.
"""

from __future__ import annotations

import gzip
import random
import re
import zlib

BASE = "https://data.commoncrawl.org/"
KINDS = ("warc", "wat", "wet", "robotstxt", "non200responses")
_CRAWL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")  # CC-NEWS/2024/05 is one too
_PATH = re.compile(r"[A-Za-z0-9][\w.=+-]*(/[A-Za-z0-9][\w.=+-]*)*", re.ASCII)


def listing_path(crawl: str, kind: str) -> str:
    """The listing's path below the base; ValueError for a name that cannot be a crawl's."""
    if not _CRAWL.fullmatch(crawl):
        raise ValueError(f"crawl {crawl!r}: should be a name like CC-MAIN-2026-43")
    return f"crawl-data/{crawl}/{kind}.paths.gz"


def parse_listing(data: bytes, url: str) -> list[str]:
    """The paths of a listing as it was downloaded; ValueError naming `url` if it is not one."""
    try:
        lines = gzip.decompress(data).decode("utf_8").split()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{url}: not a gzip-compressed listing ({error}); check --base") from None
    for path in lines:
        if not _PATH.fullmatch(path):
            raise ValueError(f"{url}: {path[:80]!r} is no path of a crawl file; check --base")
    names = {file_name(path) for path in lines}
    if len(names) < len(set(lines)):
        raise ValueError(f"{url}: two files of the same name; this listing cannot be fetched into one folder")
    return list(dict.fromkeys(lines))


def choose(paths: list[str], limit: int | None, sample: int | None, seed: int) -> list[str]:
    """The first `limit`, or `sample` of them drawn with `seed`, in the listing's order; else all."""
    if sample is not None:
        numbers = random.Random(seed).sample(range(len(paths)), min(sample, len(paths)))
        return [paths[number] for number in sorted(numbers)]
    return paths[:limit]


def file_name(path: str) -> str:
    """The file's own name, which holds its time and number and is unique in the crawl."""
    return path.rsplit("/", 1)[-1]


def join(base: str, path: str) -> str:
    """The address of `path` on the server or mirror `base`."""
    return f"{base.rstrip('/')}/{path}"
