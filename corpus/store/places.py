"""How a commit record names the files that a unit has read, and where these files are when the record is read.

A run is a folder with the datasets that one call has written: `out` with `out/documents` and `out/clean`, or `unique`
with `unique/_dedup/signatures`. A file of the run is named relative to the run, so that the run can be moved. Any other
file is named by its whole path, so that the record means the same file in whatever folder it is read.
"""

from __future__ import annotations

import functools
import os

from corpus.store.open import exists, is_remote, split
from corpus.store.records import Input

_RECIPE = "recipe.toml"  # lies in the folder of a run of several datasets
_SHORTEST = 3  # parts of a path that still name a shard: dataset/data/file


def recorded(path: str, dataset: str) -> str:
    """The name of the file `path` in a record of `dataset`: relative to the run of `dataset`, or the whole path."""
    whole, run = _whole(path), _run_of(_whole(dataset))
    return whole.removeprefix(f"{run}/")


@functools.cache
def _run_of(dataset: str) -> str:
    """The folder of the run that a dataset belongs to."""
    parent, _, _ = dataset.rpartition("/")
    above, _, name = parent.rpartition("/")
    if name.startswith("_"):  # intermediate results, such as unique/_dedup/keys
        return above
    return parent if name and exists(f"{parent}/{_RECIPE}") else dataset


def _whole(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path.removeprefix("file://"))


class Places:
    """Finds the files that the records of one dataset name, also after their folders have been moved together."""

    def __init__(self, dataset: str) -> None:
        self._above = _folders_above(_whole(dataset))
        self._moved: dict[str, str] = {}  # folder in a record -> the folder that it is now

    def locate(self, file: Input) -> str:
        """Where a file is: at its path, else below a folder above the dataset. The path itself if it is nowhere.

        The name of a shard holds the hash of its content, and the size is compared, so another file is not taken.
        """
        folder, _, name = file.path.rpartition("/")
        if folder not in self._moved:
            self._moved[folder] = next((place for place in self._candidates(folder) if _is(place, name, file)), folder)
        return f"{self._moved[folder]}/{name}" if folder else name

    def _candidates(self, folder: str) -> list[str]:
        parts = [part for part in folder.removeprefix("file://").split("/") if part not in ("", ".", "..")]
        ends = ["/".join(parts[start:]) for start in range(max(1, len(parts) - _SHORTEST + 2))]
        below = [f"{above}/{end}" for above in self._above for end in ends]
        # A relative path counts from the run. In older records it counts from where the command was called.
        return [folder, *below] if folder.startswith("/") or is_remote(folder) else [*below, folder]


def _folders_above(dataset: str) -> list[str]:
    """The folders that a dataset lies in, the nearest first; in an object store up to the bucket."""
    scheme, colon, rest = dataset.rpartition("://")
    parts = rest.split("/")
    return [f"{scheme}{colon}{'/'.join(parts[:end])}" for end in range(len(parts) - 1, 0, -1)]


def _is(folder: str, name: str, file: Input) -> bool:
    try:
        place, key = split(f"{folder}/{name}")
        return place.size(key) == file.size
    except (OSError, ValueError):  # such as a folder that this user may not see
        return False
