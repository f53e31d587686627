"""The one file-system layer: everything that a stage reads or publishes goes through a `Storage`.

In: a path or `s3://bucket/prefix`. Out: a root with keys below it, as an object store has. A storage promises three
things and nothing more: `publish` makes a finished local file visible whole or not at all, `create` writes a small
object only if none is there (first writer wins), and a reader never sees half of either. There is no rename and no
append, because object stores have neither. `LocalStorage` keeps the promises with hard links; where a file system
has none a lock decides who renames. Object stores are in `object_store.py`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from corpus.store.base import Storage, _join
from corpus.store.local import LocalStorage


def storage(uri: str | Path) -> Storage:
    """The storage at `uri`. Raises ValueError for a scheme that is not supported."""
    text = str(uri)
    if text.startswith("s3://"):
        from corpus.store.s3 import S3Storage

        return S3Storage(text)
    if "://" in text and not text.startswith("file://"):
        scheme = text.partition("://")[0]
        raise ValueError(f"{text}: no storage for {scheme}:// here; use a local path or s3://bucket/prefix")
    return LocalStorage(text.removeprefix("file://"))


def split(path: str | Path) -> tuple[Storage, str]:
    """The storage that holds the file at `path`, and the file's key there."""
    folder, slash, name = str(path).removeprefix("file://").rpartition("/")
    if not name or folder == "s3:/":
        raise ValueError(f"{path}: names a folder or a bucket, not a file in it")
    return storage(folder or slash or "."), name


def open_path(path: str | Path) -> BufferedReader:
    """The file or object at `path`, seekable. Raises FileNotFoundError."""
    place, key = split(path)
    return place.open(key)


def local_path(path: str | Path) -> contextlib.AbstractContextManager[Path]:
    """The file or folder at `path` as a local one, which may be gone afterwards. Raises FileNotFoundError."""
    place, key = split(str(path).rstrip("/"))
    return place.local_path(key)


def fingerprint(path: str | Path) -> tuple[int, str]:
    """(size in bytes, etag) of the file or object at `path`; see `Storage.fingerprint`."""
    place, key = split(path)
    return place.fingerprint(key)


def is_dir(path: str | Path) -> bool:
    """Whether `path` is a folder; in an object store: whether anything is below it."""
    return storage(path).is_folder("")


def exists(path: str | Path) -> bool:
    """Whether `path` is a file, an object or a folder."""
    if is_dir(path):
        return True
    place, key = split(path)
    return place.size(key) is not None


def children(path: str | Path) -> list[str]:
    """Paths of the files directly in the folder `path`, sorted."""
    return [_join(str(path).rstrip("/"), key) for key in storage(path).list("")]


def expand(patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Paths that the patterns name, each once, sorted within a pattern.

    Raises FileNotFoundError naming the pattern that matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in (pattern.removeprefix("file://") for pattern in patterns):
        if not glob.has_magic(pattern):
            matches = [pattern] if exists(pattern) else []
        elif "://" in pattern:
            scheme, _, rest = pattern.partition("://")
            bucket, *parts = rest.split("/")
            root = f"{scheme}://{bucket}"
            matches = sorted(f"{root}/{key}" for key in _matches(storage(root), "", parts))
        else:
            matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise FileNotFoundError(f"{pattern}: no such file or directory")
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(place: Storage, folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Keys below `folder` whose names match the parts of a pattern, as `glob` would: one listing a folder."""
    part, *rest = parts
    if rest and not glob.has_magic(part):
        yield from _matches(place, _join(folder, part), rest)
    elif rest:
        if part == "**":  # no folder, or any number of them
            yield from _matches(place, folder, rest)
        for key in place.folders(folder):
            if part == "**":
                yield from _matches(place, key, parts)
            elif fnmatch.fnmatchcase(key.rpartition("/")[2], part):
                yield from _matches(place, key, rest)
    else:
        for key in (*place.list(folder), *place.folders(folder)):
            if fnmatch.fnmatchcase(key.rpartition("/")[2], part):
                yield key
