"""What the commands of `corpus` share: options, and the steps from options to passes that have run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from bpe import arguments
from bpe.terminal.help import FILES, WORK, Decorator, Heading, json_option, local_only, together
from bpe.terminal.text import say, size_of
from corpus.engine.base import Engine, Limits
from corpus.engine.start import DEFAULT, ENGINES, start_engine

DUPLICATES = Heading("Duplicates")
COLUMNS = Heading("Columns of files that no command of ours has written")
_INTERRUPTED = "interrupted; committed units are kept, the same command goes on from there"

inputs_argument = click.argument("inputs", nargs=-1, required=True)
folders_argument = click.argument("folders", nargs=-1, required=True)


def _folder(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    from corpus.store.open import check_name

    if value:
        try:
            check_name(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, option) from None
    return value and (value.rstrip("/") or "/")


def _output(context: click.Context, option: click.Parameter, value: str) -> str:
    """The output folder. Raises BadParameter if no folder can be made or written to at this path."""
    from bpe.terminal.failures import said
    from bpe.whole import check_folder
    from corpus.store.open import check_name, check_writable, is_remote

    if not value:
        raise click.BadParameter("is empty; name a folder", context, option)
    try:
        check_writable(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None
    if not is_remote(value):
        path = Path(value.removeprefix("file://"))
        try:
            check_name(value)
            if path.is_file():
                raise ValueError(f"{value}: is a file; name a folder")
            check_folder(path)
        except (ValueError, FileExistsError, NotADirectoryError) as error:
            raise click.BadParameter(said(error) or str(error), context, option) from None
    return value.rstrip("/") or "/"


def _local_output(context: click.Context, option: click.Parameter, value: str) -> str:
    return _output(context, option, local_only(context, option, value))


output_option = FILES.option(
    "-o", "--output", required=True, metavar="DIR", callback=_output, help="folder to write to"
)
local_output_option = FILES.option(
    "-o", "--output", required=True, metavar="DIR", callback=_local_output, help="folder to write to"
)
recipe_option = FILES.option("--recipe", metavar="FILE", help="take the settings of the stages from this recipe")
keep_text_option = FILES.option("--keep-dropped-text", is_flag=True, help="also keep the text of dropped documents")


def _mapped(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(our column, their column) of each OURS=THEIRS. Raises BadParameter naming the pair."""
    pairs = []
    for text in value:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals):
            raise click.BadParameter(f"{text}: should be OURS=THEIRS, as in url=link, or OURS=", context, option)
        pairs.append((ours, theirs))
    return tuple(pairs)


columns_options = together(
    COLUMNS.option(
        "--text-column", metavar="NAME", default="", show_default="text, content, ...", help="column with the text"
    ),
    COLUMNS.option(
        "--id-column", metavar="NAME", default="", show_default="id, or made of file and row", help="column with the id"
    ),
    COLUMNS.option(
        "--map",
        "mapped",
        metavar="OURS=THEIRS",
        multiple=True,
        callback=_mapped,
        help="take our column, such as url or date, from this one; meta.url reaches into a struct (repeatable)",
    ),
    COLUMNS.option("--keep-columns", is_flag=True, help="keep all other columns as well"),
    COLUMNS.option(
        "--split",
        default="file",
        metavar="file|line|TEXT",
        help="a plain text file is one document, a document a line, or documents with a line TEXT between them",
        show_default=True,
    ),
)


