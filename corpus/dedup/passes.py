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
import os
from collections.abc import Iterator, Sequence
from typing import Any

from corpus.dedup.published import IndexOptions, index_key, published_index, scheme
from corpus.dedup.work import (
    BandsWork,
    BlocksWork,
    CandidatesWork,
    DecisionsWork,
    KeysWork,
    LabelsWork,
    PublishWork,
    SignedShards,
)
from corpus.engine.base import Unit
from corpus.run.barrier import BarrierJob, documents_behind, labelled, ranges, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, check_no_others, global_pass, wait_for
from corpus.run.recipe import describe
from corpus.store.open import is_remote
from corpus.store.shards import Dataset

# Bytes that a unit of `keys` or `candidates` writes: of a gigabyte, one partition in 1,024 is a megabyte; and what is
# little is shared among workers all the same.
_LARGEST_GROUP, _SMALLEST_GROUP, _GROUPS = 1 << 30, 4 << 20, 64
_CANDIDATE = 400  # bytes of a candidate beside its signature and its n-grams


DATASETS = ("signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels")


def dedup_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `dedup` and those behind it; each planned when the one before it is done.

    Raises ValueError if the index is not there or was made with another scheme, if the documents have no column
    that the settings name, or if folders are the same that must not be; Conflict if a folder holds other units.
    """
    options = job.options or IndexOptions()
    _check_folders(job, output, options)
    _check_columns(job, steps[0].config)
    for plan in _passes(job, steps, output, options):
        if plan.name != "index":  # which gathers the units of many corpora
            check_no_others(plan.output, plan.keys)
        yield plan


def _passes(job: BarrierJob, steps: Sequence[Step], output: str, options: IndexOptions) -> Iterator[Pass]:
    config = steps[0].config
    index = published_index(job, options, config)
    folder = {name: f"{job.work}/{name}" for name in DATASETS}
    if options.labels_only:
        folder["labels"] = output
    described = describe(steps[:1])
    sign = Step("signatures", "corpus.dedup.signatures", config)
    yield shard_pass(job, sign, folder["signatures"], "signatures", described)
    wait_for(folder["signatures"], job.keys, job.share)
    described |= {"against": index.fingerprint()} if index else {}
    yield from _exchange(job, config, described, folder, SignedShards(folder["signatures"], index, 0))
    if not options.labels_only:
        apply = Step("dedup", "corpus.dedup.apply", config)
        units = labelled(job.documents, folder["labels"])
        yield documents_behind(job, apply, steps, output, units, described, folder["labels"])
    if options.update_index and options.against:
        yield _index_pass(job, options.against, config, folder["labels"])


def _exchange(
    job: BarrierJob, config: Any, described: dict[str, Any], folder: dict[str, str], shards: SignedShards
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


def _check_columns(job: BarrierJob, config: Any) -> None:
    from corpus.dedup.candidates import check_columns

    dataset = Dataset(job.documents)
    first = next((output for record in dataset.scan() if (output := record.output("documents"))), None)
    if first and config.score_column:
        check_columns(dataset.schema(first), config)


def _index_pass(job: BarrierJob, index: str, config: Any, labels: str) -> Pass:
    """A unit of the index is named after the shard that it comes from and its contents."""
    units = labelled(job.documents, labels)

    def named(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        found = [Unit(index_key(unit), unit.inputs) for unit in units(job.keys)]
        return [unit for unit in found if unit.key in wanted]

    return Pass(
        "index",
        index,
        sorted(index_key(unit) for unit in units(job.keys)),
        named,
        {"scheme": scheme(config)},
        lambda digest: PublishWork("index", config, index, digest, job.documents, labels),
    )


def _check_folders(job: BarrierJob, output: str, options: IndexOptions) -> None:
    """Raises ValueError if what is written would come among what is read."""
    read = _place(job.documents)
    if read in (_place(output), _place(job.work).removesuffix("/_dedup")):
        raise ValueError(f"{job.documents}: is what is to be read; name another output folder")
    written = [output, job.work, *(f"{job.work}/{name}" for name in DATASETS)]
    if options.against and _place(options.against) in (read, *map(_place, written)):
        raise ValueError(f"{options.against}: is a folder of this call's documents; an index needs a folder of its own")


def _place(path: str) -> str:
    """A folder, however it is written."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def _grouped(shards: SignedShards, size: int, rows: int) -> SignedShards:
    """The shards, in groups that write so large a part of `size` bytes as their readers like."""
    group = min(max(size // _GROUPS, _SMALLEST_GROUP), _LARGEST_GROUP)
    return dataclasses.replace(shards, documents=max(1, group * rows // max(1, size)))


def _candidate_bytes(signatures: Dataset, config: Any) -> int:
    """About how many bytes a candidate has."""
    counts = [record.counts[-1] for record in signatures.scan()]
    documents = max(1, sum(count["kept"] for count in counts))
    ngrams = sum(count.get("shingles", 0) for count in counts) // documents if config.verify else 0
    return int(_CANDIDATE + 4 * config.num_perm * config.minhash + 4 * ngrams)
