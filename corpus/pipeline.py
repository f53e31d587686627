"""Recipe -> passes -> units: what has to run, in which order, on which files.

Neighbouring per-document stages run fused in one pass over a shard. Deduplication is a barrier: a pass that signs
every document, one that brings equal bands together, one that clusters, and then the stages behind it go on, beginning
with the drop of duplicates. Passes are planned one at a time, because what a pass reads is what the one before it
committed.

    WARC --[documents]--> --[signatures]--> --[bands]--> --[clusters]--> --[clean]--> --[tokenizer]--> --[tokens]-->

A run may be one task of many (`Share`), each of which does its part of every pass. The commit records are all that
the tasks know of each other: a pass that reads the whole of what comes before it waits until that is committed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from corpus.chain import Step
from corpus.engine import Engine, Event, Failure, Unit, Work
from corpus.recipe import Recipe, TokenizerConfig, describe
from corpus.shards import Conflict, Dataset, Input
from corpus.storage import children, expand, fingerprint, is_dir, local_path, storage
from corpus.work import BandsWork, ChainWork, ClusterWork, TokenizerWork

# The datasets that a whole run writes, in the order in which documents flow through them.
ORDER = ("documents", "signatures", "bands", "clusters", "clean", "tokenizer", "tokens")
ROW_SECONDS = 30.0  # for a piece of work when the recipe has no [extract] to say
_PARTITION = 64 << 20  # bytes of pairs that one unit of `bands` brings together, where there are few files
_LARGEST_PARTITION = 1 << 30  # where there are many: a request for each file and partition is what costs
_FEW_FILES = 1000
_POLL = 2.0  # seconds between looks at what other tasks have committed


class Waiting(Exception):
    """What comes next needs what other tasks have not committed yet."""


@dataclass(frozen=True)
class Share:
    """Task `index` of `count`, from 1: it does every count-th unit. `wait`: seconds to wait for the others."""

    index: int = 1
    count: int = 1
    wait: float = 0.0

    def of(self, keys: Sequence[str]) -> Sequence[str]:
        return keys[self.index - 1 :: self.count]


@dataclass(frozen=True)
class Source:
    """Where a pass reads: WARC files, or the documents that a dataset has committed."""

    warcs: tuple[str, ...] = ()
    dataset: str | None = None


@dataclass
class Pass:
    """One pass, ready to run: `work(config_hash)` is what the engine is given.

    `keys` are all its units, sorted; `units(keys)` those of them whose inputs are there.
    """

    name: str
    output: str
    keys: Sequence[str]
    units: Callable[[Sequence[str]], list[Unit]]
    config: dict[str, Any]
    work: Callable[[str], Work]


@dataclass
class PassSummary:
    """What one call did for a pass."""

    name: str
    output: str
    units: int  # of this call's share
    skipped: int = 0  # done before
    done: int = 0
    failures: list[Failure] = field(default_factory=list)
    complete: bool = False  # nothing is left for anybody


def find_source(inputs: Sequence[str]) -> Source:
    """What the command line named: WARC files, folders of them, or one dataset of documents.

    Raises FileNotFoundError or ValueError naming the input.
    """
    paths = expand(list(inputs))
    if len(paths) == 1 and is_dir(paths[0]) and _holds_documents(paths[0]):
        return Source(dataset=paths[0])
    warcs: list[str] = []
    for path in paths:
        if is_dir(path):
            inside = [item for item in children(path) if item.endswith((".warc", ".warc.gz"))]
            if not inside:
                raise ValueError(f"{path}: holds no .warc or .warc.gz files and no committed documents")
            warcs += inside
        else:
            warcs.append(path)
    return Source(warcs=tuple(dict.fromkeys(warcs)))


def passes(recipe: Recipe, inputs: Sequence[str], output: str, share: Share = Share()) -> Iterator[Pass]:
    """The passes of a whole recipe, each planned when the one before it is done.

    Raises Waiting where this task's share ends for now, Conflict if `output` holds units of other inputs.
    """
    source = find_source(inputs)
    place = storage(output)
    place.make_folder("")
    place.sweep()  # of what a killed call left beside the datasets
    place.create("recipe.toml", recipe.text.encode())
    names = [step.stage for step in recipe.steps]
    if source.warcs and "extract" not in names:
        raise ValueError(f"recipe {recipe.name}: WARC files need an [extract] stage")
    if source.dataset and "extract" in names:
        raise ValueError(f"{source.dataset}: holds documents, but recipe {recipe.name} begins with WARC files")
    keys = source_keys(source)
    documents = f"{output}/clean"
    _check_no_others(keys, f"{output}/documents" if "dedup" in names[1:] else documents)
    if "dedup" in names:
        at = names.index("dedup")
        if at:
            yield documents_pass("documents", source, keys, recipe.steps[:at], f"{output}/documents", recipe)
            source = Source(dataset=f"{output}/documents")
        yield from dedup_passes(source, keys, recipe.steps[at:], output, documents, recipe, share)
    elif recipe.steps:
        yield documents_pass("clean", source, keys, recipe.steps, documents, recipe)
    elif source.dataset:  # a recipe of a tokenizer alone
        documents = source.dataset
    if recipe.tokenizer:
        tokenizer = recipe.tokenizer.path or f"{output}/tokenizer"
        if not recipe.tokenizer.path:
            _await(documents, keys, share)
            yield tokenizer_pass(documents, recipe.tokenizer, tokenizer)
            _await(tokenizer, ["vocabulary"], share)
        yield tokens_pass(documents, keys, tokenizer, f"{output}/tokens")


def documents_pass(
    name: str, source: Source, keys: Sequence[str], steps: Sequence[Step], output: str, recipe: Recipe
) -> Pass:
    """Fused per-document stages from WARC files or documents to documents."""
    seconds = getattr(recipe.config("extract"), "time_limit", ROW_SECONDS)
    return Pass(
        name,
        output,
        keys,
        _warc_units(source.warcs) if source.warcs else _document_units(source.dataset or ""),
        describe(steps, keep_dropped_text=recipe.keep_dropped_text),
        lambda digest: ChainWork(
            name,
            tuple(steps),
            output,
            digest,
            source.dataset,
            keep_dropped_text=recipe.keep_dropped_text,
            seconds=seconds,
        ),
    )


def dedup_passes(
    source: Source,
    keys: Sequence[str],
    steps: Sequence[Step],
    work: str,
    output: str,
    recipe: Recipe,
    share: Share = Share(),
) -> Iterator[Pass]:
    """Signatures, bands and clusters below `work`, then the documents without duplicates through the other stages."""
    dedup, rest = steps[0], steps[1:]
    dataset = source.dataset or ""
    signatures, bands, clusters = f"{work}/signatures", f"{work}/bands", f"{work}/clusters"
    sign = Step("signatures", "corpus.dedup.signatures", dedup.config)
    config = describe([dedup])
    yield Pass(
        "signatures",
        signatures,
        keys,
        _document_units(dataset),
        config,
        lambda digest: ChainWork("signatures", (sign,), signatures, digest, dataset, kind="signatures"),
    )
    _await(signatures, keys, share)
    pairs = Dataset(signatures).whole("pairs")
    parts = _partitions(pairs.size, len(keys))
    ranges = [f"{part:04d}-of-{parts:04d}" for part in range(parts)]
    yield _global_pass(
        "bands",
        bands,
        ranges,
        pairs,
        config,
        lambda digest: BandsWork("bands", bands, digest, signatures, pairs.size // parts),
    )
    _await(bands, ranges, share)
    rows = sum(output.rows for output in Dataset(signatures).files("signatures"))
    yield _global_pass(
        "clusters",
        clusters,
        ["all"],
        Dataset(bands).whole("edges"),
        config,
        lambda digest: ClusterWork("clusters", dedup.config, clusters, digest, signatures, bands, rows),
    )
    _await(clusters, ["all"], share)
    chain = (Step("dedup", "corpus.dedup.apply", dedup.config), *rest)
    name = PurePosixPath(output).name if rest else "dedup"
    yield Pass(
        name,
        output,
        keys,
        _labelled_units(dataset, clusters),
        describe([dedup, *rest], keep_dropped_text=recipe.keep_dropped_text),
        lambda digest: ChainWork(
            name, chain, output, digest, dataset, labels=clusters, keep_dropped_text=recipe.keep_dropped_text
        ),
    )


def tokenizer_pass(documents: str, config: TokenizerConfig, output: str) -> Pass:
    """One vocabulary from all documents."""
    step = Step("tokenizer", "corpus.recipe", config)
    return _global_pass(
        "tokenizer",
        output,
        ["vocabulary"],
        Dataset(documents).whole("documents"),
        describe([step]),
        lambda digest: TokenizerWork("tokenizer", config, output, digest, documents),
    )


def tokens_pass(documents: str, keys: Sequence[str], tokenizer: str, output: str) -> Pass:
    """DOCUMENTS -> TOKENS, shard by shard."""
    from bpe.vocabulary import load_vocabulary
    from corpus.tokens import Config

    step = Step("tokens", "corpus.tokens", Config(tokenizer))
    with local_path(tokenizer) as path:
        digest = load_vocabulary(path).hash
    return Pass(
        "tokens",
        output,
        keys,
        _document_units(documents),
        {"order": ["tokens"], "tokens": {"tokenizer": digest}},
        lambda config: ChainWork("tokens", (step,), output, config, documents, kind="tokens"),
    )


def run_pass(plan: Pass, engine: Engine, on_event: Callable[[Event], None], share: Share = Share()) -> PassSummary:
    """Run what is not done yet of this task's share.

    Raises Conflict if a unit was made from another input or configuration, Interrupted after Ctrl-C.
    """
    dataset = Dataset(plan.output)
    digest = dataset.begin(plan.config)
    units = {unit.key: unit for unit in plan.units(share.of(plan.keys))}
    if share.count == 1 and len(units) < len(plan.keys):
        raise _removed(plan.name, next(key for key in plan.keys if key not in units))
    summary = PassSummary(plan.name, plan.output, len(units))
    for record in dataset.scan():
        if unit := units.pop(record.unit, None):
            dataset.check(record, digest, unit.inputs)
            summary.skipped += 1
    if units:
        on_event(Event("start", units=len(units)))
        todo = list(units.values())
        try:
            summary.failures = engine.run(plan.work(digest), todo, lambda event: on_event(_kept_trace(dataset, event)))
        finally:
            dataset.storage.sweep()  # what killed workers left
        summary.done = len(todo) - len(summary.failures)
    missing = dataset.missing(plan.keys)
    failed = {failure.unit for failure in summary.failures}
    if lost := [key for key in missing if key in units and key not in failed]:
        raise _removed(plan.output, lost[0])
    summary.complete = not missing
    if summary.complete:
        dataset.compact()
    return summary


def source_keys(source: Source) -> list[str]:
    """The units that a source makes, sorted. Raises ValueError if a dataset has no documents."""
    if source.warcs:
        return sorted(_by_key(source.warcs))
    keys = [record.unit for record in Dataset(source.dataset or "").scan() if record.output("documents")]
    if not keys:
        raise ValueError(
            f"{source.dataset}: no committed documents; it should be the output folder of an earlier command"
        )
    return keys


def _await(dataset: str, keys: Sequence[str], share: Share) -> None:
    """Return when all these units are committed. Raises Waiting when this task's patience is at its end."""
    deadline = time.monotonic() + share.wait
    while missing := Dataset(dataset).missing(keys):
        if share.count == 1:
            raise _removed(dataset, missing[0])
        left = deadline - time.monotonic()
        if left <= 0:
            raise Waiting(
                f"{dataset}: {len(missing)} of {len(keys)} units are with other tasks, e.g. {missing[0]}; "
                "when they are done, the same command goes on"
            )
        time.sleep(min(_POLL, left))


