"""Which files a crawl has, and which of them to fetch.

In: the crawl's listing, `crawl-data/<CRAWL>/<kind>.paths.gz`, one path a line (Common Crawl, "Get Started"). Out: the
chosen paths, either the first N or a seeded sample of N from the whole crawl. Measurements should use a sample, because
neighbouring files hold neighbouring hosts.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import zlib

BASE = "https://data.commoncrawl.org/"
KINDS = ("warc", "wat", "wet", "robotstxt", "non200responses")
_MOST_BYTES = 128 << 20  # of a listing, inflated; Common Crawl's have 14 MB
_CRAWL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")  # also CC-NEWS/2024/05
_PATH = re.compile(r"[A-Za-z0-9][\w.=+-]*(/[A-Za-z0-9][\w.=+-]*)*", re.ASCII)


def listing_path(crawl: str, kind: str) -> str:
    """The listing's path below the base. Raises ValueError for a name that no crawl can have."""
    if not _CRAWL.fullmatch(crawl):
        raise ValueError(f"crawl {crawl!r}: should be a name like CC-MAIN-2026-43")
    return f"crawl-data/{crawl}/{kind}.paths.gz"


def parse_listing(data: bytes, url: str) -> list[str]:
    """The paths in the bytes of a downloaded listing. Raises ValueError naming `url` if they are no listing."""
    try:
        with gzip.open(io.BytesIO(data)) as inflated:
            text = inflated.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"{url}: inflates to over {_MOST_BYTES >> 20} MiB and is no listing; check --base")
        lines = text.decode("utf_8").split()
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
    """The first `limit` paths, or `sample` paths drawn with `seed`, in the listing's order; all if both are None."""
    if sample is not None:
        numbers = random.Random(seed).sample(range(len(paths)), min(sample, len(paths)))
        return [paths[number] for number in sorted(numbers)]
    return paths[:limit]


def file_name(path: str) -> str:
    """The last part of a path. It holds the file's time and number, and is unique in the crawl."""
    return path.rsplit("/", 1)[-1]


def join(base: str, path: str) -> str:
    """The address of `path` on the server or mirror `base`."""
    return f"{base.rstrip('/')}/{path}"
