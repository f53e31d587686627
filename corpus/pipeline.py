"""Recipe -> passes: what has to run, in which order, on which files; and a whole run of them, for Python.

Neighbouring per-document stages run fused in one pass over a shard. A barrier (`corpus.stage.Barrier`) needs all
documents: its own passes find out what it must know, and then it goes on with the stages behind it. Passes are planned
one at a time, because what a pass reads is what the pass before it committed.

    WARC --[documents]--> --(deduplication)--> --[clean]--> --[tokenizer]--> --[tokens]-->

A run may be one task of many (`Share`), each of which does its part of every pass. The commit records are all that
the tasks know of each other: a pass that reads the whole of what comes before it waits until that is committed.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from bpe.terminal.text import counted
from corpus.engine.base import Event, Failure, Limits, Unit
from corpus.engine.start import DEFAULT, start_engine
from corpus.run.barrier import BarrierJob
from corpus.run.chain import Step, sums_of
from corpus.run.execute import run_pass
from corpus.run.plan import ALONE, Pass, Share, Source, check_no_others, document_units, documents_of, wait_for
from corpus.run.recipe import Recipe, describe, load_recipe
from corpus.run.work import ChainWork, Documents
from corpus.stage import Barrier
from corpus.store.local import check_below
from corpus.store.open import check_name, expand, fingerprint, is_dir, storage
from corpus.store.records import UNREADABLE, Input
from corpus.store.shards import Dataset
from corpus.tokens.passes import check_tokenizer, tokenizer_pass, tokens_pass
from corpus.warc.source import WarcPages, warc_files

_WARC_NAME = re.compile(r"\.(warc|wet)(\.gz|\.zst)?$|\.(gz|zst)$")
# Bytes of a unit's name: those of a file's name, less what the names of its files add to it (-<sha12>-<sha12>.parquet).
_LONGEST = 255 - 35
ROW_SECONDS = 30.0  # for one guarded piece of work, if no stage of the recipe has a time limit


def find_source(inputs: Sequence[str]) -> Source:
    """What the command line named: WARC files, folders of them, or one dataset of documents.

    Raises FileNotFoundError or ValueError naming the input, also for a name that no record could hold.
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
            inside = warc_files(path)
            if not inside:
                raise ValueError(f"{path}: holds no .warc or .wet files (.gz, .zst) and no committed documents")
            warcs += inside
        else:
            warcs.append(path)
    for path in warcs:
        check_name(path)
    return Source(warcs=tuple(dict.fromkeys(warcs)))


def passes(
    recipe: Recipe,
    inputs: Sequence[str],
    output: str,
    share: Share = ALONE,
    memory: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Pass]:
    """The passes of a whole recipe, each planned when the one before it is done.

    `memory` is `BarrierJob.memory`; `options` holds the `BarrierJob.options` of a barrier by its stage.
    Raises Waiting where this task's share ends for now, Conflict if `output` holds units of other inputs.
    """
    if not recipe.steps and not recipe.tokenizer:
        raise ValueError(
            f"recipe {recipe.name}: names no stage, so there is nothing to run; add one, such as [extract]"
        )
    source = find_source(inputs)
    if recipe.tokenizer and recipe.tokenizer.path:
        check_tokenizer(recipe.tokenizer.path, recipe.tokenizer.end_of_text)
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
    if folders:
        check_no_others(folders[0], keys)
    documents = source.dataset or ""  # as they are, for a recipe of a tokenizer alone
    for part, documents in zip(parts, folders, strict=True):
        if barrier := barrier_of(part[0]):
            asked = (options or {}).get(part[0].stage)
            job = BarrierJob(source.dataset or "", keys, recipe, output, share, memory, asked)
            yield from barrier.passes(job, part, documents)
        else:
            yield documents_pass(PurePosixPath(documents).name, source, keys, part, documents, recipe)
        source = Source(dataset=documents)
    if recipe.tokenizer:
        tokenizer = recipe.tokenizer.path or f"{output}/tokenizer"
        if not recipe.tokenizer.path:
            wait_for(documents, keys, share)
            yield tokenizer_pass(documents, recipe.tokenizer, tokenizer)
            wait_for(tokenizer, ["vocabulary"], share)
        yield tokens_pass(documents, keys, tokenizer, f"{output}/tokens", recipe.tokenizer.end_of_text)


