"""The passes of deduplication: seven find out who duplicates whom, one drops the duplicates, one fills the index.

A group is some neighbouring shards; a partition is an equal part of the range of all keys, or of all blocks.

pass          its units     what a unit writes
signatures    a shard       a MinHash signature and a hash of the text, for each document
keys          a group       64-bit keys of its documents, partitioned: two documents with a key in common are compared
bands         a partition   edges: pairs of documents that have a key of this partition in common
blocks        one           blocks, the connected components of all edges; documents without an edge are left out
candidates    a group       what decides between the documents of a block, partitioned by block
decisions     a partition   which documents of its blocks stay, and which kept document represents each of the others
labels        a group       these decisions for all documents, row by row with their shards
(documents)   a shard       the documents that stay, after the per-row stages that follow in the recipe
index         a shard       what later crawls need to be compared with the documents that stay (--update-index)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from corpus.dedup.config import Config
from corpus.dedup.published import IndexOptions, index_key, published_index, scheme
from corpus.dedup.shards import SignedShards
from corpus.dedup.work import (
    BandsWork,
    BlocksWork,
    CandidatesWork,
    DecisionsWork,
    KeysWork,
    LabelsWork,
    PublishWork,
)
from corpus.engine.base import Unit, Work
from corpus.run.barrier import BarrierJob, documents_behind, finished, labelled, partitions, shard_pass
from corpus.run.chain import Step
from corpus.run.plan import Pass, check_no_others, global_pass
from corpus.run.recipe import describe
from corpus.store.open import is_remote
from corpus.store.shards import Dataset

DATASETS = ("signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels")
# What the sums in the accounts of these passes mean.
SUMS = {
    "capped": "had more candidates than --checks; they were kept unless one of the first --checks was similar",
    "wordless": "without words",
}

_PAIR = 12  # bytes of a key and its row
_CANDIDATE = 400  # bytes of a candidate beside its signature and its n-grams


@dataclass(frozen=True)
class _Deduplication:
    """What the passes of one deduplication share.

    described  what the config hash of each pass covers
    folders    where each pass writes, by its name
    """

    job: BarrierJob
    config: Config
    described: dict[str, Any]
    folders: dict[str, str]

    def whole_pass(
        self, name: str, keys: Sequence[str], read: tuple[str, str], work: Callable[[str, str], Work], **described: int
    ) -> Iterator[Pass]:
        """The pass `name`, whose units all read the files of one kind that an earlier pass has written.

        read  (the earlier pass, the kind of its files)
        work  (folder to write to, config hash) -> the work of this pass
        """
        folder = self.folders[name]
        files = Dataset(self.folders[read[0]]).whole(read[1])
        config = self.described | described
        plan = global_pass(name, folder, keys, files, config, lambda digest: work(folder, digest))
        return finished(self.job, plan)


def dedup_passes(job: BarrierJob, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, each planned when the one before it is done. `steps` are the stage `dedup` and the stages behind it.

    Raises ValueError if the index is not there or was made with another scheme, if the documents have no column
    that the settings name, or if a folder that is read is also written to; Conflict if a folder holds other units.
    """
    options = job.options or IndexOptions()
    _check_folders(job, output, options)
    _check_columns(job, steps[0].config)
    for plan in _passes(job, steps, output, options):
        plan.sums = {**plan.sums, **SUMS}
        if plan.name != "index":  # an index gathers the units of many corpora
            check_no_others(plan.output, plan.keys)
        yield plan


def _passes(job: BarrierJob, steps: Sequence[Step], output: str, options: IndexOptions) -> Iterator[Pass]:
    config = steps[0].config
    index = published_index(job, options, config)
    folders = {name: f"{job.work}/{name}" for name in DATASETS}
    if options.labels_only:
        folders["labels"] = output
    described = describe(steps[:1])
    sign = Step("signatures", "corpus.dedup.signatures", config)
    yield from finished(job, shard_pass(job, sign, folders["signatures"], "signatures", described))
    described |= {"against": index.fingerprint()} if index else {}
    shared = _Deduplication(job, config, described, folders)
    shards = SignedShards(folders["signatures"], index, 0)
    rows = max(shard.end for shard in shards.signed())
    yield from _connect(shared, shards, rows)
    yield from _decide(shared, shards, rows)
    if not options.labels_only:
        apply = Step("dedup", "corpus.dedup.apply", config)
        units = labelled(job.documents, folders["labels"])
        yield documents_behind(job, apply, steps, output, units, described, folders["labels"])
    if options.update_index and options.against:
        yield _index_pass(job, options.against, config, folders["labels"])


