"""The subcommands of `corpus`, one function each that makes it: flags in, a plan handed to the pipeline.

Stages and their settings are imported inside, when a command is made; what runs is imported when it runs.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

FILTERS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
_OUTPUT = click.Option(
    ["-o", "--output"],
    required=True,
    metavar="DIR",
    help="folder to write to",
    callback=lambda context, option, value: value.rstrip("/") or "/",
)
_JSON = click.Option(["--json", "as_json"], is_flag=True, help="a summary as JSON on stdout")
_RECIPE = click.Option(["--recipe"], metavar="FILE", help="take the stages' settings from this recipe")
_KEEP_TEXT = click.Option(["--keep-dropped-text"], is_flag=True, help="keep the text of dropped documents as well")


def extract_command() -> click.Command:
    stages = ("urls", "extract", "language")

    def extract(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.pipeline import documents_pass, find_source

        steps = _steps(stages, recipe)
        source = find_source(inputs)
        if source.dataset:
            raise ValueError(f"{source.dataset}: holds documents already; extract reads WARC files")
        plan = documents_pass("extract", source, steps, output, _bare_recipe(steps, flags))
        return _execute([plan], flags)

    return _stage_command(
        extract,
        stages,
        """WARC -> DOCUMENTS: every HTML page becomes a document, or one row that says why not.

        INPUTS are WARC files, patterns, or folders of them.

        \b
        corpus extract crawl/*.warc.gz -o docs/
        corpus extract crawl/ -o docs/ --language en --language de
        """,
    )


def filter_command() -> click.Command:
    def filter_(inputs: tuple[str, ...], output: str, recipe: str | None, only: tuple[str, ...], **flags: Any) -> int:
        steps = [step for step in _steps(FILTERS, recipe) if not only or step.stage in only]
        return _documents_command("filter", steps, inputs, output, flags)

    only = click.Option(["--only"], multiple=True, type=click.Choice(FILTERS), help="run just this stage (repeatable)")
    return _stage_command(
        filter_,
        FILTERS,
        """Quality rules: Gopher repetition, Gopher quality, C4, FineWeb, with their published constants.

        INPUT is the output folder of an earlier command.

        \b
        corpus filter docs/ -o filtered/
        corpus filter docs/ -o filtered/ --only gopher_quality --min-words 30
        """,
        only,
    )


def scrub_command() -> click.Command:
    def scrub(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        return _documents_command("scrub", _steps(("scrub",), recipe), inputs, output, flags)

    return _stage_command(
        scrub,
        ("scrub",),
        """Mask e-mail addresses, public IP addresses, phone, card, IBAN and US social security numbers.

        \b
        corpus scrub unique/ -o clean/
        """,
    )


def dedup_command() -> click.Command:
    def dedup(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
        from corpus.pipeline import dedup_passes, find_source

        steps = _steps(("dedup",), recipe)
        source = find_source(inputs)
        if not source.dataset:
            raise ValueError(f"{inputs[0]}: dedup reads documents; run corpus extract first")
        return _execute(dedup_passes(source, steps, f"{output}/_dedup", output, _bare_recipe(steps, flags)), flags)

    return _stage_command(
        dedup,
        ("dedup",),
        """Drop copies: equal texts, and near-duplicates by MinHash over word 5-grams.

        Signatures and clusters are kept below OUTPUT/_dedup.

        \b
        corpus dedup filtered/ -o unique/
        """,
    )


def tokenize_command() -> click.Command:
    def tokenize(inputs: tuple[str, ...], output: str, tokenizer: str, **flags: Any) -> int:
        from corpus.pipeline import find_source, tokens_pass

        source = find_source(inputs)
        if not source.dataset:
            raise ValueError(f"{inputs[0]}: tokenize reads documents; run corpus extract first")
        return _execute([tokens_pass(source.dataset, tokenizer, output)], flags)

    tokenizer = click.Option(
        ["--tokenizer"],
        required=True,
        metavar="PATH",
        help="folder of a vocabulary, or gpt2/cl100k_base/o200k_base.tiktoken",
    )
    return _command(
        tokenize,
        """Documents -> TOKENS: a row a document, ids of a byte-level BPE vocabulary.

        \b
        corpus tokenize clean/ --tokenizer tokenizer/ -o tokens/
        """,
        [_inputs(), _OUTPUT, tokenizer, *_workers(), _JSON],
    )


def run_command() -> click.Command:
    def run(
        recipe: str,
        inputs: tuple[str, ...],
        output: str,
        language: tuple[str, ...],
        lid_model: str | None,
        changes: tuple[str, ...],
        **flags: Any,
    ) -> int:
        from corpus.pipeline import passes
        from corpus.recipe import load_recipe, parse_override

        try:
            overrides = [parse_override(change) for change in changes]
            overrides += [("language", "languages", list(language))] if language else []
            overrides += [("language", "model", lid_model)] if lid_model else []
            loaded = load_recipe(recipe, overrides)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        status = _execute(passes(loaded, inputs, output), flags)
        if status == 0:
            from corpus.report.command import write_report

            click.echo(f"report: {write_report([output])}", err=True)
        return status

    options: list[click.Parameter] = [
        click.Argument(["recipe"]),
        click.Option(
            ["--input", "inputs"],
            multiple=True,
            required=True,
            help="WARC file, pattern or folder (repeatable)",
        ),
        _OUTPUT,
        click.Option(["--language"], multiple=True, help="languages to keep, instead of the recipe's (repeatable)"),
        click.Option(["--lid-model"], metavar="FILE", help="fastText's lid.176.bin or .ftz, instead of the recipe's"),
        click.Option(
            ["--set", "changes"],
            multiple=True,
            metavar="STAGE.SETTING=VALUE",
            help="change one setting (repeatable)",
        ),
        *_workers(),
        _JSON,
    ]
    return _command(
        run,
        """Run a whole recipe: WARC files in, clean documents, vocabulary and token shards out.

        What is done is skipped: after an interruption the same command goes on.

        \b
        corpus run recipes/fineweb.toml --input 'crawl/*.warc.gz' -o out/
        corpus run recipes/fineweb.toml --input crawl/ -o out/ --language en --language de
        corpus run recipes/fineweb.toml --input crawl/ -o out/ --set language.threshold=0.5
        """,
        options,
    )


def report_command() -> click.Command:
    def report(folders: tuple[str, ...], training: str | None, as_json: bool) -> int:
        from corpus.report.command import gather, write_report
        from corpus.report.funnel import funnel_json, funnel_text

        found = gather(folders)
        if as_json:
            click.echo(json.dumps(funnel_json(found), indent=1))
        else:
            color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            click.echo(funnel_text(found, color=color), nl=False)
        click.echo(f"report: {write_report(folders, training)}", err=True)
        return 1 if found.errors else 0

    options: list[click.Parameter] = [
        click.Argument(["folders"], nargs=-1, required=True),
        click.Option(
            ["--model", "training"],
            metavar="RUN",
            help="training run to show (default: FOLDER/model if there is one)",
        ),
        _JSON,
    ]
    return _command(
        report,
        """The funnel of a run, or of step-by-step outputs in their order; writes report.html into the last folder.

        \b
        corpus report out/
        corpus report docs/ filtered/ unique/ clean/ --json
        """,
        options,
    )


def verify_command() -> click.Command:
    def verify(folders: tuple[str, ...], as_json: bool) -> int:
        from corpus.verify import datasets_below, verify

        results = {dataset.path: verify(dataset) for folder in folders for dataset in datasets_below(folder)}
        problems = [problem for result in results.values() for problem in result.problems]
        for problem in problems:
            click.echo(f"verify: {problem}", err=True)
        units = sum(result.units for result in results.values())
        files = sum(result.files for result in results.values())
        size = sum(result.bytes for result in results.values())
        click.echo(
            f"verify: {units:,} units, {files:,} files, {size / 1e6:,.1f} MB: "
            + (f"{len(problems)} problems" if problems else "all as committed"),
            err=True,
        )
        if as_json:
            click.echo(json.dumps({"units": units, "files": files, "bytes": size, "problems": problems}, indent=1))
        return 1 if problems else 0

    return _command(
        verify,
        """Read every committed file and compare it with its record: bytes, sha256, rows, drops by rule, accounts.

        Exit code 1 if one flipped byte is found.

        \b
        corpus verify out/
        """,
        [click.Argument(["folders"], nargs=-1, required=True), _JSON],
    )


def gc_command() -> click.Command:
    def gc(folders: tuple[str, ...], min_age: float, dry_run: bool, as_json: bool) -> int:
        from corpus.verify import datasets_below, orphans

        found = []
        for dataset in [dataset for folder in folders for dataset in datasets_below(folder)]:
            found += orphans(dataset, min_age * 3600)
            if not dry_run:
                dataset.storage.sweep()
        for orphan in found:
            click.echo(
                f"gc: {'would remove' if dry_run else 'removed'} {orphan.path} ({orphan.bytes:,} bytes)", err=True
            )
            if not dry_run:
                orphan.path.unlink(missing_ok=True)
        size = sum(orphan.bytes for orphan in found)
        click.echo(f"gc: {len(found)} files, {size / 1e6:,.1f} MB", err=True)
        if as_json:
            click.echo(json.dumps({"files": [str(orphan.path) for orphan in found], "bytes": size}, indent=1))
        return 0

    return _command(
        gc,
        """Remove files that no commit record names: the leftovers of attempts that were killed or came second.

        \b
        corpus gc out/ --dry-run
        corpus gc out/
        """,
        [
            click.Argument(["folders"], nargs=-1, required=True),
            click.Option(
                ["--min-age"],
                type=click.FloatRange(0),
                default=1.0,
                show_default=True,
                help="hours; younger files may be of a unit that is being committed",
            ),
            click.Option(["--dry-run"], is_flag=True, help="only say what would be removed"),
            _JSON,
        ],
    )


def sample_command() -> click.Command:
    def sample(output: str, as_json: bool, **options: Any) -> int:
        import dataclasses
        from pathlib import Path

        from corpus.sample import write_sample

        summary = write_sample(Path(output), **options)
        click.echo(str(summary), err=True)
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(summary), indent=1, default=str))
        return 0

    options: list[click.Parameter] = [
        _OUTPUT,
        click.Option(["--pages"], type=click.IntRange(1), help="documentation pages [default: 2000]"),
        click.Option(["--shards"], type=click.IntRange(1), default=2, show_default=True, help="WARC files"),
        click.Option(["--seed"], type=int, default=1, show_default=True, help="another seed, another sample"),
        _JSON,
    ]
    return _command(
        sample,
        """Write WARC files without network: the documentation of installed packages as web pages, and pages of our own.

        Those are in several languages and each meet one rule: blocked words, personal data, a wrong charset, ...

        \b
        corpus sample -o crawl/
        """,
        options,
    )


def fetch_command() -> click.Command:
    def fetch(crawl: str, output: str, as_json: bool, **settings: Any) -> int:
        from pathlib import Path

        from corpus.config import check
        from corpus.console import FetchProgress, say
        from corpus.crawl.download import FetchError, Forbidden
        from corpus.crawl.fetch import fetch

        try:
            config = check(FetchConfig(**{name.partition("__")[2]: value for name, value in settings.items()}))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if config.limit and config.sample:
            raise click.UsageError("--limit and --sample: give one of them")
        try:
            with FetchProgress().shown_live() as progress:
                summary = fetch(crawl, Path(output), config, progress.on_event)
        except Forbidden as error:
            say(f"corpus: {error}")
            return 4
        except FetchError as error:
            raise ValueError(str(error)) from None
        say(
            f"fetch: {len(summary.finished)} files downloaded, {len(summary.skipped)} there before, "
            f"{len(summary.failed)} failed -> {output}"
        )
        if as_json:
            failed = {event.name: event.reason for event in summary.failed}
            click.echo(json.dumps(summary._asdict() | {"failed": failed}, indent=1))
        return 1 if summary.failed else 0

    from corpus.crawl.fetch import FetchConfig
    from corpus.flags import config_options

    return _command(
        fetch,
        """Download whole WARC files of a Common Crawl dump, some 1 GB each; what is cut off resumes.

        CRAWL is a name like CC-MAIN-2026-43.

        \b
        corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/
        corpus fetch CC-MAIN-2026-43 --sample 10 --seed 7 -o crawl/
        corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/ --base http://mirror.example/
        """,
        [click.Argument(["crawl"]), _OUTPUT, *config_options("fetch", FetchConfig), _JSON],
    )


def _command(callback: Callable[..., int], help: str, params: Iterable[click.Parameter]) -> click.Command:
    name = callback.__name__.rstrip("_")
    return click.Command(name, callback=callback, help=inspect.cleandoc(help), params=list(params))


def _stage_command(
    callback: Callable[..., int], stages: tuple[str, ...], help: str, *more: click.Parameter
) -> click.Command:
    from corpus.flags import stage_options

    params = [_inputs(), _OUTPUT, _RECIPE, *more, *stage_options(stages), _KEEP_TEXT, *_workers(), _JSON]
    return _command(callback, help, params)


def _inputs() -> click.Argument:
    return click.Argument(["inputs"], nargs=-1, required=True)


def _workers() -> list[click.Option]:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        click.Option(["--workers"], type=click.IntRange(1), default=count, help="worker processes (default: cores)"),
        click.Option(
            ["--memory-limit"],
            type=click.IntRange(0),
            default=8192,
            show_default=True,
            help="MiB of a worker, above which the page it works on is set aside; 0: none",
        ),
    ]


def _steps(stages: tuple[str, ...], recipe: str | None) -> list[Any]:
    from corpus.flags import steps_from_flags

    try:
        return steps_from_flags(click.get_current_context(), stages, recipe)
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None


def _bare_recipe(steps: list[Any], flags: dict[str, Any]) -> Any:
    from corpus.recipe import Recipe

    return Recipe("command line", tuple(steps), keep_dropped_text=flags["keep_dropped_text"])


def _documents_command(name: str, steps: list[Any], inputs: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    from corpus.pipeline import documents_pass, find_source

    source = find_source(inputs)
    if not source.dataset:
        raise ValueError(f"{inputs[0]}: {name} reads documents; run corpus extract first")
    return _execute([documents_pass(name, source, steps, output, _bare_recipe(steps, flags))], flags)


def _execute(plans: Iterable[Any], flags: dict[str, Any]) -> int:
    """Run passes one after the other; stop at the first with a failed unit."""
    from corpus.console import Progress, say_summary, summary_json
    from corpus.engine import Limits
    from corpus.pipeline import run_pass

    summaries = []
    status = 0
    for plan in plans:
        with Progress(plan).shown_live() as progress:
            limits = Limits(memory=flags["memory_limit"])
            summary = run_pass(plan, flags["workers"], progress.on_event, limits)
        say_summary(summary)
        summaries.append(summary_json(summary))
        if summary.failures:
            status = 1
            break
    if flags["as_json"]:
        click.echo(json.dumps({"passes": summaries, "ok": status == 0}, indent=1))
    return status
