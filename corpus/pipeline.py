"""Recipe -> passes -> units: what has to run, in which order, on which files.

Neighbouring per-document stages run fused in one pass over a shard. Deduplication is a barrier: a pass that signs
every document, one that clusters all signatures, and then the stages behind it go on, beginning with the drop of
duplicates. Passes are planned one at a time, because what a pass reads is what the one before it committed.

    WARC --[documents]--> --[signatures]--> --[clusters]--> --[clean]--> --[tokenizer]--> --[tokens]-->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.chain import Step
from corpus.engine import Event, Failure, Limits, Unit, Work
from corpus.recipe import Recipe, TokenizerConfig, describe
from corpus.shards import Conflict, Dataset, Input
from corpus.storage import expand, fingerprint, storage
from corpus.work import ChainWork, ClusterWork, TokenizerWork

# The datasets that a whole run writes, in the order in which documents flow through them.
ORDER = ("documents", "signatures", "clusters", "clean", "tokenizer", "tokens")
ROW_SECONDS = 30.0  # for a piece of work when the recipe has no [extract] to say


@dataclass(frozen=True)
class Source:
    """Where a pass reads: WARC files, or the documents that a dataset has committed."""

    warcs: tuple[str, ...] = ()
    dataset: str | None = None


@dataclass
class Pass:
    """One pass, ready to run: `work(config_hash)` is what the engine is given."""

    name: str
    output: str
    units: list[Unit]
    config: dict[str, Any]
    work: Callable[[str], Work]


@dataclass
class PassSummary:
    """What one call did for a pass."""

    name: str
    output: str
    units: int
    skipped: int = 0  # done before
    done: int = 0
    failures: list[Failure] = field(default_factory=list)


def find_source(inputs: Sequence[str]) -> Source:
    """What the command line named: WARC files, folders of them, or one dataset of documents.

    Raises FileNotFoundError or ValueError naming the input.
    """
    paths = expand(list(inputs))
    if len(paths) == 1 and Path(paths[0]).is_dir() and Dataset(paths[0]).files("documents"):
        return Source(dataset=paths[0])
    warcs: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = sorted(str(item) for item in Path(path).iterdir() if item.name.endswith((".warc", ".warc.gz")))
            if not inside:
                raise ValueError(f"{path}: holds no .warc or .warc.gz files and no committed documents")
            warcs += inside
        else:
            warcs.append(path)
    return Source(warcs=tuple(dict.fromkeys(warcs)))


def passes(recipe: Recipe, inputs: Sequence[str], output: str) -> Iterator[Pass]:
    """The passes of a whole recipe, each planned when the one before it is done."""
    source = find_source(inputs)
    storage(output).create("recipe.toml", recipe.text.encode())
    names = [step.stage for step in recipe.steps]
    if source.warcs and "extract" not in names:
        raise ValueError(f"recipe {recipe.name}: WARC files need an [extract] stage")
    if source.dataset and "extract" in names:
        raise ValueError(f"{source.dataset}: holds documents, but recipe {recipe.name} begins with WARC files")
    documents = f"{output}/clean"
    _check_no_others(source, f"{output}/documents" if "dedup" in names[1:] else documents)
    if "dedup" in names:
        at = names.index("dedup")
        if at:
            yield documents_pass("documents", source, recipe.steps[:at], f"{output}/documents", recipe)
            source = Source(dataset=f"{output}/documents")
        yield from dedup_passes(source, recipe.steps[at:], output, documents, recipe)
    else:
        yield documents_pass("clean", source, recipe.steps, documents, recipe)
    if recipe.tokenizer:
        tokenizer = recipe.tokenizer.path or f"{output}/tokenizer"
        if not recipe.tokenizer.path:
            yield tokenizer_pass(documents, recipe.tokenizer, tokenizer)
        yield tokens_pass(documents, tokenizer, f"{output}/tokens")


def documents_pass(name: str, source: Source, steps: Sequence[Step], output: str, recipe: Recipe) -> Pass:
    """Fused per-document stages from WARC files or documents to documents."""
    config = describe(steps, keep_dropped_text=recipe.keep_dropped_text)
    seconds = getattr(recipe.config("extract"), "time_limit", ROW_SECONDS)
    return Pass(
        name,
        output,
        _warc_units(source.warcs) if source.warcs else _document_units(source.dataset),
        config,
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


def dedup_passes(source: Source, steps: Sequence[Step], work: str, output: str, recipe: Recipe) -> Iterator[Pass]:
    """Signatures and clusters below `work`, then the documents without duplicates through the remaining stages."""
    dedup, rest = steps[0], steps[1:]
    dataset = source.dataset or ""
    signatures, clusters = f"{work}/signatures", f"{work}/clusters"
    sign = Step("signatures", "corpus.dedup.signatures", dedup.config)
    config = describe([dedup])
    yield Pass(
        "signatures",
        signatures,
        _document_units(dataset),
        config,
        lambda digest: ChainWork("signatures", (sign,), signatures, digest, dataset, kind="signatures"),
    )
    yield Pass(
        "clusters",
        clusters,
        [Unit("all", _inputs(signatures, "signatures"))],
        config,
        lambda digest: ClusterWork("clusters", dedup.config, clusters, digest, signatures),
    )
    chain = (Step("dedup", "corpus.dedup.apply", dedup.config), *rest)
    labels = {output.path.partition("/")[2].rpartition("-")[0]: output for output in Dataset(clusters).files("labels")}
    units = []
    for unit in _document_units(dataset):
        label = labels.get(unit.key)
        if label is None:
            raise ValueError(
                f"{dataset}: unit {unit.key} was added while duplicates were being sought; remove {clusters}"
            )
        units.append(Unit(unit.key, (*unit.inputs, Input(label.path, label.bytes, label.sha256))))
    name = Path(output).name if rest else "dedup"
    yield Pass(
        name,
        output,
        units,
        describe([dedup, *rest], keep_dropped_text=recipe.keep_dropped_text),
        lambda digest: ChainWork(
            name, chain, output, digest, dataset, labels=clusters, keep_dropped_text=recipe.keep_dropped_text
        ),
    )


def tokenizer_pass(documents: str, config: TokenizerConfig, output: str) -> Pass:
    """One vocabulary from all documents."""
    step = Step("tokenizer", "corpus.recipe", config)
    unit = Unit("vocabulary", _inputs(documents, "documents"))
    return Pass(
        "tokenizer",
        output,
        [unit],
        describe([step]),
        lambda digest: TokenizerWork("tokenizer", config, output, digest, documents),
    )


def tokens_pass(documents: str, tokenizer: str, output: str) -> Pass:
    """DOCUMENTS -> TOKENS, shard by shard."""
    from bpe.vocabulary import load_vocabulary
    from corpus.tokens import Config

    step = Step("tokens", "corpus.tokens", Config(tokenizer))
    return Pass(
        "tokens",
        output,
        _document_units(documents),
        {"order": ["tokens"], "tokens": {"tokenizer": load_vocabulary(tokenizer).hash}},
        lambda digest: ChainWork("tokens", (step,), output, digest, documents, kind="tokens"),
    )


def run_pass(plan: Pass, workers: int, on_event: Callable[[Event], None], limits: Limits | None = None) -> PassSummary:
    """Run what is not done yet.

    Raises Conflict if a unit was made from another input or configuration, Interrupted after Ctrl-C.
    """
    from corpus.engine.local import run

    dataset = Dataset(plan.output)
    digest = dataset.begin(plan.config)
    todo = [unit for unit in plan.units if not dataset.is_done(unit.key, digest, unit.inputs)]
    summary = PassSummary(plan.name, plan.output, len(plan.units), skipped=len(plan.units) - len(todo))
    if todo:
        on_event(Event("start", units=len(todo)))
        summary.failures = run(plan.work(digest), todo, workers, on_event, limits)
        summary.done = len(todo) - len(summary.failures)
    return summary


def _check_no_others(source: Source, output: str) -> None:
    """A whole run's result is that of its inputs: units of other inputs must not be in its folder."""
    planned = {unit.key for unit in (_warc_units(source.warcs) if source.warcs else _document_units(source.dataset))}
    others = [record.unit for record in Dataset(output).records() if record.unit not in planned]
    if others:
        raise Conflict(
            f"{output}: holds unit {others[0]}, which is not among this call's inputs; "
            "name all inputs, or use another output folder"
        )


