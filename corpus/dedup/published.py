"""The index of published documents that a new crawl is compared with (`--against`), and may be added to.

An index is a dataset whose units are named after the shards that they were made from. `index.json` beside the outputs
of a deduplication lists the units that the index had when the deduplication began. So units that are added to the
index later do not change its result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bpe.parse import parse_json
from corpus.dedup.config import Config
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob
from corpus.run.plan import document_units
from corpus.store.open import is_dir, split, storage
from corpus.store.records import CommitRecord
from corpus.store.shards import Dataset

_OTHER = "name the same index, or another output folder"


@dataclass(frozen=True)
class IndexOptions:
    """What the command line asks of deduplication beside its settings.

    against       the folder of the index to compare with; None: compare with no index
    update_index  add the documents that stay to that index
    labels_only   end with the labels, and write no documents
    """

    against: str | None = None
    update_index: bool = False
    labels_only: bool = False


@dataclass(frozen=True)
class PublishedIndex:
    """The units that an index had when a deduplication began."""

    path: str  # of the index
    listed: str  # path of `index.json`

    def records(self) -> Iterator[CommitRecord]:
        """The commit records of these units, in order. Raises ValueError if a unit is gone or has other contents."""
        place, key = split(self.listed)
        listed = _listed(place.read(key) or b"", self.listed)
        for record in Dataset(self.path).scan():
            if record.unit in listed:
                if _contents([record])[record.unit] != listed.pop(record.unit):
                    raise ValueError(f"{self.listed}: differs from {self.path} in unit {record.unit}; {_OTHER}")
                yield record
        if listed:
            raise ValueError(f"{self.listed}: lists unit {min(listed)}, which is not in {self.path}; {_OTHER}")

    def fingerprint(self) -> str:
        """A hash of the contents of all its units."""
        return hashlib.sha256(json.dumps(_contents(self.records())).encode()).hexdigest()[:32]


def index_key(unit: Unit) -> str:
    """The unit of an index that is made from a shard of documents, named after the shard and its contents."""
    return f"{unit.key}-{unit.inputs[0].etag[:12]}"


def scheme(config: Config) -> str:
    """The scheme of signatures, which must be equal for documents to be compared with an index."""
    from corpus.dedup.signatures import schema

    return str(schema(config).metadata[b"dedup"].decode())


def published_index(job: BarrierJob, options: IndexOptions, config: Config) -> PublishedIndex | None:
    """The index as it was when this deduplication began; None if there was none.

    The first call writes `index.json`, and later calls read it. Raises ValueError if there is nothing to compare with,
    if the folder is no index or has another scheme, if units that `index.json` lists are gone, or if the documents are
    to be added and are in the index already, from another output folder.
    """
    if options.against is None:
        return None
    units = _index_units(options.against, scheme(config)) if is_dir(options.against) else {}
    if not units and not options.update_index:
        raise ValueError(f"{options.against}: no index; make one with --update-index, from published documents")
    place = storage(job.work)
    place.make_folder("")
    if not place.create("index.json", json.dumps(units, indent=1).encode()):
        units = _contents(Dataset(options.against).scan())  # another task, which wrote the list, may have looked later
    listed = _listed(place.read("index.json") or b"{}", f"{job.work}/index.json")
    if gone := next((unit for unit, digest in listed.items() if units.get(unit) != digest), None):
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
        return dict(parse_json(data))
    except (ValueError, TypeError):
        raise ValueError(f"{name}: not a list of an index's units; use another output folder") from None


def _contents(records: Iterable[CommitRecord]) -> dict[str, str]:
    """By unit, a hash of its contents."""
    return {record.unit: record.outputs[0].sha256[:16] for record in records}


def _index_units(path: str, wanted: str) -> dict[str, str]:
    """The units of an index and their hashes. Raises ValueError if it is no index, or was made with another scheme."""
    dataset = Dataset(path)
    schemes: dict[str, str] = {}  # by config hash

    def checked() -> Iterator[CommitRecord]:
        for record in dataset.scan():
            if record.stage != "index" or not record.output("signatures"):
                raise ValueError(
                    f"{path}: no index, unit {record.unit} was made by {record.stage}; name a folder that "
                    "--update-index has made, or a new one"
                )
            if record.config not in schemes:
                schemes[record.config] = (dataset.configuration(record.config) or {}).get("scheme", wanted)
            if schemes[record.config] != wanted:
                raise ValueError(
                    f"{path}: made with {schemes[record.config]!r}, this call has {wanted!r}; use the same settings, "
                    "or another index"
                )
            yield record

    return _contents(checked())
