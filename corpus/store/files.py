"""Files on this machine: the hash of a file, and the place of this user's caches."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path


def sha256(path: str | Path) -> str:
    """Hex digest of a whole local file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_name(path: str | Path) -> None:
    """Raises ValueError if a file is called `<unit>-<sha12>.<suffix>`, as committed files are, and its hash differs."""
    named = re.search(r"-([0-9a-f]{12})\.[a-z]+$", str(path))
    if named and not sha256(path).startswith(named[1]):
        raise ValueError(f"{path}: differs from the hash in its name; remove its folder to make it again")


def user_cache(name: str) -> Path:
    """A folder of this user for what can be made or fetched again (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "corpus", name)
