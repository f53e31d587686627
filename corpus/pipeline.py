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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from bpe import arguments
from bpe.terminal.text import counted
from corpus.engine.base import Event, Failure, Limits
from corpus.engine.start import DEFAULT, start_engine
from corpus.inputs import check_added, find_source, source_keys, source_reader, source_units, with_languages
from corpus.run.barrier import BarrierJob
from corpus.run.chain import Step, sums_of
from corpus.run.execute import run_pass
from corpus.run.plan import ALONE, Pass, Share, Source, check_no_others, wait_for
from corpus.run.recipe import Recipe, describe, load_recipe, make_step
from corpus.run.work import ChainWork
from corpus.schema import DOCUMENTS
from corpus.sources.columns import Columns
from corpus.sources.documents import SUMS
from corpus.sources.stage import Config
from corpus.stage import Barrier
from corpus.store.local import check_below
from corpus.store.open import storage
from corpus.store.shards import Dataset
from corpus.tokens.passes import check_tokenizer, tokenizer_pass, tokens_pass

_IMPORT = Step("import", "corpus.sources.stage", Config())  # takes documents as they are
ROW_SECONDS = 30.0  # for one guarded piece of work, if no stage of the recipe has a time limit


def passes(
    recipe: Recipe,
    inputs: Sequence[str],
    output: str,
    share: Share = ALONE,
    memory: int | None = None,
    options: Mapping[str, Any] | None = None,
    columns: Columns | None = None,
) -> Iterator[Pass]:
    """The passes of a whole recipe, each planned when the one before it is done.

    `memory` is `BarrierJob.memory`; `options` holds the `BarrierJob.options` of a barrier by its stage; `columns` says
    which columns of other people's files are what.
    Raises Waiting where this task's share ends for now, Conflict if `output` holds units of other inputs.
    """
    if not recipe.steps and not recipe.tokenizer:
        raise ValueError(
            f"recipe {recipe.name}: names no stage, so there is nothing to run; add one, such as [extract]"
        )
    source = find_source(inputs, columns)
    if recipe.tokenizer and recipe.tokenizer.path:
        check_tokenizer(recipe.tokenizer.path, recipe.tokenizer.end_of_text)
    place = storage(output)
    place.make_folder("")
    place.sweep()  # of what a killed call left beside the datasets
    place.create("recipe.toml", recipe.text.encode())
    names = [step.stage for step in recipe.steps]
    if source.warcs and "extract" not in names:
        raise ValueError(f"recipe {recipe.name}: WARC files need an [extract] stage")
    if not source.warcs and (early := next((step.stage for step in recipe.steps if _reads_pages(step)), None)):
        raise ValueError(
            f"{source.dataset or inputs[0]}: holds documents, but recipe {recipe.name} begins with WARC files; "
            f"leave out [{early}] and what else reads pages, or take the recipe fineweb-text"
        )
    check_added(source, recipe.steps)
    keys = source_keys(source)
    parts = _cut_at_barriers(with_languages(source, recipe.steps))
    if source.files and (not parts or (parts[0] and barrier_of(parts[0][0]))):
        parts = [(), *parts]  # a pass that makes a dataset of the files, which a barrier and a vocabulary need
    folders = [f"{output}/{_folder(part)}" for part in parts[:-1]]
    folders += [f"{output}/clean"] if parts else []
    if folders:
        check_no_others(folders[0], keys)
    documents = source.dataset or ""  # as they are, for a recipe of a tokenizer alone
    for part, documents in zip(parts, folders, strict=True):
        if part and (barrier := barrier_of(part[0])):
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
        end = recipe.tokenizer.end_of_text
        yield tokens_pass(Source(dataset=documents), keys, tokenizer, f"{output}/tokens", end)


def barrier_of(step: Step) -> Barrier | None:
    """The barrier that a step is, None if it judges row by row."""
    return step.contract.barrier_of(step.config)


