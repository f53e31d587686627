"""A list that a setting names by its web address, downloaded once into the user's cache.

In: an http or https URL. Out: the local file, under the name that it has on the server. The hash of its content is part
of a run's configuration. A list in the cache is never downloaded again: to get a newer one, remove the file. A file
whose first bytes are a web page, or that is not what its ending says, is no list and does not reach the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bpe.whole import no_link
from corpus.crawl.fetch import user_agent
from corpus.store.files import user_cache

if TYPE_CHECKING:
    from corpus.crawl.download import Limits

_LIMITS = (1 << 30, 600.0)  # bytes and seconds; the largest lists that are published have 100 MB


def is_address(path: str) -> bool:
    """Whether a setting names a web address and not a path."""
    return path.lower().startswith(("http://", "https://"))


def fetched(url: str, limits: Limits | None = None) -> Path:
    """The local copy of the file at `url`, downloaded if it is not in the cache yet.

    Raises ValueError naming the URL if it cannot be downloaded within the limits (by default 1 GiB and ten minutes),
    OSError for the cache's folder.
    """
    from corpus.crawl.download import Client, FetchError, Forbidden, Limits, Speed

    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2].replace("\0", "") or "list"
    folder = user_cache("lists") / hashlib.sha256(url.encode()).hexdigest()[:16]
    target = folder / name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", opener=no_link) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be fetching it
        if not target.is_file():
            client = Client(
                connections=1, retries=3, backoff=1, max_backoff=60, speed=Speed(60, 1000), user_agent=user_agent("")
            )
            try:
                client.download(
                    url,
                    target,
                    lambda done, total: None,
                    lambda failures, wait, reason: None,
                    limits or Limits(*_LIMITS),
                )
            except (FetchError, Forbidden) as error:
                reason = str(error).removeprefix(f"{url}: ").partition(";")[0]
                raise ValueError(f"{url}: {reason}; download it by hand and name the file") from None
    return target