def barrier_of(step: Step) -> Barrier | None:
    """The barrier that a step is, None if it judges row by row."""
    return step.contract.barrier_of(step.config)


def _cut_at_barriers(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """The stages that run fused, each part but the first beginning with a barrier."""
    cuts = [0, *(at for at, step in enumerate(steps) if at and barrier_of(step)), len(steps)]
    return [steps[start:end] for start, end in itertools.pairwise(cuts)] if steps else []


def _folder(first: Step) -> str:
    """Where the part that begins with this stage goes, if it is not the last one."""
    barrier = barrier_of(first)
    return barrier.folder if barrier else "documents"


def documents_pass(
    name: str, source: Source, keys: Sequence[str], steps: Sequence[Step], output: str, recipe: Recipe
) -> Pass:
    """Fused per-document stages from WARC files or documents to documents."""
    limits = [step.contract.time_limit(step.config) for step in recipe.steps if step.contract.time_limit]
    reader = WarcPages() if source.warcs else Documents.of(source.dataset or "")
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
            reader,
            keep_dropped_text=recipe.keep_dropped_text,
            seconds=limits[0] if limits else ROW_SECONDS,
        ),
        sums_of(steps),
    )


def source_keys(source: Source) -> list[str]:
    """The units that a source makes, sorted. Raises ValueError if a dataset has no documents."""
    return sorted(_by_key(source.warcs)) if source.warcs else documents_of(source.dataset or "")


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
        if (length := len(key.encode())) > _LONGEST:
            raise ValueError(f"{path}: its name without the ending has {length} bytes; rename it to {_LONGEST} at most")
        found[key] = path
    return found


def _warc_units(paths: Sequence[str]) -> Callable[[Sequence[str]], list[Unit]]:
    found = _by_key(paths)

    def units(keys: Sequence[str]) -> list[Unit]:
        with ThreadPoolExecutor(16) as pool:  # 90,000 requests, one after the other, take half an hour
            files = pool.map(_file, [found[key] for key in keys])
            return [Unit(key, (file,)) for key, file in zip(keys, files, strict=True)]

    return units


def _file(path: str) -> Input:
    """A WARC file as the input of a unit; without an etag if it cannot be read, and then the unit fails and names it.

    Raises ConnectionError, which is about all files.
    """
    try:
        return Input(path, *fingerprint(path))
    except ConnectionError:
        raise
    except OSError:
        return Input(path, 0, UNREADABLE)


class RunSummary(NamedTuple):
    r"""What a whole recipe has left in its output folder, over all calls that worked on it.

    output     the folder
    documents  the dataset of the documents that are kept, for `corpus.Dataset`; None where the recipe makes none
    read       documents, or records of WARC files that should hold a page
    kept       documents
    dropped    by rule, the number of documents that it dropped, the largest number first
    tokens     the number of tokens; None where the recipe makes no tokens
    report     the path of report.html

    >>> from corpus import RunSummary
    >>> summary = RunSummary("out", "out/clean", 100, 60, {"language.other": 40}, None, "out/report.html")
    >>> f"{summary.kept / summary.read:.0%} kept"
    '60% kept'
    """

    output: str
    documents: str | None
    read: int
    kept: int
    dropped: dict[str, int]
    tokens: int | None
    report: str