def _cut_at_barriers(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """The stages that run fused, each part but the first beginning with a barrier."""
    cuts = [0, *(at for at, step in enumerate(steps) if at and barrier_of(step)), len(steps)]
    return [steps[start:end] for start, end in itertools.pairwise(cuts)] if steps else []


def _reads_pages(step: Step) -> bool:
    return step.contract.reads == "pages"


def _folder(part: Sequence[Step]) -> str:
    """Where these stages write, if they are not the last part."""
    barrier = barrier_of(part[0]) if part else None
    return barrier.folder if barrier else "documents"


def joined_passes(sources: Sequence[Source], output: str, share: Share, keep_dropped_text: bool) -> Iterator[Pass]:
    """The passes that make one dataset of several sources, each planned when the one before it is done.

    The text of WARC files is extracted first, into `OUTPUT/_warc`. All shards get the columns of all sources.
    Raises ValueError, before the first pass, where two sources have a unit of one name or a column of two types.
    """
    recipe = Recipe("import", (), keep_dropped_text=keep_dropped_text)
    keys = [source_keys(source) for source in sources]
    if twice := [key for key, count in Counter(itertools.chain(*keys)).items() if count > 1]:
        raise ValueError(f"two inputs make a unit {twice[0]}; rename one of the files, or import into two folders")
    extract = make_step("extract")
    columns = _columns_of_all(sources, extract) if len(sources) > 1 else None

    def planned() -> Iterator[Pass]:
        for source, units in zip(sources, keys, strict=True):
            dataset = source.dataset or f"{output}/_warc"
            if source.warcs:
                yield documents_pass("extract", source, units, [extract], dataset, recipe)
                wait_for(dataset, units, share)
            read = source if source.files else Source(dataset=dataset)
            steps = [] if source.files else [_IMPORT]  # the reader of files has an account of its own
            yield documents_pass("import", read, units, steps, output, recipe, columns)

    return planned()


def _columns_of_all(sources: Sequence[Source], extract: Step) -> pa.Schema:
    """The columns of DOCUMENTS, then all others in the order of the sources. Raises ValueError for two types of one."""
    columns: dict[str, pa.Field] = {field.name: field for field in DOCUMENTS}
    for source in sources:
        if source.files:
            schema = source.files.schema
        elif source.warcs:
            schema = extract.contract.columns(extract.config)
        else:
            dataset = Dataset(source.dataset or "")
            schema = dataset.schema(dataset.files("documents")[0])
        for field in schema:
            first = columns.setdefault(field.name, field)
            if first.type != field.type:
                raise ValueError(f"column {field.name} is {first.type} in one input and {field.type} in another")
    return pa.schema(list(columns.values()))


def documents_pass(
    name: str,
    source: Source,
    keys: Sequence[str],
    steps: Sequence[Step],
    output: str,
    recipe: Recipe,
    columns: pa.Schema | None = None,
) -> Pass:
    """Fused per-document stages from WARC files, files of documents or a dataset to documents."""
    limits = [step.contract.time_limit(step.config) for step in recipe.steps if step.contract.time_limit]
    reader = source_reader(source)
    more: dict[str, Any] = {"files": source.files.config()} if source.files else {}
    more |= {"columns": columns.names} if columns is not None else {}
    return Pass(
        name,
        output,
        keys,
        source_units(source),
        describe(steps, keep_dropped_text=recipe.keep_dropped_text, **more),
        lambda digest: ChainWork(
            name,
            tuple(steps),
            output,
            digest,
            reader,
            keep_dropped_text=recipe.keep_dropped_text,
            seconds=limits[0] if limits else ROW_SECONDS,
            columns=columns,
        ),
        sums_of(steps) | (SUMS if source.files else {}),
        "documents",
    )


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
    columns: Columns | None = None,
) -> RunSummary:
    r"""Run a whole recipe, as `corpus run` does: the files in `output` are the same, byte for byte.

    recipe    a recipe of `load_recipe`, or what that reads: a file, or the name of a recipe of the toolkit
    inputs    WARC or WET files, folders of them, patterns; or files of documents as `read_documents` reads them; or
              one folder of documents that a command has written
    output    the folder to write to; a run that was interrupted goes on when the call is repeated
    workers   processes, by default as many as this process may use cores; with engine="ray", units at a time
    engine    "local": processes on this machine; "ray": the Ray cluster that RAY_ADDRESS names
    limits    the memory of a worker, the time of a unit and more: a `corpus.engine.base.Limits`
    progress  is called with a line of text when a pass begins or ends, and when a page or a unit fails: `print`
    columns   which column of a file of documents is the text, and so on, where the names do not say it

    Worker processes are spawned, and they never import the script or notebook that calls this. So it needs no
    `if __name__ == "__main__"`; a rule of one's own should be in a module, and not in the script. Ctrl-C stops the
    workers, and raises KeyboardInterrupt.

    Raises ValueError for a recipe or inputs that are wrong, for an output that is an input too, and for a folder that
    holds units of another recipe or of other inputs; FileNotFoundError for an input that is not there; RuntimeError
    naming the units that failed, when all units of the pass have been tried; OSError where nothing can be written.

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

    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(arguments.path("recipe", recipe))
    folder = arguments.path("output", output).rstrip("/") or "/"
    paths = arguments.paths("inputs", inputs)
    arguments.check_apart(paths, folder)
    if columns is not None:
        arguments.instance("columns", columns, Columns, "of corpus")
    workers = None if workers is None else arguments.whole_number("workers", workers, 1)
    limits = Limits() if limits is None else arguments.instance("limits", limits, Limits, "of corpus.engine.base")
    say = arguments.function("progress", progress) or (lambda line: None)
    with arguments.without_flags(), start_engine(arguments.string("engine", engine), workers, limits) as started:
        for plan in passes(loaded, paths, folder, columns=columns):
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
