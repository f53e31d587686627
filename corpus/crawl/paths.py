"""Which WARC files a crawl has, and which of them are wanted.

Common Crawl publishes `crawl-data/CC-MAIN-YYYY-WW/warc.paths.gz`: a line a file, relative to the bucket.
"""

from __future__ import annotations

import gzip
import random
import zlib


def listing_path(crawl: str) -> str:
    """The path of a crawl's list of WARC files."""
    return f"crawl-data/{crawl}/warc.paths.gz"


def parse_listing(data: bytes, name: str) -> list[str]:
    """The paths in a `warc.paths.gz`. Raises ValueError naming the list if it is damaged or empty."""
    try:
        lines = gzip.decompress(data).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: not a list of WARC files ({error}); is --base right?") from None
    paths = [line.strip() for line in lines if line.strip()]
    if not paths:
        raise ValueError(f"{name}: an empty list; is --base right?")
    return paths


def choose(paths: list[str], limit: int | None, sample: int | None, seed: int) -> list[str]:
    """The first `limit` paths, or `sample` of them drawn by `seed`, in the listing's order; all if neither is given."""
    if sample is not None:
        drawn = random.Random(seed).sample(range(len(paths)), min(sample, len(paths)))
        return [paths[index] for index in sorted(drawn)]
    return paths[:limit]