def _removed(where: str, unit: str) -> OSError:
    return OSError(
        f"{where}: what was committed for unit {unit} is not there; somebody removed it, or it is on another machine's "
        "own disk: use an output folder that all share"
    )


def _kept_trace(dataset: Dataset, event: Event) -> Event:
    """Keep the traceback that comes with an event beside the shards, and say where."""
    if event.trace:
        dataset.storage.make_folder("_tracebacks")
        key = f"_tracebacks/{event.unit}-{event.row if event.row >= 0 else 'unit'}.txt"
        dataset.storage.create(key, event.trace.encode())
        event.detail += f"; where it was: {dataset.path}/{key}"
    return event


def _global_pass(
    name: str, output: str, keys: Sequence[str], whole: Input, config: dict[str, Any], work: Callable[[str], Work]
) -> Pass:
    """Units that read the whole of a dataset each."""
    return Pass(name, output, keys, lambda mine: [Unit(key, (whole,)) for key in mine], config, work)


def _partitions(size: int, files: int) -> int:
    """Units of `bands` for so many bytes of pairs in so many files: a power of two, decided by the input alone."""
    from corpus.dedup.exchange import SLOTS

    held = min(_PARTITION * max(1, files // _FEW_FILES), _LARGEST_PARTITION)
    return min(1 << max(0, (size - 1) // held).bit_length(), SLOTS)


def _holds_documents(folder: str) -> bool:
    first = next(Dataset(folder).scan(), None)
    return first is not None and first.output("documents") is not None


def _check_no_others(keys: Iterable[str], output: str) -> None:
    """A whole run's result is that of its inputs: units of other inputs must not be in its folder."""
    planned = set(keys)
    others = [key for key in Dataset(output).units() if key not in planned]
    if others:
        raise Conflict(
            f"{output}: holds unit {others[0]}, which is not among this call's inputs; "
            "name all inputs, or use another output folder"
        )


def _by_key(paths: Sequence[str]) -> dict[str, str]:
    """A unit a WARC file; its key is the file's name, so that adding a file later disturbs no other."""
    found: dict[str, str] = {}
    for path in paths:
        key = re.sub(r"[^\w.-]", "_", re.sub(r"\.(warc\.gz|warc|gz)$", "", PurePosixPath(path).name))
        if key in found:
            raise ValueError(f"{path}: has the same name as {found[key]}; rename one of them")
        found[key] = path
    return found


def _warc_units(paths: Sequence[str]) -> Callable[[Sequence[str]], list[Unit]]:
    found = _by_key(paths)

    def units(keys: Sequence[str]) -> list[Unit]:
        with ThreadPoolExecutor(16) as pool:  # 90,000 requests, one after the other, take half an hour
            marks = pool.map(fingerprint, [found[key] for key in keys])
            return [Unit(key, (Input(found[key], *mark),)) for key, mark in zip(keys, marks, strict=True)]

    return units


def _document_units(dataset: str) -> Callable[[Sequence[str]], list[Unit]]:
    def units(keys: Sequence[str]) -> list[Unit]:
        wanted = set(keys)
        return [
            Unit(record.unit, (Input(f"{dataset}/{output.path}", output.bytes, output.sha256),))
            for record in Dataset(dataset).scan()
            if record.unit in wanted and (output := record.output("documents"))
        ]

    return units


def _labelled_units(dataset: str, clusters: str) -> Callable[[Sequence[str]], list[Unit]]:
    def units(keys: Sequence[str]) -> list[Unit]:
        labels = {output.unit: output for output in Dataset(clusters).files("labels")}
        found = []
        for unit in _document_units(dataset)(keys):
            label = labels.get(unit.key)
            if label is None:
                raise ValueError(
                    f"{dataset}: unit {unit.key} was added while duplicates were being sought; remove {clusters}"
                )
            found.append(Unit(unit.key, (*unit.inputs, Input(label.path, label.bytes, label.sha256))))
        return found

    return units
