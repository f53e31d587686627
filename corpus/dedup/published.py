"""An index of published documents: what a new crawl is compared with (`--against`), and what it may be added to.

An index is a dataset whose units are named after the shards that they come from. What it holds when it is first asked
for an output is written down in `index.json`, so that later additions do not change the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corpus.dedup.config import Config
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob
from corpus.run.plan import document_units
from corpus.store.open import is_dir, split, storage
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset


@dataclass(frozen=True)
class IndexOptions:
    """What the command line asks of deduplication beside its settings.

    against       the index of published documents to compare with
    update_index  add what stays to that index
    labels_only   end with the labels, and write no documents
    """

    against: str | None = None
    update_index: bool = False
    labels_only: bool = False


@dataclass(frozen=True)
class PublishedIndex:
    """What stands in an index at the moment when it is first asked: a file that lists its units, so that what is added
    later does not change the answer.
    """

    path: str
    listed: str  # path of the list

    def records(self) -> Iterator[CommitRecord]:
        place, key = split(self.listed)
        names = set(json.loads(place.read(key) or b"[]"))
        return (record for record in Dataset(self.path).scan() if record.unit in names)

    def fingerprint(self) -> str:
        """A hash of the contents of all its units."""
        return hashlib.sha256(json.dumps(_contents(self.records())).encode()).hexdigest()[:32]


def index_key(unit: Unit) -> str:
    """The unit of an index that a shard of documents becomes: the shard's name and its contents."""
    return f"{unit.key}-{unit.inputs[0].etag[:12]}"


def scheme(config: Config) -> str:
    """What must be equal for documents to be compared with those of an index."""
    from corpus.dedup.signatures import schema

    return str(schema(config).metadata[b"dedup"].decode())


def published_index(job: BarrierJob, options: IndexOptions, config: Config) -> PublishedIndex | None:
    """The index as it stood when this was first asked for this output, None if there was none.

    Raises ValueError if there is nothing to compare with, if it is no index or has another scheme, if it is not the
    one that was asked first, or if these documents are in it from elsewhere.
    """
    if options.against is None:
        return None
    there = _index_units(options.against, scheme(config)) if is_dir(options.against) else {}
    if not there and not options.update_index:
        raise ValueError(f"{options.against}: no index; make one with --update-index, from what is published")
    place = storage(job.work)
    place.make_folder("")
    if not place.create("index.json", json.dumps(there, indent=1).encode()):
        there = _contents(Dataset(options.against).scan())  # another task may have looked later
    listed = _listed(place.read("index.json") or b"{}", f"{job.work}/index.json")
    if gone := next((unit for unit, digest in listed.items() if there.get(unit) != digest), None):
        raise ValueError(
            f"{options.against}: unit {gone} is not there any more as it was when {job.work}/index.json was written; "
            "name the same index, or another output folder"
        )
    if options.update_index:
        own = (index_key(unit) for unit in document_units(job.documents)(job.keys))
        if twice := next((key for key in own if key in listed), None):
            raise ValueError(
                f"{options.against}: has the documents of {job.documents} already ({twice}), from another output "
                "folder; go on in that one, or leave out --update-index to see what of them is published"
            )
    return PublishedIndex(options.against, f"{job.work}/index.json") if listed else None


def _listed(data: bytes, name: str) -> dict[str, str]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError):
        raise ValueError(f"{name}: not a list of an index's units; use another output folder") from None


def _contents(records: Iterable[CommitRecord]) -> dict[str, str]:
    """By unit, what tells its contents apart."""
    return {record.unit: record.outputs[0].sha256[:16] for record in records}


def _index_units(path: str, wanted: str) -> dict[str, str]:
    """The units of an index. Raises ValueError if it is none, or was made with another scheme."""
    dataset = Dataset(path)
    made: dict[str, str] = {}

    def checked() -> Iterator[CommitRecord]:
        for record in dataset.scan():
            if record.stage != "index" or not record.output("signatures"):
                raise ValueError(
                    f"{path}: no index, unit {record.unit} was made by {record.stage}; name a folder that "
                    "--update-index has made, or a new one"
                )
            if record.config not in made:
                made[record.config] = (dataset.configuration(record.config) or {}).get("scheme", wanted)
            if made[record.config] != wanted:
                raise ValueError(
                    f"{path}: made with {made[record.config]!r}, this call has {wanted!r}; use the same settings, "
                    "or another index"
                )
            yield record

    return _contents(checked())
