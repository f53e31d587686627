"""A file or folder of any storage as a local copy, for the models and lists that settings name.

In: an address. Out: the path of a copy in the user's cache, made once for each version of what is at the address. The
last part of the path is the name that it has there. The cache may be deleted between runs.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from bpe.whole import whole
from corpus.store.files import user_cache
from corpus.store.open import fingerprint, is_dir, local_path, storage


def local_copy(address: str) -> str:
    """The local copy of what is at `address` now. Raises OSError or ValueError that name the address."""
    address = address.rstrip("/")
    version = [entry[:3] for entry in storage(address).entries("")] if is_dir(address) else fingerprint(address)
    digest = hashlib.sha256(repr((address, version)).encode()).hexdigest()[:32]
    target = user_cache("copies") / digest / address.partition("?")[0].rpartition("/")[2]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(address, target)
    return str(target)


def _copy(address: str, target: Path) -> None:
    with local_path(address) as path:
        try:
            with whole(target) as unfinished:
                if path.is_dir():
                    shutil.copytree(path, unfinished)
                else:
                    shutil.copyfile(path, unfinished)
        except OSError:
            if not target.exists():  # else another process was first with the same folder
                raise
