"""Paths, folders and patterns -> files with the names that documents carry: `source_file`.

A folder is searched through all its levels. Hidden names, names that begin with `_`, and what describes a data set
(README, LICENSE, SHA256SUMS, *.md, *.json cards) are no data. The name of a file is its path below the folder or the
fixed part of the pattern that was given, or the file's own name; where two files would have one name, all names are
relative to the deepest folder above all inputs.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corpus.sources.formats import ENDINGS, ending_of, format_of
from corpus.store.base import Storage, join_key
from corpus.store.open import check_name, expand, is_dir, is_remote, split, storage

_NO_DATA = re.compile(r"(readme|licen[sc]e|notice|sha256sums)\b|.*\.md$", re.IGNORECASE)
_CARDS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "croissant.json", "config.json"}


class Found(NamedTuple):
    """A file: its path, its `source_file`, and its size in bytes."""

    path: str
    name: str
    size: int


def find_files(paths: Sequence[str]) -> list[Found]:
    """The files that the paths name, each once, sorted by name.

    Raises FileNotFoundError for a path that names nothing; ValueError for a folder without data, for a file of an
    unknown kind, and for a dataset of this toolkit among other files.
    """
    files: dict[str, Found] = {}
    for given in paths:
        for file in _of(given.rstrip("/") or "/"):
            check_name(file.path)
            files.setdefault(_place(file.path), file)
    found = list(files.values())
    if any(count > 1 for count in Counter(file.name for file in found).values()):
        found = _from_above(files)
    return sorted(found, key=lambda file: file.name)


def _of(given: str) -> list[Found]:
    is_pattern = glob.has_magic(given)
    base = _fixed(given) if is_pattern else ""
    found: list[Found] = []
    for path in expand([given]):
        if is_dir(path):
            inside = list(_inside(storage(path), "", path))
            found += [file._replace(name=_below(file.path, base)) if is_pattern else file for file in inside]
        elif not is_pattern or ending_of(path):
            format_of(path)
            place, key = split(path)
            name = _below(path, base) if is_pattern else key.rpartition("/")[2]
            found.append(Found(path, name, place.size(key) or 0))
    if not found:
        known = ", ".join(ending for ending in ENDINGS if ending.count(".") == 1)
        raise ValueError(f"{given}: holds no files to read: {known} (also .gz, .zst, .bz2, .xz)")
    return found


def _inside(place: Storage, folder: str, root: str) -> Iterator[Found]:
    """The files of data below a folder."""
    folders = place.folders(folder)
    if any(key.rpartition("/")[2] == "_units" for key in folders):
        raise ValueError(f"{join_key(root, folder)}: is an output of corpus among other files; give this folder alone")
    for entry in place.entries(folder):
        name = entry.key.rpartition("/")[2]
        if not name.startswith((".", "_")) and ending_of(name) and not _NO_DATA.match(name) and name not in _CARDS:
            yield Found(f"{root.rstrip('/')}/{entry.key}", entry.key, entry.size)
    for key in folders:
        if not key.rpartition("/")[2].startswith((".", "_")):
            yield from _inside(place, key, root)


def _fixed(pattern: str) -> str:
    """The folders of a pattern before its first part with a wildcard."""
    parts = pattern.split("/")
    first = next(at for at, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first])


def _below(path: str, base: str) -> str:
    return path.removeprefix(base).lstrip("/") if base else path


def _place(path: str) -> str:
    """What two paths of one file have in common."""
    return path if is_remote(path) else os.path.abspath(path)


def _from_above(files: dict[str, Found]) -> list[Found]:
    """The files, named relative to the deepest folder above all of them."""
    levels = zip(*(place.split("/")[:-1] for place in files), strict=False)
    depth = sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
    return [file._replace(name="/".join(place.split("/")[depth:])) for place, file in files.items()]
