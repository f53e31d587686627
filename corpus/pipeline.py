"""Recipe -> passes -> units: what has to run, in which order, on which files.

Neighbouring per-document stages run fused in one pass over a shard. Deduplication is a barrier: five passes find
out who duplicates whom (`passes_dedup`), and then the stages behind it go on, beginning with the drop of duplicates.
Passes are planned one at a time, because what a pass reads is what the one before it committed.

    WARC --[documents]--> --(deduplication)--> --[clean]--> --[tokenizer]--> --[tokens]-->

A run may be one task of many (`Share`), each of which does its part of every pass. The commit records are all that
the tasks know of each other: a pass that reads the whole of what comes before it waits until that is committed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from corpus.classifier.passes import score_passes
from corpus.decontaminate.passes import decontaminate_passes
from corpus.dedup.lines.passes import lines_passes
from corpus.dedup.passes import Job, dedup_passes
from corpus.engine.base import Engine, Event, Failure, Unit
from corpus.run.chain import Step
from corpus.run.plan import ALONE, Pass, Share, Source, check_no_others, document_units, global_pass, removed, wait_for
from corpus.run.recipe import Recipe, TokenizerConfig, describe
from corpus.run.work import ChainWork, TokenizerWork
from corpus.store.open import children, expand, fingerprint, is_dir, local_path, storage
from corpus.store.records import Input
from corpus.store.shards import Dataset

# The datasets that a whole run writes, in the order in which documents flow through them.
ORDER = (
    *("documents", "signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels", "unique"),
    *("hashes", "repeated", "table", "trimmed", "scores", "cutoff", "best"),
    *("benchmarks", "overlaps", "contamination", "decontaminated", "clean", "tokenizer", "tokens"),
)
# What a stage that needs all documents leaves behind, where it is not the last of these.
_FOLDERS = {"dedup": "unique", "lines": "trimmed", "classifier": "best", "decontaminate": "decontaminated"}
_LATE = ("classifier", "decontaminate")
_WARCS = (".warc", ".warc.gz", ".warc.zst", ".wet", ".wet.gz", ".wet.zst")
_WARC_NAME = re.compile(r"\.(warc|wet)(\.gz|\.zst)?$|\.(gz|zst)$")
ROW_SECONDS = 30.0  # for a piece of work when the recipe has no [extract] to say


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
    if len(paths) > 1 and (several := [path for path in paths if is_dir(path) and _holds_documents(path)]):
        raise ValueError(
            f"{several[0]}: one folder of documents at a time; the next one goes --against an index of this"
        )
    warcs: list[str] = []
    for path in paths:
        if is_dir(path):
            inside = [item for item in children(path) if item.endswith(_WARCS)]
            if not inside:
                raise ValueError(f"{path}: holds no .warc or .wet files (.gz, .zst) and no committed documents")
            warcs += inside
        else:
            warcs.append(path)
    return Source(warcs=tuple(dict.fromkeys(warcs)))


def passes(
    recipe: Recipe,
    inputs: Sequence[str],
    output: str,
    share: Share = ALONE,
    memory: int | None = None,
    against: str | None = None,
    update_index: bool = False,
) -> Iterator[Pass]:
    """The passes of a whole recipe, each planned when the one before it is done; the last three are of a `Job`.

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
    parts = _cut_at_barriers(recipe.steps)
    folders = [f"{output}/{_folder(part[0])}" for part in parts[:-1]]
    folders += [f"{output}/clean"] if parts else []
    _check_barriers(recipe)
    if folders:
        check_no_others(folders[0], keys)
    documents = source.dataset or ""  # as they are, for a recipe of a tokenizer alone
    for part, documents in zip(parts, folders, strict=True):
        job = Job(source.dataset or "", keys, recipe, output, share, memory, against, update_index)
        if part[0].stage == "dedup":
            yield from dedup_passes(job, part, documents)
        elif part[0].stage == "lines":
            yield from lines_passes(job, part, documents)
        elif is_barrier(part[0]):
            passes_of = score_passes if part[0].stage == "classifier" else decontaminate_passes
            yield from passes_of(job, part, documents)
        else:
            yield documents_pass(PurePosixPath(documents).name, source, keys, part, documents, recipe)
        source = Source(dataset=documents)
    if recipe.tokenizer:
        tokenizer = recipe.tokenizer.path or f"{output}/tokenizer"
        if not recipe.tokenizer.path:
            wait_for(documents, keys, share)
            yield tokenizer_pass(documents, recipe.tokenizer, tokenizer)
            wait_for(tokenizer, ["vocabulary"], share)
        yield tokens_pass(documents, keys, tokenizer, f"{output}/tokens")


