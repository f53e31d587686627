"""Publishes a folder: what a reader needs of an export, a dataset or a run goes to a store, checksums compared.

In: a folder, and the address of a storage. Out: the files there. What goes:

an export    every file of its SHA256SUMS, and that file
a dataset    the shards that its commit records name, the records, the configurations and the card
a run        its dataset `clean`, or `tokens` where it has none, and the recipe

Of a dataset, dropped documents, examples for review and tracebacks stay where they are, unless `dropped` asks for the
dropped documents. A file is hashed before it is sent, and must be what its record or SHA256SUMS says. A file that the
store has already is not sent again if it is equal, and is refused if it is not: nothing is overwritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from corpus.export.source import kind_of
from corpus.export.write import CARD, PLAN, SUMS, read_checksums
from corpus.store import card
from corpus.store.base import Storage
from corpus.store.files import sha256
from corpus.store.open import is_dir, storage
from corpus.store.shards import Dataset

_RUN = ("clean", "tokens")  # the dataset that stands for a run


class Item(NamedTuple):
    """A file to publish.

    key      its name at the target
    size     bytes
    sha256   what its content must have
    place    the storage that holds it, under the key `source`
    content  its bytes, where they are not in a storage: the card without the dropped documents
    """

    key: str
    size: int
    sha256: str
    place: Storage
    source: str
    content: bytes | None = None


class Published(NamedTuple):
    """What a call has done: files and bytes sent, files that were there already."""

    sent: int
    bytes: int
    before: int


def items_of(folder: str, dropped: bool = False) -> list[Item]:
    """The files to publish: the data first, then what says that they are whole.

    Raises ValueError for a folder that is no export, no dataset and no run, and for an export that is not finished.
    """
    place = storage(folder)
    if is_dir(f"{folder}/_units"):
        return list(_of_dataset(folder, dropped))
    if place.size(PLAN) is not None:
        return _of_export(place)
    for name in _RUN:
        if is_dir(f"{folder}/{name}/_units"):
            recipe = [_item(place, "recipe.toml")] if place.size("recipe.toml") is not None else []
            return [*_of_dataset(f"{folder}/{name}", dropped), *recipe]
    raise ValueError(f"{folder}: holds no export, no dataset and no run; make one with corpus export or corpus run")


def publish(items: list[Item], target: str, say: Callable[[str], object] = print) -> Published:
    """Publish into a storage. Raises ValueError naming a file that differs: here from its record, or there from ours.

    The sha256 of every file is computed from what the store gives back after it was sent.
    """
    place = storage(target)
    place.make_folder("")
    sent = size = before = 0
    for item in items:
        present = place.size(item.key)
        if present is None:
            _send(item, place)
            sent, size = sent + 1, size + item.size
            say(f"{target}/{item.key}: {item.size:,} bytes")
        else:
            before += 1
        if place.size(item.key) != item.size or _digest(place, item.key) != item.sha256:
            state = "differs after it was sent" if present is None else "is there with other content"
            raise ValueError(f"{target}/{item.key}: {state}; remove it, or publish to another place")
    return Published(sent, size, before)


def check(item: Item, digest: str) -> None:
    """Raises ValueError if a file is not what its record or SHA256SUMS says."""
    if digest != item.sha256:
        raise ValueError(f"{item.place.root}/{item.source}: its sha256 is not the one in its record or in {SUMS}")


def _send(item: Item, place: Storage) -> None:
    folder = item.key.rpartition("/")[0]
    place.make_folder(folder)
    if item.content is not None:
        place.replace(item.key, item.content)
        return
    with item.place.local_path(item.source) as local:
        check(item, sha256(local))
        with place.scratch() as scratch:
            # A copy in the scratch folder, because `publish` may link the file, and a link would be one file in two
            # places.
            copy = scratch / "file"
            copy.write_bytes(b"")
            with local.open("rb") as source, copy.open("wb") as target:
                while data := source.read(1 << 22):
                    target.write(data)
            place.publish(copy, item.key)


def _of_export(place: Storage) -> list[Item]:
    checksums = read_checksums(place)
    if not checksums:
        raise ValueError(f"{place.root}: this export is not finished; give its corpus export command again")
    last = (PLAN, CARD)
    keys = [*(key for key in checksums if key not in last), *(key for key in last if key in checksums)]
    items = [Item(key, place.size(key) or 0, checksums[key], place, key) for key in keys]
    return [*items, _item(place, SUMS)]


def _of_dataset(folder: str, dropped: bool) -> Iterator[Item]:
    dataset = Dataset(folder)
    kind = kind_of(dataset)
    if kind is None:
        raise ValueError(f"{folder}: holds no committed documents and no tokens; name out/clean of a run, or an export")
    kinds = {kind, "dropped"} if dropped else {kind}
    keys: list[str] = []
    for record in dataset.scan():
        for output in record.outputs:
            if output.kind in kinds:
                yield Item(output.path, output.bytes, output.sha256, dataset.storage, output.path)
        keys.append(f"_units/{record.unit}.json")
    for key in [*dataset.storage.list("_config"), *keys]:
        yield _item(dataset.storage, key)
    if (text := dataset.storage.read(card.NAME)) is None or text == card.dataset_card(kind, True).encode():
        text = card.dataset_card(kind, dropped and kind == "documents").encode()
    yield Item(card.NAME, len(text), hashlib.sha256(text).hexdigest(), dataset.storage, card.NAME, text)


def _item(place: Storage, key: str) -> Item:
    """A small file, hashed as it is now."""
    data = place.read(key) or b""
    return Item(key, len(data), hashlib.sha256(data).hexdigest(), place, key)


def _digest(place: Storage, key: str) -> str:
    with place.open(key) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type, unused-ignore]
