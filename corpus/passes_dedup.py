"""The passes of deduplication: five that find out who duplicates whom, one that acts on it, one for the index.

signatures    a unit a shard     what the documents of the shard can have in common with others
bands         a unit a range     of keys: which documents share one
blocks        one unit           documents that are connected, of the whole corpus
candidates    a unit a shard     of those that are not alone, what decides between them, by partition
labels        a unit a partition who stays, and who stands for whom
(documents)   a unit a shard     without duplicates, through the stages that follow
index         a unit a shard     what stays, for a later crawl to be compared with
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from corpus.chain import Step
from corpus.engine import Unit
from corpus.plan import ALONE, Pass, Share, document_units, global_pass, wait_for
from corpus.recipe import Recipe, describe
from corpus.shards import Dataset, Input
from corpus.storage import is_dir, storage
from corpus.work import ChainWork
from corpus.work_dedup import (
    PUBLISHED,
    BandsWork,
    BlocksWork,
    CandidatesWork,
    Index,
    IndexWork,
    LabelShardsWork,
    LabelsWork,
    signed,
)

_PARTITION = 64 << 20  # bytes that one unit of `bands` or `labels` brings together, where there are few files
_LARGEST_PARTITION = 1 << 30  # where there are many: a request for each file and partition is what costs
_FEW_FILES = 1000
_HELD = 4  # times a partition that is in memory
_CANDIDATE = 400  # bytes of a candidate beside its signature and its n-grams


@dataclass(frozen=True)
class Job:
    """What is to be deduplicated, and where; `work` is the folder of the datasets in between."""

    documents: str
    keys: Sequence[str]  # the units of `documents`
    recipe: Recipe
    work: str
    share: Share = ALONE
    memory: int | None = None  # MiB of a unit that brings a partition together; None: by the number of files
    against: str | None = None  # the index to compare with
    update_index: bool = False
    labels_only: bool = False


def dedup_passes(job: Job, steps: Sequence[Step], output: str) -> Iterator[Pass]:
    """All passes, `steps` being the stage `dedup` and those behind it; each planned when the one before it is done.

    Raises ValueError if the index is not there or was made with another scheme, or if the documents have no column
    that the settings name.
    """
    config = steps[0].config
    _check_columns(job, config)
    index = _index(job)
    described = describe(steps[:1]) | ({"against": _fingerprint(index)} if index else {})
    signatures, bands, blocks, candidates, labels = (
        f"{job.work}/{name}" for name in ("signatures", "bands", "blocks", "candidates", "labels")
    )
    sign = Step("signatures", "corpus.dedup.signatures", config)
    yield Pass(
        "signatures",
        signatures,
        job.keys,
        document_units(job.documents),
        describe(steps[:1]),
        lambda digest: ChainWork("signatures", (sign,), signatures, digest, job.documents, kind="signatures"),
    )
    wait_for(signatures, job.keys, job.share)
    units = list(signed(signatures, index))
    rows = units[-1].first_row + units[-1].signatures.rows
    size = sum(unit.pairs.bytes for unit in units)
    parts = ranges(size, len(units), job.memory)
    held = size // len(parts)
    yield global_pass(
        "bands",
        bands,
        parts,
        Dataset(signatures).whole("pairs"),
        described,
        lambda digest: BandsWork("bands", bands, digest, signatures, index, held),
    )
    wait_for(bands, parts, job.share)
    yield global_pass(
        "blocks",
        blocks,
        ["all"],
        Dataset(bands).whole("edges"),
        described,
        lambda digest: BlocksWork("blocks", blocks, digest, signatures, index, bands, rows),
    )
    wait_for(blocks, ["all"], job.share)
    size = _candidate_bytes(Dataset(signatures), Dataset(blocks), config, rows)
    parts = ranges(size, len(units), job.memory)
    keys = [*(unit.key for unit in units if unit.key.startswith(PUBLISHED)), *job.keys]
    yield Pass(
        "candidates",
        candidates,
        keys,
        _with_blocks(job.documents, blocks, index),
        described | {"partitions": len(parts)},
        lambda digest: CandidatesWork(
            "candidates", config, candidates, digest, job.documents, signatures, index, len(parts)
        ),
    )
    wait_for(candidates, keys, job.share)
    yield global_pass(
        "labels",
        labels,
        parts,
        Dataset(candidates).whole("candidates"),
        described,
        lambda digest: LabelsWork("labels", config, labels, digest, signatures, index, candidates, size // len(parts)),
    )
    wait_for(labels, parts, job.share)
    yield _last_pass(job, steps, output, blocks, labels, described)
    if job.update_index and job.against:
        yield _index_pass(job, job.against, config, blocks, labels)


def _check_columns(job: Job, config: Any) -> None:
    from corpus.dedup.candidates import check_columns

    dataset = Dataset(job.documents)
    first = next((output for record in dataset.scan() if (output := record.output("documents"))), None)
    if first and config.score_column:
        check_columns(dataset.schema(first), config)


def _last_pass(
    job: Job, steps: Sequence[Step], output: str, blocks: str, labels: str, described: dict[str, Any]
) -> Pass:
    if job.labels_only:
        return Pass(
            "labels",
            output,
            job.keys,
            _with_blocks(job.documents, blocks, None),
            described | {"labels_only": True},
            lambda digest: LabelShardsWork("labels", output, digest, job.documents, labels),
        )
    chain = (Step("dedup", "corpus.dedup.apply", steps[0].config), *steps[1:])
    name = PurePosixPath(output).name if steps[1:] else "dedup"
    config = describe(steps, keep_dropped_text=job.recipe.keep_dropped_text)
    return Pass(
        name,
        output,
        job.keys,
        _with_blocks(job.documents, blocks, None),
        config | {key: value for key, value in described.items() if key == "against"},
        lambda digest: ChainWork(
            name,
            chain,
            output,
            digest,
            job.documents,
            labels=labels,
            keep_dropped_text=job.recipe.keep_dropped_text,
        ),
    )


def _index_pass(job: Job, index: str, config: Any, blocks: str, labels: str) -> Pass:
    """A unit of the index is named after the shard that it comes from and its contents."""
    units = _with_blocks(job.documents, blocks, None)

    def named(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        found = [Unit(_index_key(unit), unit.inputs) for unit in units(job.keys)]
        return [unit for unit in found if unit.key in wanted]

    keys = sorted(_index_key(unit) for unit in units(job.keys))
    return Pass(
        "index",
        index,
        keys,
        named,
        {"scheme": _scheme(config)},
        lambda digest: IndexWork("index", config, index, digest, job.documents, labels),
    )


def _index_key(unit: Unit) -> str:
    return f"{unit.key}-{unit.inputs[0].etag[:12]}"


def _scheme(config: Any) -> str:
    from corpus.dedup.signatures import schema

    return str(schema(config).metadata[b"dedup"].decode())


def _index(job: Job) -> Index | None:
    """The index as it stood when this was first asked for this output, None if there is none yet.

    Raises ValueError if there is nothing to compare with, or what there is has another scheme.
    """
    if job.against is None:
        return None
    there = is_dir(job.against) and bool(Dataset(job.against).units())
    if not there and not job.update_index:
        raise ValueError(f"{job.against}: no index; make one with --update-index, from what is published")
    place = storage(job.work)
    place.make_folder("")
    place.create("index.json", json.dumps(Dataset(job.against).units() if there else []).encode())
    index = Index(job.against, f"{job.work}/index.json")
    scheme = _scheme(job.recipe.config("dedup"))
    for record in index.records():
        made = (Dataset(job.against).configuration(record.config) or {}).get("scheme", scheme)
        if made != scheme:
            raise ValueError(
                f"{job.against}: made with {made!r}, this call has {scheme!r}; use the same settings, or another index"
            )
    return index if json.loads(place.read("index.json") or b"[]") else None


def _fingerprint(index: Index) -> list[str]:
    return [output.sha256 for record in index.records() for output in record.outputs if output.kind == "signatures"]


def ranges(size: int, files: int, memory: int | None) -> list[str]:
    """Units that bring so many bytes in so many files together: a power of two of them."""
    from corpus.dedup.exchange import SLOTS

    held = min(_PARTITION * max(1, files // _FEW_FILES), _LARGEST_PARTITION)
    if memory:
        held = max(1, (memory << 20) // _HELD)
    parts = min(1 << max(0, (size - 1) // held).bit_length(), SLOTS)
    return [f"{part:04d}-of-{parts:04d}" for part in range(parts)]


def _candidate_bytes(signatures: Dataset, blocks: Dataset, config: Any, rows: int) -> int:
    """About how many bytes the candidates will be."""
    counts = [record.counts[-1] for record in signatures.scan()]
    documents = max(1, sum(count["kept"] for count in counts))
    ngrams = sum(count.get("shingles", 0) for count in counts) / documents if config.verify else 0
    found = sum(count["candidates"] for record in blocks.scan() for count in record.counts)
    return int(found * (_CANDIDATE + 4 * config.num_perm * config.minhash + 4 * ngrams))


def _with_blocks(documents: str, blocks: str, index: Index | None) -> Callable[[Sequence[str]], list[Unit]]:
    """Units that read a shard of documents, or of the index, and its blocks."""

    def units(keys: Sequence[str]) -> list[Unit]:
        there = {output.unit: output for output in Dataset(blocks).files("blocks")}
        wanted = set(keys)
        shards = document_units(documents)(keys)
        for record in index.records() if index else ():
            output = record.output("signatures")
            if PUBLISHED + record.unit in wanted and output:
                assert index
                path = f"{index.path}/{output.path}"
                shards.append(Unit(PUBLISHED + record.unit, (Input(path, output.bytes, output.sha256),)))
        found = []
        for unit in shards:
            block = there.get(unit.key)
            if block is None:
                raise ValueError(
                    f"{documents}: unit {unit.key} was added while duplicates were being sought; remove {blocks}"
                )
            found.append(Unit(unit.key, (*unit.inputs, Input(f"{blocks}/{block.path}", block.bytes, block.sha256))))
        return found

    return units
