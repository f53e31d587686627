"""The subcommands of `corpus`, one function each that makes it: flags in, a plan handed to the pipeline.

Stages and their settings are imported inside, when a command is made; what runs is imported when it runs.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from corpus.cli import JSON, OUTPUT, make_command
from corpus.engine.base import Engine, Limits
from corpus.engine.start import DEFAULT, ENGINES, start_engine

_RECIPE = click.Option(["--recipe"], metavar="FILE", help="take the stages' settings from this recipe")
_KEEP_TEXT = click.Option(["--keep-dropped-text"], is_flag=True, help="keep the text of dropped documents as well")


def extract_command() -> click.Command:
    from corpus.stage import stages_of

    stages = stages_of("extract")

    def extract(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.pipeline import documents_pass, find_source, source_keys

        steps = stage_steps(stages, recipe)
        source = find_source(inputs)
        if source.dataset:
            raise ValueError(f"{source.dataset}: holds documents already; extract reads WARC files")
        plan = documents_pass("extract", source, source_keys(source), steps, output, bare_recipe(steps, flags))
        return execute([plan], flags)

    return stage_command(
        extract,
        stages,
        """WARC -> DOCUMENTS: every HTML page becomes a document, or one row that says why not.

        INPUTS are WARC files, patterns, or folders of them. Pages that are hardly in a wanted language are dropped
        before their text is extracted, if 1 to 5 languages are wanted; --no-prescreen extracts them all.

        \b
        corpus extract crawl/*.warc.gz -o docs/
        corpus extract crawl/ -o docs/ --language en --language de
        corpus extract crawl/ -o docs/ --language all
        """,
    )


def scrub_command() -> click.Command:
    def scrub(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        return documents_command("scrub", stage_steps(("scrub",), recipe), inputs, output, flags)

    return stage_command(
        scrub,
        ("scrub",),
        """Mask e-mail and public IP addresses, phone, card, IBAN and US social security numbers, keys.

        \b
        corpus scrub unique/ -o clean/
        corpus scrub unique/ -o clean/ --type email --type ip
        corpus scrub unique/ -o clean/ --style tags --audit
        corpus scrub unique/ -o clean/ --style hash --hash-key secret.key
        """,
    )


def dedup_command() -> click.Command:
    def dedup(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.dedup.lines.passes import lines_passes
        from corpus.dedup.passes import dedup_passes
        from corpus.dedup.published import IndexOptions
        from corpus.pipeline import source_keys
        from corpus.run.barrier import BarrierJob

        if flags["lines"] and flags["labels_only"]:
            raise click.UsageError("--labels-only: says which documents go; it has nothing to say with --lines")
        if not flags["lines"] and (given := given_option("lines__")):
            raise click.UsageError(f"{given}: is a setting of --lines; say --lines as well")
        dedup, lines = stage_steps(("dedup", "lines"), recipe)
        source = documents_source("dedup", inputs)
        job = BarrierJob(
            source.dataset,
            source_keys(source),
            bare_recipe([dedup], flags),
            f"{output}/_dedup",
            flags["share"],
            flags["memory"],
            IndexOptions(flags["against"], flags["update_index"], flags["labels_only"]),
        )
        unique = f"{output}/_dedup/unique" if flags["lines"] else output
        plans = dedup_passes(job, [dedup], unique)
        if flags["lines"]:
            plans = itertools.chain(plans, lines_passes(dataclasses.replace(job, documents=unique), [lines], output))
        return execute(plans, flags)

    return stage_command(
        dedup,
        ("dedup", "lines"),
        """Drop copies: equal texts, and near-duplicates by MinHash over word n-grams, verified.

        A document goes only if it is itself similar enough to one that stays. What is found out on the way is kept
        below OUTPUT/_dedup.

        \b
        corpus dedup docs/ -o unique/
        corpus dedup docs/ -o unique/ --preset fineweb
        corpus dedup docs/ -o unique/ --threshold 0.8 --keep score:language_score
        corpus dedup new/ -o unique-new/ --against index/ --update-index
        corpus dedup docs/ -o labels/ --labels-only
        corpus dedup docs/ -o unique/ --lines
        """,
        *_dedup_options(),
        click.Option(["--lines"], is_flag=True, help="then remove lines that many of the remaining documents have"),
        click.Option(
            ["--labels-only"], is_flag=True, help="write who duplicates whom, row by row, instead of documents"
        ),
    )


def given_option(prefix: str) -> str | None:
    """The first option on the command line whose destination begins so."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if name.startswith(prefix) and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            return option.opts[0]
    return None


def _with_index(context: click.Context, option: click.Parameter, value: bool) -> bool:
    if value and not context.params.get("against"):
        raise click.BadParameter("say which index, with --against DIR", context, option)
    return value


def _dedup_options() -> list[click.Option]:
    return [
        click.Option(
            ["--against"],
            metavar="DIR",
            is_eager=True,
            callback=lambda context, option, value: value and (value.rstrip("/") or "/"),
            help="index of what is published: what is in it stays, and its duplicates go",
        ),
        click.Option(
            ["--update-index"],
            is_flag=True,
            callback=_with_index,
            help="add what stays to the index, which is made if there is none",
        ),
        click.Option(
            ["--memory"],
            type=click.IntRange(16),
            metavar="MIB",
            help="of a unit that brings a partition together (default: 256; more if that makes over 1,024 partitions)",
        ),
    ]


def tokenize_command() -> click.Command:
    def tokenize(inputs: tuple[str, ...], output: str, tokenizer: str, **flags: Any) -> int:
        from corpus.pipeline import source_keys
        from corpus.tokens.passes import tokens_pass

        source = documents_source("tokenize", inputs)
        return execute([tokens_pass(source.dataset, source_keys(source), tokenizer, output)], flags)

    tokenizer = click.Option(
        ["-t", "--tokenizer"],
        required=True,
        metavar="PATH",
        help="folder of a vocabulary, gpt2/cl100k_base/o200k_base.tiktoken, or a tokenizer.json",
    )
    return make_command(
        tokenize,
        """Documents -> TOKENS: a row a document, ids of a byte-level BPE vocabulary.

        \b
        corpus tokenize clean/ -t tokenizer/ -o tokens/
        """,
        [_inputs(), OUTPUT, tokenizer, *engine_options(), JSON],
    )


def run_command() -> click.Command:
    def run(
        recipe: str,
        inputs: tuple[str, ...],
        output: str,
        language: tuple[str, ...],
        lid_model: str | None,
        no_prescreen: bool,
        changes: tuple[str, ...],
        **flags: Any,
    ) -> int:
        from corpus.dedup.published import IndexOptions
        from corpus.pipeline import passes
        from corpus.run.recipe import load_recipe, parse_override

        try:
            overrides = [parse_override(change) for change in changes]
            overrides += [("language", "languages", list(language))] if language else []
            overrides += [("language", "model", lid_model)] if lid_model else []
            overrides += [("prescreen", "enabled", False)] if no_prescreen else []
            loaded = load_recipe(recipe, overrides)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        options = {"dedup": IndexOptions(flags["against"], flags["update_index"])}
        plans = passes(loaded, inputs, output, flags["share"], flags["memory"], options)
        return execute(plans, flags, report=output)

    options: list[click.Parameter] = [
        click.Argument(["recipe"]),
        click.Option(
            ["--input", "inputs"],
            multiple=True,
            required=True,
            help="WARC file, pattern or folder (repeatable)",
        ),
        OUTPUT,
        click.Option(
            ["--language"], multiple=True, help="languages to keep, or all, instead of the recipe's (repeatable)"
        ),
        click.Option(["--lid-model"], metavar="FILE", help="fastText's lid.176.bin or .ftz, instead of the recipe's"),
        click.Option(["--no-prescreen"], is_flag=True, help="extract every page, whatever language it seems to be in"),
        click.Option(
            ["--set", "changes"],
            multiple=True,
            metavar="STAGE.SETTING=VALUE",
            help="change one setting (repeatable)",
        ),
        *_dedup_options(),
        *engine_options(),
        JSON,
    ]
    return make_command(
        run,
        """Run a whole recipe: WARC files in, clean documents, vocabulary and token shards out.

        What is done is skipped: after an interruption the same command goes on. With --units, many tasks of a
        batch system share the work; with --engine ray, a cluster does.

        \b
        corpus run recipes/fineweb.toml --input 'crawl/*.warc.gz' -o out/
        corpus run recipes/fineweb.toml --input crawl/ -o out/ --language en --language de
        corpus run recipes/fineweb.toml --input crawl/ -o out/ --set language.threshold=0.5
        corpus run recipes/fineweb.toml --input crawl/ -o out/ --units 3/100 --wait 60
        corpus run recipes/fineweb.toml --input s3://bucket/crawl/ -o s3://bucket/out --engine ray
        """,
        options,
    )


def stage_command(
    callback: Callable[..., int], stages: tuple[str, ...], help: str, *more: click.Parameter
) -> click.Command:
    from corpus.commands.flags import stage_options

    params = [_inputs(), OUTPUT, _RECIPE, *more, *stage_options(stages), _KEEP_TEXT, *engine_options(), JSON]
    return make_command(callback, help, params)


def _inputs() -> click.Argument:
    return click.Argument(["inputs"], nargs=-1, required=True)


def engine_options() -> list[click.Option]:
    return [
        click.Option(
            ["--engine"],
            type=click.Choice(list(ENGINES)),
            default=DEFAULT,
            help=f"{_by_engine('about')} (default: {DEFAULT})",
        ),
        click.Option(
            ["--workers"],
            type=click.IntRange(1),
            help=_by_engine("workers"),
        ),
        click.Option(
            ["--units", "share"],
            metavar="I/N",
            default="1/1",
            callback=_share,
            help="do the share of task I of N, from 1; the tasks meet in the output folder alone",
        ),
        click.Option(
            ["--wait"],
            type=click.FloatRange(0),
            default=0.0,
            metavar="MINUTES",
            is_eager=True,
            help="with --units: wait so long for other tasks where their results are needed, instead of ending there",
        ),
        click.Option(
            ["--page-memory", "--memory-limit", "page_memory"],
            metavar="SIZE",
            default="8192",
            callback=_mebibytes,
            help="memory of a worker, above which the page it works on is set aside: 2GB, 512MB, or a number of MiB "
            "(default: 8GiB); 0: no limit",
        ),
        click.Option(
            ["--unit-limit"],
            type=click.FloatRange(0),
            default=0.0,
            metavar="MINUTES",
            help="for one attempt at a unit; 0: none (default). A page has limits of its own",
        ),
    ]


def _by_engine(field: str) -> str:
    return "; ".join(f"{name}: {getattr(engine, field)}" for name, engine in ENGINES.items())


def _mebibytes(context: click.Context, option: click.Parameter, value: str) -> int:
    """MiB of a size such as 2GB, rounded up; a plain number is MiB."""
    if re.fullmatch("[0-9]+", value):
        return int(value)
    from bpe.commands.common import size_of

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


def stage_steps(stages: tuple[str, ...], recipe: str | None, own: bool = False) -> list[Any]:
    from corpus.commands.flags import steps_from_flags

    try:
        return steps_from_flags(click.get_current_context(), stages, recipe, own)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None


def bare_recipe(steps: list[Any], flags: dict[str, Any]) -> Any:
    from corpus.run.recipe import Recipe

    return Recipe("command line", tuple(steps), keep_dropped_text=flags["keep_dropped_text"])


def documents_source(name: str, inputs: tuple[str, ...]) -> Any:
    from corpus.pipeline import find_source

    source = find_source(inputs)
    if not source.dataset:
        raise ValueError(f"{inputs[0]}: {name} reads documents; run corpus extract first")
    return source


def documents_command(name: str, steps: list[Any], inputs: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    from corpus.pipeline import documents_pass, source_keys

    source = documents_source(name, inputs)
    keys = source_keys(source)
    return execute([documents_pass(name, source, keys, steps, output, bare_recipe(steps, flags))], flags)


def execute(plans: Iterable[Any], flags: dict[str, Any], report: str | None = None) -> int:
    """Run passes one after the other; stop at the first with a failed unit, or where other tasks are needed.

    When all is done, write the report of the folder `report`.
    """
    from corpus.commands.console import Progress, say, say_summary, summary_json
    from corpus.run.execute import run_pass
    from corpus.run.plan import Waiting

    summaries: list[dict[str, Any]] = []
    status, waiting, complete = 0, None, False
    with _started_engine(flags) as engine:
        try:
            for plan in plans:
                with Progress(plan).shown_live() as progress:
                    summary = run_pass(plan, engine, progress.on_event, flags["share"])
                say_summary(summary)
                complete = summary.complete
                if flags["as_json"]:
                    summaries.append(summary_json(summary))
                if summary.failures:
                    status = 1
                    break
        except Waiting as reason:
            waiting = str(reason)
            say(f"waiting: {waiting}")
    if report and complete and not waiting and status == 0:
        from corpus.report.gather import write_report

        path, _ = write_report([report])
        say(f"report: {path}")
    if flags["as_json"]:
        click.echo(json.dumps({"passes": summaries, "ok": status == 0, "waiting": waiting}, indent=1))
    return status


def _started_engine(flags: dict[str, Any]) -> Engine:
    limits = Limits(memory=flags["page_memory"], unit=flags["unit_limit"] * 60)
    return start_engine(flags["engine"], flags["workers"], limits)
