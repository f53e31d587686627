"""The passes of deduplication: seven that find out who duplicates whom, one that acts on it, one for the index.

signatures    a unit a shard     of its documents
keys          a unit a group     of shards: what their documents can have in common with others, by ranges
bands         a unit a range     of keys: which documents share one
blocks        one unit           documents that are connected, of the whole corpus
candidates    a unit a group     of those that are not alone, what decides between them, by partition
decisions     a unit a partition who stays, and who stands for whom
labels        a unit a group     the same, row by row with the documents
(documents)   a unit a shard     without duplicates, through the stages that follow
index         a unit a shard     what stays, for a later crawl to be compared with
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from corpus.dedup.work import (
    BandsWork,
    BlocksWork,
    CandidatesWork,
    DecisionsWork,
    Index,
    IndexWork,
    KeysWork,
    LabelsWork,
    Shards,
)
from corpus.engine.base import Unit
from corpus.run.chain import Step
from corpus.run.plan import ALONE, Pass, Share, check_no_others, document_units, global_pass, wait_for
from corpus.run.recipe import Recipe, describe
from corpus.run.work import ChainWork
from corpus.store.open import is_dir, is_remote, storage
from corpus.store.records import CommitRecord, Input
from corpus.store.shards import Dataset

_PARTITION = 64 << 20  # bytes that a unit of `bands` or `decisions` brings together, if there are not too many of them
_PARTITIONS = 1024
_HELD = 4  # times a partition that is in memory
# Bytes that a unit of `keys` or `candidates` writes: of a gigabyte, one partition in 1,024 is a megabyte; and what is
# little is shared among workers all the same.
_LARGEST_GROUP, _SMALLEST_GROUP, _GROUPS = 1 << 30, 4 << 20, 64
_CANDIDATE = 400  # bytes of a candidate beside its signature and its n-grams


_NAMES = ("signatures", "keys", "bands", "blocks", "candidates", "decisions")


@dataclass(frozen=True)
class Job:
    """What is to be deduplicated, and where; `work` is the folder of the datasets in between."""

    documents: str
    keys: Sequence[str]  # the units of `documents`
    recipe: Recipe
    work: str
    share: Share = ALONE
    memory: int | None = None  # MiB of a unit that brings a partition together; None: 256, more if there are too many
    against: str | None = None  # the index to compare with
    update_index: bool = False
    labels_only: bool = False


def dedup_passes(job: Job, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `dedup` and those behind it; each planned when the one before it is done.

    Raises ValueError if the index is not there or was made with another scheme, if the documents have no column
    that the settings name, or if folders are the same that must not be; Conflict if a folder holds other units.
    """
    _check_folders(job, output)
    _check_columns(job, steps[0].config)
    for plan in _passes(job, steps, output, _index(job)):
        if plan.name != "index":  # which gathers the units of many corpora
            check_no_others(plan.output, plan.keys)
        yield plan


def _passes(job: Job, steps: Sequence[Step], output: str, index: Index | None) -> Iterator[Pass]:
    config = steps[0].config
    folder = {name: f"{job.work}/{name}" for name in (*_NAMES, "labels")}
    if job.labels_only:
        folder["labels"] = output
    described = describe(steps[:1])
    sign = Step("signatures", "corpus.dedup.signatures", config)
    yield Pass(
        "signatures",
        folder["signatures"],
        job.keys,
        document_units(job.documents),
        described,
        lambda digest: ChainWork("signatures", (sign,), folder["signatures"], digest, job.documents, kind="signatures"),
    )
    wait_for(folder["signatures"], job.keys, job.share)
    described |= {"against": _fingerprint(index)} if index else {}
    yield from _exchange(job, config, described, folder, Shards(folder["signatures"], index, 0))
    if not job.labels_only:
        apply = Step("dedup", "corpus.dedup.apply", config)
        units = labelled(job.documents, folder["labels"])
        yield documents_behind(job, apply, steps, output, units, described, labels=folder["labels"])
    if job.update_index and job.against:
        yield _index_pass(job, job.against, config, folder["labels"])