def _warc_units(paths: Sequence[str]) -> list[Unit]:
    """A unit a WARC file; its key is the file's name, so that adding a file later disturbs no other."""
    units: dict[str, Unit] = {}
    for path in paths:
        key = re.sub(r"[^\w.-]", "_", re.sub(r"\.(warc\.gz|warc|gz)$", "", Path(path).name))
        if key in units:
            raise ValueError(f"{path}: has the same name as {units[key].inputs[0].path}; rename one of them")
        units[key] = Unit(key, (Input(path, *fingerprint(path)),))
    return list(units.values())


def _document_units(dataset: str | None) -> list[Unit]:
    records = Dataset(dataset or "").records()
    units = [
        Unit(record.unit, (Input(f"{dataset}/{output.path}", output.bytes, output.sha256),))
        for record in records
        for output in record.outputs
        if output.kind == "documents"
    ]
    if not units:
        raise ValueError(f"{dataset}: no committed documents; it should be the output folder of an earlier command")
    return units


def _inputs(dataset: str, kind: str) -> tuple[Input, ...]:
    outputs = Dataset(dataset).files(kind)
    if not outputs:
        raise ValueError(f"{dataset}: no committed {kind}; it should be the output folder of an earlier command")
    return tuple(Input(f"{dataset}/{output.path}", output.bytes, output.sha256) for output in outputs)