def _cut_at_barriers(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """The stages that run fused, each part but the first beginning with one that needs all documents at once."""
    cuts = [0, *(at for at, step in enumerate(steps) if at and is_barrier(step)), len(steps)]
    return [steps[start:end] for start, end in itertools.pairwise(cuts)] if steps else []


def _check_barriers(recipe: Recipe) -> None:
    """The report reads the datasets in their ORDER."""
    barriers = [step.stage for step in recipe.steps if is_barrier(step)]
    late = [ORDER.index(_FOLDERS[stage]) for stage in barriers]
    for at, stage in enumerate(barriers):
        if stage in _LATE and late[at] > min(late[at:]):
            share = " with keep_top" if stage == "classifier" else ""
            after = barriers[late.index(min(late[at:]))]
            raise ValueError(f"recipe {recipe.name}: [{stage}]{share} should come after [{after}]")


def _folder(step: Step) -> str:
    """Where the part that begins with this stage goes, if it is not the last one."""
    return _FOLDERS[step.stage] if is_barrier(step) else "documents"


def is_barrier(step: Step) -> bool:
    """Whether a stage needs all documents at once; of a classifier that keeps a share, all scores."""
    return bool(step.config.keep_top) if step.stage == "classifier" else step.stage in _FOLDERS


def documents_pass(
    name: str, source: Source, keys: Sequence[str], steps: Sequence[Step], output: str, recipe: Recipe
) -> Pass:
    """Fused per-document stages from WARC files or documents to documents."""
    seconds = getattr(recipe.config("extract"), "time_limit", ROW_SECONDS)
    return Pass(
        name,
        output,
        keys,
        _warc_units(source.warcs) if source.warcs else document_units(source.dataset or ""),
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


def tokenizer_pass(documents: str, config: TokenizerConfig, output: str) -> Pass:
    """One vocabulary from all documents."""
    step = Step("tokenizer", "corpus.run.recipe", config)
    return global_pass(
        "tokenizer",
        output,
        ["vocabulary"],
        Dataset(documents).whole("documents"),
        describe([step]),
        lambda digest: TokenizerWork("tokenizer", config, output, digest, documents),
    )


def tokens_pass(documents: str, keys: Sequence[str], tokenizer: str, output: str) -> Pass:
    """DOCUMENTS -> TOKENS, shard by shard."""
    from bpe.files import load_vocabulary
    from corpus.tokens.ids import Config

    step = Step("tokens", "corpus.tokens.ids", Config(tokenizer))
    with local_path(tokenizer) as path:
        digest = load_vocabulary(path).hash
    return Pass(
        "tokens",
        output,
        keys,
        document_units(documents),
        {"order": ["tokens"], "tokens": {"tokenizer": digest}},
        lambda config: ChainWork("tokens", (step,), output, config, documents, kind="tokens"),
    )


def run_pass(plan: Pass, engine: Engine, on_event: Callable[[Event], None], share: Share = ALONE) -> PassSummary:
    """Run what is not done yet of this task's share.

    Raises Conflict if a unit was made from another input or configuration, Interrupted after Ctrl-C.
    """
    dataset = Dataset(plan.output)
    digest = dataset.begin(plan.config)
    units = {unit.key: unit for unit in plan.units(share.of(plan.keys))}
    if share.count == 1 and len(units) < len(plan.keys):
        raise removed(plan.name, next(key for key in plan.keys if key not in units))
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
        raise removed(plan.output, lost[0])
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


def _kept_trace(dataset: Dataset, event: Event) -> Event:
    """Keep the traceback that comes with an event beside the shards, and say where."""
    if event.trace:
        dataset.storage.make_folder("_tracebacks")
        key = f"_tracebacks/{event.unit}-{event.row if event.row >= 0 else 'unit'}.txt"
        dataset.storage.create(key, event.trace.encode())
        event.detail += f"; where it was: {dataset.path}/{key}"
    return event


def _holds_documents(folder: str) -> bool:
    first = next(Dataset(folder).scan(), None)
    return first is not None and first.output("documents") is not None


def _by_key(paths: Sequence[str]) -> dict[str, str]:
    """A unit a WARC file; its key is the file's name, so that adding a file later disturbs no other."""
    found: dict[str, str] = {}
    for path in paths:
        key = re.sub(r"[^\w.-]", "_", _WARC_NAME.sub("", PurePosixPath(path).name))
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