def columns_of(flags: dict[str, Any]) -> Any:
    """What the options of `columns_options` say. Raises UsageError for a column of ours that there is not."""
    from corpus.sources.columns import Columns

    try:
        return Columns(flags["text_column"], flags["id_column"], flags["mapped"], flags["keep_columns"], flags["split"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _with_index(context: click.Context, option: click.Parameter, value: bool) -> bool:
    if value and not context.params.get("against"):
        raise click.BadParameter("say which index, with --against DIR", context, option)
    return value


index_options = together(
    DUPLICATES.option(
        "--against",
        metavar="DIR",
        is_eager=True,
        callback=_folder,
        help="index of published documents: they stay, and their duplicates among the new ones are dropped",
    ),
    DUPLICATES.option(
        "--update-index",
        is_flag=True,
        callback=_with_index,
        help="add the kept documents to the index of --against, which is made if it does not exist",
    ),
)
partition_memory_option = WORK.option(
    "--memory",
    type=click.IntRange(16),
    metavar="MIB",
    show_default="256, or more so that there are at most 1,024 partitions",
    help="memory of a unit that finds the duplicates in one partition",
)


def _mebibytes(context: click.Context, option: click.Parameter, value: str) -> int:
    """MiB of a size such as 2GB, rounded up; a plain number is MiB."""
    if re.fullmatch("[0-9]+", value):
        return int(value)
    try:
        if not value[-1:].isalpha():
            raise ValueError("without a unit")
        return -(-size_of(value) >> 20)
    except ValueError:
        raise click.BadParameter(f"{value}: should be a size, as in 2GB or 512MB", context, option) from None


def _share(context: click.Context, option: click.Parameter, value: str) -> Any:
    from corpus.run.plan import Share

    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value}: should be I/N with I from 1 to N, as in 3/100", context, option)
    return Share(int(match[1]), int(match[2]), wait=context.params["wait"] * 60)


def _by_engine(field: str) -> str:
    """What each engine says of itself, for help."""
    return "; ".join(f"{name}: {getattr(engine, field)}" for name, engine in ENGINES.items())


work_options = together(
    WORK.option(
        "--engine",
        type=click.Choice(list(ENGINES)),
        default=DEFAULT,
        help=f"{_by_engine('about')} (default: {DEFAULT})",
    ),
    WORK.option(
        "--workers",
        type=click.IntRange(1),
        help=_by_engine("workers"),
    ),
    WORK.option(
        "--units",
        "share",
        metavar="I/N",
        default="1/1",
        callback=_share,
        help="do share I of N, from 1; the N tasks meet in the output folder alone",
    ),
    WORK.option(
        "--wait",
        type=click.FloatRange(0),
        default=0.0,
        metavar="MINUTES",
        is_eager=True,
        help="with --units: wait so long for results of other tasks before ending",
    ),
    WORK.option(
        "--page-memory",
        "--memory-limit",
        "page_memory",
        metavar="SIZE",
        default="8192",
        show_default="8GiB",
        callback=_mebibytes,
        help="a worker that needs more sets its page aside; 0: no limit",
    ),
    WORK.option(
        "--unit-limit",
        type=click.FloatRange(0),
        default=0.0,
        metavar="MINUTES",
        help="longest time for an attempt at a unit; 0: no limit",
    ),
)


def documents_options(*stages: str) -> Decorator[Any]:
    """The options of a command that runs these stages: inputs and outputs, settings of the stages, and work."""
    from corpus.commands.flags import stage_options

    return together(
        inputs_argument,
        output_option,
        recipe_option,
        keep_text_option,
        json_option,
        stage_options(*stages),
        work_options,
    )


def given_option(prefix: str) -> str | None:
    """The first option on the command line whose destination begins with `prefix`."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if name.startswith(prefix) and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            return option.opts[0]
    return None


def stage_steps(stages: tuple[str, ...], recipe: str | None, own: bool = False) -> list[Any]:
    """The stages with their settings from the recipe and the command line. Raises UsageError naming the setting."""
    from corpus.commands.flags import steps_from_flags

    try:
        return steps_from_flags(click.get_current_context(), stages, recipe, own)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None


def bare_recipe(steps: list[Any], flags: dict[str, Any]) -> Any:
    """A recipe of these steps alone."""
    from corpus.run.recipe import Recipe

    return Recipe("command line", tuple(steps), keep_dropped_text=flags.get("keep_dropped_text", False))


def check_apart(inputs: Iterable[str], output: str) -> None:
    """Raises UsageError if the output is one of the inputs, which paths and patterns name."""
    try:
        arguments.check_apart(inputs, output)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def documents_source(name: str, inputs: tuple[str, ...], output: str, columns: Any = None) -> Any:
    """The documents that `inputs` name: a dataset, or files that `columns` speaks of.

    Raises ValueError for WARC files; `name` is the command that asks. Raises UsageError if `output`, where the command
    writes, is one of the inputs.
    """
    from corpus.inputs import find_source

    check_apart(inputs, output)
    source = find_source(inputs, columns)
    if source.warcs:
        raise ValueError(
            f"{inputs[0]}: {name} reads documents: the output of a command, or .parquet, .jsonl, .csv, .txt files; "
            "for WARC files run corpus extract first"
        )
    say_left_out(source)
    return source


def say_left_out(source: Any) -> None:
    """Say which columns of the files are not taken."""
    if source.files and source.files.left_out:
        is_kept = source.files.config()["columns"]["keep"]
        fix = "columns of ours have these names: rename them" if is_kept else "--keep-columns keeps them"
        say(f"not taken: the columns {', '.join(source.files.left_out)}; {fix}")


def documents_command(name: str, steps: list[Any], inputs: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    """Run the pass `name`, documents to documents; returns the exit code."""
    from corpus.inputs import check_added, source_keys, with_languages
    from corpus.pipeline import documents_pass

    source = documents_source(name, inputs, output, columns_of(flags))
    check_added(source, steps)
    keys, steps = source_keys(source), list(with_languages(source, steps))
    return execute([documents_pass(name, source, keys, steps, output, bare_recipe(steps, flags))], flags)


class Documents(NamedTuple):
    """A dataset of documents, and the passes that make it where the input is no dataset."""

    dataset: str
    keys: list[str]
    passes: Iterable[Any]
    source: Any


def dataset_of(
    name: str, inputs: tuple[str, ...], output: str, flags: dict[str, Any], steps: Iterable[Any] = (), folder: str = ""
) -> Documents:
    """The documents that `inputs` name, as a dataset: a command whose passes read documents several times asks for it.

    Other people's files are read once, into the dataset `OUTPUT/_import`, or `folder`. Raises as `documents_source`.
    """
    from corpus.inputs import check_added, source_keys

    source = documents_source(name, inputs, output, columns_of(flags))
    check_added(source, list(steps))
    keys = source_keys(source)
    if source.dataset:
        return Documents(source.dataset, keys, (), source)
    dataset = folder or f"{output}/_import"
    return Documents(dataset, keys, _import(source, keys, dataset, flags), source)


def _import(source: Any, keys: list[str], dataset: str, flags: dict[str, Any]) -> Iterator[Any]:
    from corpus.pipeline import documents_pass
    from corpus.run.plan import check_no_others, wait_for

    check_no_others(dataset, keys)
    yield documents_pass("import", source, keys, [], dataset, bare_recipe([], flags))
    wait_for(dataset, keys, flags["share"])


def execute(plans: Iterable[Any], flags: dict[str, Any], report: str | None = None) -> int:
    """Run passes one after the other; returns the exit code.

    Stops at the first pass with a failed unit, or where results of other tasks are needed. When all is done, writes
    the report of the folder `report`.
    """
    from corpus.commands.console import Progress, say_nothing_kept, say_summary, summary_json
    from corpus.run.execute import run_pass
    from corpus.run.plan import Waiting
    from corpus.store.local import check_below

    output = click.get_current_context().params["output"]
    summaries: list[dict[str, Any]] = []
    outputs: list[str] = []
    status, waiting, complete = 0, None, False
    with started_engine(flags) as engine:
        try:
            for plan in plans:
                check_below(output, plan.output)
                with Progress(plan).shown_live() as progress:
                    summary = run_pass(plan, engine, progress.on_event, flags["share"])
                say_summary(summary)
                complete = summary.complete
                outputs.append(summary.output)
                if flags["as_json"]:
                    summaries.append(summary_json(summary))
                if summary.failures:
                    status = 1
                    break
        except Waiting as reason:
            waiting = str(reason)
            say(f"waiting: {waiting}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_INTERRUPTED) from None
    if report and complete and not waiting and status == 0:
        from corpus.report.gather import write_report

        path, _ = write_report([report])
        say(f"report: {path}")
    say_nothing_kept(outputs)
    if flags["as_json"]:
        click.echo(json.dumps({"passes": summaries, "ok": status == 0, "waiting": waiting}, indent=1))
    return status


def started_engine(flags: dict[str, Any]) -> Engine:
    """The engine that the options ask for, not yet entered."""
    limits = Limits(memory=flags["page_memory"], unit=flags["unit_limit"] * 60)
    return start_engine(flags["engine"], flags["workers"], limits)
