"""The table of storages, and what is done with a path of any of them.

In: a path, or an address such as `s3://bucket/prefix`. Out: the `Storage` that it names, or a file, a fingerprint, a
listing there. The scheme of an address picks the storage's class from `STORAGES`; a path without one is a local path.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import importlib
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from corpus.store.base import ReadOnlyStorage, Storage, join_key

# Scheme -> "module:class" of a `Storage`, which is called with the address. A module is loaded when it is needed.
STORAGES = {
    "file": "corpus.store.local:LocalStorage",
    "s3": "corpus.store.s3:S3Storage",
    "gs": "corpus.store.google:GoogleStorage",
    "az": "corpus.store.azure:AzureStorage",
    "abfs": "corpus.store.azure:AzureStorage",
    "https": "corpus.store.http:HttpStorage",
    "http": "corpus.store.http:HttpStorage",
    "hf": "corpus.store.hub:HubStorage",
}
_LOCAL = "file"
_WEB = ("https://", "http://")  # in these addresses, ? begins a query
_NAME_BYTES = 255  # of a file or folder, in all usual file systems


def storage(uri: str | Path) -> Storage:
    """The storage at `uri`. Raises ValueError for a scheme that is not in the table."""
    text = str(uri)
    scheme = text.partition("://")[0] if "://" in text else _LOCAL
    make: Callable[[str], Storage] = _class_of(scheme, text)
    return make(text)


def _class_of(scheme: str, address: str) -> type[Storage]:
    if scheme not in STORAGES:
        known = ", ".join(f"{name}://" for name in STORAGES)
        raise ValueError(f"{address}: no storage for {scheme}:// here; use a local path, or one of {known}")
    module, _, name = STORAGES[scheme].partition(":")
    try:
        kind: type[Storage] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{address}: {error.name} is not installed; pip install '.[data]' brings it") from None
    return kind


def check_writable(path: str | Path) -> None:
    """Raises ValueError for an address at which nothing can be written: of an unknown scheme, or only to be read."""
    scheme, colon, _ = str(path).partition("://")
    if colon and issubclass(_class_of(scheme, str(path)), ReadOnlyStorage):
        raise ValueError(f"{path}: {scheme}:// can only be read; write to a local folder, or to an object store")


def is_remote(path: str | Path) -> bool:
    """Whether `path` is the address of a storage that is not this machine's file system."""
    scheme, colon, _ = str(path).partition("://")
    return bool(colon) and scheme != _LOCAL and scheme in STORAGES


def split(path: str | Path) -> tuple[Storage, str]:
    """The storage that holds the file at `path`, and the file's key there."""
    plain = _plain(path)
    plain, mark, query = plain.partition("?") if plain.startswith(_WEB) else (plain, "", "")
    folder, slash, name = plain.rpartition("/")
    if not name or folder.endswith(":/"):
        raise ValueError(f"{path}: names a folder or a bucket, not a file in it; add the file's name")
    return storage(folder or slash or "."), name + mark + query


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


def check_name(path: str | Path) -> None:
    """Raises ValueError for a path that is not UTF-8, which no record could name, or too long for a file system."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise ValueError(f"{shown}: this name is not UTF-8; rename the file or folder") from None
    longest = max(len(name.encode()) for name in str(path).split("/"))
    if longest > _NAME_BYTES and not is_remote(path):
        raise ValueError(f"{path}: a name in it has {longest} bytes; use one of at most {_NAME_BYTES}")


def is_dir(path: str | Path) -> bool:
    """Whether `path` is a folder; in an object store: whether anything is below it."""
    return storage(path).is_folder("")


def exists(path: str | Path) -> bool:
    """Whether `path` is a file, an object or a folder."""
    try:
        if is_dir(path):
            return True
        place, key = split(path)
        return place.size(key) is not None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no file can have this name
            return False
        raise


def children(path: str | Path) -> list[str]:
    """Paths of the files directly in the folder `path`, sorted."""
    return [join_key(str(path).rstrip("/"), key) for key in storage(path).list("")]


def expand(patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Paths that the patterns name, each once, sorted within a pattern.

    Raises FileNotFoundError naming the pattern that matches nothing, ValueError for an empty one.
    """
    paths: dict[str, None] = {}
    for pattern in map(_plain, patterns):
        if not pattern:
            raise ValueError("an input is empty; name a file, a folder or a pattern")
        if pattern.startswith(_WEB) and "*" in pattern:
            raise ValueError(f"{pattern}: a web server has no listing; name each file")
        if not glob.has_magic(pattern) or pattern.startswith(_WEB):
            matches = [pattern] if exists(pattern) else []
        elif "://" in pattern:
            scheme, _, rest = pattern.partition("://")
            parts = rest.split("/")
            first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
            root = f"{scheme}://{'/'.join(parts[:first])}"
            matches = sorted(f"{root}/{key}" for key in _matches(storage(root), "", parts[first:]))
        else:
            matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise FileNotFoundError(f"{pattern}: no such file or directory; check the name")
        paths.update(dict.fromkeys(matches))
    return list(paths)


def _plain(path: str | Path) -> str:
    """A local address as a plain path, every other path as it is."""
    return str(path).removeprefix(f"{_LOCAL}://")


def _matches(place: Storage, folder: str, parts: Sequence[str]) -> Iterator[str]:
    """Keys below `folder` whose names match the parts of a pattern, as `glob` would: one listing a folder."""
    part, *rest = parts
    if rest and not glob.has_magic(part):
        yield from _matches(place, join_key(folder, part), rest)
    elif rest:
        if part == "**":  # it stands for no folder, or for any number of them
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