def _connect(shared: _Deduplication, shards: SignedShards, rows: int) -> Iterator[Pass]:
    """The passes `keys` and `bands`: from signatures to edges."""
    config, folders = shared.config, shared.folders
    size = rows * _PAIR * (config.bands * config.minhash + config.exact)
    grouped = shards.grouped(size, rows)
    yield from shared.whole_pass(
        "keys",
        [group.key for group in grouped.groups()],
        ("signatures", "signatures"),
        lambda folder, digest: KeysWork("keys", config, folder, digest, grouped),
    )
    parts = partitions(size, shared.job.memory)
    yield from shared.whole_pass(
        "bands",
        parts,
        ("keys", "pairs"),
        lambda folder, digest: BandsWork("bands", folder, digest, grouped, folders["keys"], size // len(parts)),
    )


def _decide(shared: _Deduplication, shards: SignedShards, rows: int) -> Iterator[Pass]:
    """The passes from `blocks` to `labels`: from edges to decisions about all documents."""
    config, folders, documents = shared.config, shared.folders, shared.job.documents
    # How many documents have an edge is not known before `blocks` has run: the groups are made as if all had one.
    bytes_each = _candidate_bytes(Dataset(shards.signatures), config)
    grouped = shards.grouped(rows * bytes_each, rows)
    yield from shared.whole_pass(
        "blocks",
        ["all"],
        ("bands", "edges"),
        lambda folder, digest: BlocksWork("blocks", folder, digest, grouped, folders["bands"], rows),
    )
    (counts,) = (counts for record in Dataset(folders["blocks"]).scan() for counts in record.counts)
    size = counts["candidates"] * bytes_each
    parts = partitions(size, shared.job.memory)
    yield from shared.whole_pass(
        "candidates",
        [group.key for group in grouped.groups()],
        ("blocks", "blocks"),
        lambda folder, digest: CandidatesWork(
            "candidates", config, folder, digest, documents, grouped, folders["blocks"], len(parts)
        ),
        partitions=len(parts),
    )
    held = size // len(parts)
    yield from shared.whole_pass(
        "decisions",
        parts,
        ("candidates", "candidates"),
        lambda folder, digest: DecisionsWork("decisions", config, folder, digest, grouped, folders["candidates"], held),
    )
    yield from shared.whole_pass(
        "labels",
        [group.key for group in grouped.own_groups()],
        ("decisions", "decisions"),
        lambda folder, digest: LabelsWork("labels", folder, digest, grouped, folders["decisions"]),
    )


def _check_columns(job: BarrierJob, config: Config) -> None:
    dataset = Dataset(job.documents)
    first = next((output for record in dataset.scan() if (output := record.output("documents"))), None)
    if first:
        check_score(dataset.schema(first), config)


def check_score(columns: pa.Schema, config: Config) -> None:
    """Raises ValueError if `keep` names a column that documents with these columns lack, or that holds no numbers."""
    from corpus.dedup.candidates import check_columns

    if config.score_column:
        check_columns(columns, config)


def _index_pass(job: BarrierJob, index: str, config: Config, labels: str) -> Pass:
    """The pass that adds to the index. Its units are named after the shards that they read and their contents."""
    units = labelled(job.documents, labels)

    def named(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        renamed = [Unit(index_key(unit), unit.inputs) for unit in units(job.keys)]
        return [unit for unit in renamed if unit.key in wanted]

    return Pass(
        "index",
        index,
        sorted(index_key(unit) for unit in units(job.keys)),
        named,
        {"scheme": scheme(config)},
        lambda digest: PublishWork("index", config, index, digest, job.documents, labels),
    )


def _check_folders(job: BarrierJob, output: str, options: IndexOptions) -> None:
    """Raises ValueError if a folder that is read would also be written to."""
    read = _place(job.documents)
    if read in (_place(output), _place(job.work).removesuffix("/_dedup")):
        raise ValueError(f"{job.documents}: is the folder that is read; name another output folder")
    written = [output, job.work, *(f"{job.work}/{name}" for name in DATASETS)]
    if options.against and _place(options.against) in (read, *map(_place, written)):
        raise ValueError(f"{options.against}: is a folder of this call's documents; an index needs a folder of its own")


def _place(path: str) -> str:
    """The one name of a folder that may be written in several ways."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def _candidate_bytes(signatures: Dataset, config: Config) -> int:
    """About how many bytes a candidate takes in the files of the pass `candidates`."""
    counts = [record.counts[-1] for record in signatures.scan()]
    documents = max(1, sum(count["kept"] for count in counts))
    ngrams = sum(count.get("shingles", 0) for count in counts) // documents
    return int(_CANDIDATE + 4 * config.num_perm * config.minhash + 4 * ngrams)