def _exchange(
    job: Job, config: Any, described: dict[str, Any], folder: dict[str, str], shards: Shards
) -> Iterator[Pass]:
    """From signatures to labels."""
    rows = max(shard.end for shard in shards.signed())
    whole = Dataset(shards.signatures).whole("signatures")
    size = rows * 12 * (config.bands * config.minhash + config.exact)
    shards = _grouped(shards, size, rows)
    groups = [group.key for group in shards.groups()]
    yield global_pass(
        "keys",
        folder["keys"],
        groups,
        whole,
        described,
        lambda digest: KeysWork("keys", config, folder["keys"], digest, shards),
    )
    wait_for(folder["keys"], groups, job.share)
    bands = ranges(size, job.memory)
    yield global_pass(
        "bands",
        folder["bands"],
        bands,
        Dataset(folder["keys"]).whole("pairs"),
        described,
        lambda digest: BandsWork("bands", folder["bands"], digest, shards, folder["keys"], size // len(bands)),
    )
    wait_for(folder["bands"], bands, job.share)
    # How many documents are not alone is not known yet: as if all were.
    bytes_each = _candidate_bytes(Dataset(shards.signatures), config)
    wide = _grouped(shards, rows * bytes_each, rows)
    yield global_pass(
        "blocks",
        folder["blocks"],
        ["all"],
        Dataset(folder["bands"]).whole("edges"),
        described,
        lambda digest: BlocksWork("blocks", folder["blocks"], digest, wide, folder["bands"], rows),
    )
    wait_for(folder["blocks"], ["all"], job.share)
    blocks = Dataset(folder["blocks"]).whole("blocks")
    found = sum(count["candidates"] for record in Dataset(folder["blocks"]).scan() for count in record.counts)
    parts = ranges(found * bytes_each, job.memory)
    groups = [group.key for group in wide.groups()]
    yield global_pass(
        "candidates",
        folder["candidates"],
        groups,
        blocks,
        described | {"partitions": len(parts)},
        lambda digest: CandidatesWork(
            "candidates", config, folder["candidates"], digest, job.documents, wide, folder["blocks"], len(parts)
        ),
    )
    wait_for(folder["candidates"], groups, job.share)
    held = found * bytes_each // len(parts)
    yield global_pass(
        "decisions",
        folder["decisions"],
        parts,
        Dataset(folder["candidates"]).whole("candidates"),
        described,
        lambda digest: DecisionsWork(
            "decisions", config, folder["decisions"], digest, wide, folder["candidates"], held
        ),
    )
    wait_for(folder["decisions"], parts, job.share)
    groups = [group.key for group in wide.groups() if not group.published]
    yield global_pass(
        "labels",
        folder["labels"],
        groups,
        Dataset(folder["decisions"]).whole("decisions"),
        described,
        lambda digest: LabelsWork("labels", folder["labels"], digest, wide, folder["decisions"]),
    )
    wait_for(folder["labels"], groups, job.share)


def _check_columns(job: Job, config: Any) -> None:
    from corpus.dedup.candidates import check_columns

    dataset = Dataset(job.documents)
    first = next((output for record in dataset.scan() if (output := record.output("documents"))), None)
    if first and config.score_column:
        check_columns(dataset.schema(first), config)


def documents_behind(
    job: Job,
    first: Step,
    steps: Sequence[Step],
    output: str,
    units: Callable[[Sequence[str]], list[Unit]],
    config: dict[str, Any],
    **more: Any,
) -> Pass:
    """The pass that acts on what a barrier found out: `first` is how its stage, the first of `steps`, is run here; the
    stages behind it follow. `more` is of the ChainWork.
    """
    name = PurePosixPath(output).name if steps[1:] else steps[0].stage
    more["keep_dropped_text"] = job.recipe.keep_dropped_text
    return Pass(
        name,
        output,
        job.keys,
        units,
        config | describe(steps, keep_dropped_text=job.recipe.keep_dropped_text),
        lambda digest: ChainWork(name, (first, *steps[1:]), output, digest, job.documents, **more),
    )


def _index_pass(job: Job, index: str, config: Any, labels: str) -> Pass:
    """A unit of the index is named after the shard that it comes from and its contents."""
    units = labelled(job.documents, labels)

    def named(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        found = [Unit(_index_key(unit), unit.inputs) for unit in units(job.keys)]
        return [unit for unit in found if unit.key in wanted]

    return Pass(
        "index",
        index,
        sorted(_index_key(unit) for unit in units(job.keys)),
        named,
        {"scheme": _scheme(config)},
        lambda digest: IndexWork("index", config, index, digest, job.documents, labels),
    )


def _index_key(unit: Unit) -> str:
    return f"{unit.key}-{unit.inputs[0].etag[:12]}"


def _scheme(config: Any) -> str:
    from corpus.dedup.signatures import schema

    return str(schema(config).metadata[b"dedup"].decode())


def _check_folders(job: Job, output: str) -> None:
    """Raises ValueError if what is written would come among what is read."""
    read = _place(job.documents)
    if read in (_place(output), _place(job.work).removesuffix("/_dedup")):
        raise ValueError(f"{job.documents}: is what is to be read; name another output folder")
    written = [output, job.work, *(f"{job.work}/{name}" for name in (*_NAMES, "labels"))]
    if job.against and _place(job.against) in (read, *map(_place, written)):
        raise ValueError(f"{job.against}: is a folder of this call's documents; an index needs a folder of its own")


def _place(path: str) -> str:
    """A folder, however it is written."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def _index(job: Job) -> Index | None:
    """The index as it stood when this was first asked for this output, None if there was none.

    Raises ValueError if there is nothing to compare with, if it is no index or has another scheme, if it is not the
    one that was asked first, or if these documents are in it from elsewhere.
    """
    if job.against is None:
        return None
    there = _index_units(job.against, _scheme(job.recipe.config("dedup"))) if is_dir(job.against) else {}
    if not there and not job.update_index:
        raise ValueError(f"{job.against}: no index; make one with --update-index, from what is published")
    place = storage(job.work)
    place.make_folder("")
    if not place.create("index.json", json.dumps(there, indent=1).encode()):
        there = _contents(Dataset(job.against).scan())  # another task may have looked later
    listed = _listed(place.read("index.json") or b"{}", f"{job.work}/index.json")
    if gone := next((unit for unit, digest in listed.items() if there.get(unit) != digest), None):
        raise ValueError(
            f"{job.against}: unit {gone} is not there any more as it was when {job.work}/index.json was written; "
            "name the same index, or another output folder"
        )
    if job.update_index:
        own = (_index_key(unit) for unit in document_units(job.documents)(job.keys))
        if twice := next((key for key in own if key in listed), None):
            raise ValueError(
                f"{job.against}: has the documents of {job.documents} already ({twice}), from another output folder; "
                "go on in that one, or leave out --update-index to see what of them is published"
            )
    return Index(job.against, f"{job.work}/index.json") if listed else None


def _listed(data: bytes, name: str) -> dict[str, str]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError):
        raise ValueError(f"{name}: not a list of an index's units; use another output folder") from None


def _contents(records: Iterable[CommitRecord]) -> dict[str, str]:
    """By unit, what tells its contents apart."""
    return {record.unit: record.outputs[0].sha256[:16] for record in records}


def _index_units(path: str, scheme: str) -> dict[str, str]:
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
                made[record.config] = (dataset.configuration(record.config) or {}).get("scheme", scheme)
            if made[record.config] != scheme:
                raise ValueError(
                    f"{path}: made with {made[record.config]!r}, this call has {scheme!r}; use the same settings, "
                    "or another index"
                )
            yield record

    return _contents(checked())


def _fingerprint(index: Index) -> str:
    """Of what the documents are compared with."""
    return hashlib.sha256(json.dumps(_contents(index.records())).encode()).hexdigest()[:32]


def ranges(size: int, memory: int | None) -> list[str]:
    """Units that bring so many bytes together: a power of two of them, decided by the input and `memory` alone."""
    held = max(1, (memory << 20) // _HELD) if memory else _PARTITION
    parts = min(1 << max(0, (size - 1) // held).bit_length(), _PARTITIONS)
    return [f"{part:04d}-of-{parts:04d}" for part in range(parts)]


def _grouped(shards: Shards, size: int, rows: int) -> Shards:
    """The shards, in groups that write so large a part of `size` bytes as their readers like."""
    group = min(max(size // _GROUPS, _SMALLEST_GROUP), _LARGEST_GROUP)
    return dataclasses.replace(shards, documents=max(1, group * rows // max(1, size)))


def _candidate_bytes(signatures: Dataset, config: Any) -> int:
    """About how many bytes a candidate has."""
    counts = [record.counts[-1] for record in signatures.scan()]
    documents = max(1, sum(count["kept"] for count in counts))
    ngrams = sum(count.get("shingles", 0) for count in counts) // documents if config.verify else 0
    return int(_CANDIDATE + 4 * config.num_perm * config.minhash + 4 * ngrams)


def labelled(documents: str, labels: str) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents and its labels."""

    def units(keys: Sequence[str]) -> list[Unit]:
        there = {output.unit: output for output in Dataset(labels).files("labels")}
        found = []
        for unit in document_units(documents)(keys):
            label = there.get(unit.key)
            if label is None:
                raise ValueError(
                    f"{documents}: unit {unit.key} was added while these documents were worked on; remove {labels}"
                )
            found.append(Unit(unit.key, (*unit.inputs, Input(label.path, label.bytes, label.sha256))))
        return found

    return units