def run_recipe(
    recipe: Recipe | str | os.PathLike[str],
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    workers: int | None = None,
    engine: str = DEFAULT,
    limits: Limits | None = None,
    progress: Callable[[str], object] | None = None,
) -> RunSummary:
    r"""Run a whole recipe, as `corpus run` does: the files in `output` are the same, byte for byte.

    recipe    a recipe of `load_recipe`, or what that reads: a file, or the name of a recipe of the toolkit
    inputs    WARC or WET files, folders of them, patterns; or one folder of documents that a command has written
    output    the folder to write to; a run that was interrupted goes on when the call is repeated
    workers   processes, by default as many as this process may use cores; with engine="ray", units at a time
    engine    "local": processes on this machine; "ray": the Ray cluster that RAY_ADDRESS names
    limits    the memory of a worker, the time of a unit and more: a `corpus.engine.base.Limits`
    progress  is called with a line of text when a pass begins or ends, and when a page or a unit fails: `print`

    Worker processes are spawned, and they never import the script or notebook that calls this. So it needs no
    `if __name__ == "__main__"`; a rule of one's own should be in a module, and not in the script. Ctrl-C stops the
    workers, and raises KeyboardInterrupt.

    Raises ValueError for a recipe or inputs that are wrong, and for a folder that holds units of another recipe or of
    other inputs; FileNotFoundError for an input that is not there; RuntimeError naming the units that failed, when all
    units of the pass have been tried; OSError where nothing can be written.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from corpus import Dataset, run_recipe
    >>> text = "The ship came home to the old harbour at dawn."
    >>> fields = "WARC-Type: conversion\r\nWARC-Target-URI: https://a.example/\r\nContent-Type: text/plain"
    >>> record = f"WARC/1.0\r\n{fields}\r\nContent-Length: {len(text)}\r\n\r\n{text}\r\n\r\n"
    >>> with TemporaryDirectory() as folder:
    ...     wet, recipe = Path(folder, "a.wet"), Path(folder, "mine.toml")
    ...     _ = wet.write_bytes(record.encode())
    ...     _ = recipe.write_text("[extract]\n[gopher_quality]\nmin_words = 5")
    ...     summary = run_recipe(recipe, wet, f"{folder}/out", workers=1)
    ...     documents = list(Dataset(summary.documents).rows(columns=["text", "url"]))
    >>> summary.read, summary.kept, summary.dropped
    (1, 1, {})
    >>> documents
    [{'text': 'The ship came home to the old harbour at dawn.', 'url': 'https://a.example/'}]
    """
    from corpus.report.gather import write_report

    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    folder = os.fspath(output).rstrip("/") or "/"
    if not paths:
        raise ValueError("inputs: name a WARC file, a folder or a pattern at least")
    if workers is not None and workers < 1:
        raise ValueError(f"workers = {workers}: should be at least 1, or None for as many as there are cores")
    say = progress or (lambda line: None)
    with start_engine(engine, workers, limits or Limits()) as started:
        for plan in passes(loaded, [os.fspath(path) for path in paths], folder):
            check_below(folder, plan.output)
            say(f"{plan.name}: {counted(len(plan.keys), 'unit')} -> {plan.output}")
            done = run_pass(plan, started, functools.partial(_say_event, say))
            say(f"{plan.name}: {done.done} of {done.units} units done, {done.skipped} done before")
            if done.failures:
                raise RuntimeError(_failed(plan.name, done.failures))
    report, funnel = write_report([folder])
    dropped: Counter[str] = Counter()
    for _, rule, count in funnel.drops:
        dropped[rule] += count
    documents = f"{folder}/clean" if loaded.steps else None
    return RunSummary(folder, documents, funnel.read, funnel.kept, dict(dropped.most_common()), funnel.tokens, report)


def _say_event(say: Callable[[str], object], event: Event) -> None:
    if event.kind in ("retry", "failed", "quarantine"):
        say(f"{event.unit}: {event.kind}: {event.detail}")


def _failed(name: str, failures: Sequence[Failure]) -> str:
    """The message about units that failed: the first of them, and how many there are."""
    first = failures[0]
    more = f", and {len(failures) - 1} more units failed" if failures[1:] else ""
    return f"{name}: unit {first.unit} failed: {first.reason}{more}; the same call goes on with what is left"
