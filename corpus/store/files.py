"""Files on this machine that belong to no storage: the hash of a file, and the place of this user's caches."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def sha256(path: str | Path) -> str:
    """Hex digest of a whole local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def user_cache(name: str) -> Path:
    """A folder of this user for what can be made or fetched again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corpus", name)
