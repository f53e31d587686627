"""The subcommands of `corpus` around the stages: where pages come from, what became of them, whether it still holds."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from corpus.cli import JSON, OUTPUT, make_command


def report_command() -> click.Command:
    def report(folders: tuple[str, ...], training: str | None, as_json: bool) -> int:
        from corpus.report.estimate import estimate, estimate_json, estimate_text
        from corpus.report.funnel import funnel_json, funnel_text
        from corpus.report.gather import write_report

        path, found = write_report(folders, training)
        if as_json:
            click.echo(json.dumps(funnel_json(found) | {"prescreen": estimate_json(estimate(found))}, indent=1))
        else:
            color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            click.echo(funnel_text(found, color=color), nl=False)
            if lost := estimate(found):
                click.echo(estimate_text(lost))
        click.echo(f"report: {path}", err=True)
        return 1 if found.errors else 0

    options: list[click.Parameter] = [
        click.Argument(["folders"], nargs=-1, required=True),
        click.Option(
            ["--model", "training"],
            metavar="RUN",
            help="training run to show (default: FOLDER/model if there is one)",
        ),
        JSON,
    ]
    return make_command(
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
        from corpus.store.verify import datasets_below, verify

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

    return make_command(
        verify,
        """Read every committed file and compare it with its record: bytes, sha256, rows, drops by rule, accounts.

        Exit code 1 if one flipped byte is found.

        \b
        corpus verify out/
        """,
        [click.Argument(["folders"], nargs=-1, required=True), JSON],
    )


def gc_command() -> click.Command:
    def gc(folders: tuple[str, ...], min_age: float, dry_run: bool, as_json: bool) -> int:
        from corpus.store.verify import datasets_below, orphans, remove

        files, uploads, size = [], [], 0
        for dataset in [dataset for folder in folders for dataset in datasets_below(folder)]:
            for orphan in orphans(dataset, min_age * 3600):
                if dry_run or remove(dataset, orphan):
                    files.append(f"{dataset.path}/{orphan.key}")
                    size += orphan.bytes
                    said = "would remove" if dry_run else "removed"
                    click.echo(f"gc: {said} {files[-1]} ({orphan.bytes:,} bytes)", err=True)
            for upload in dataset.storage.unfinished(min_age * 3600):
                uploads.append(f"{dataset.path}/{upload.key}")
                if not dry_run:
                    dataset.storage.abort(upload)
                said = "would abort" if dry_run else "aborted"
                click.echo(f"gc: {said} the unfinished upload of {uploads[-1]}", err=True)
            if not dry_run:
                dataset.storage.sweep()
        click.echo(f"gc: {len(files)} files, {size / 1e6:,.1f} MB; {len(uploads)} unfinished uploads", err=True)
        if as_json:
            click.echo(json.dumps({"files": files, "bytes": size, "uploads": uploads}, indent=1))
        return 0

    return make_command(
        gc,
        """Remove files that no commit record names, the leftovers of attempts that were killed or came second.

        In an object store, also give up the uploads that nobody completed.

        \b
        corpus gc out/ --dry-run
        corpus gc out/
        corpus gc s3://bucket/out
        """,
        [
            click.Argument(["folders"], nargs=-1, required=True),
            click.Option(
                ["--min-age"],
                type=click.FloatRange(0),
                default=24.0,
                show_default=True,
                help="hours; younger files may be of a unit that is being committed",
            ),
            click.Option(["--dry-run"], is_flag=True, help="only say what would be removed"),
            JSON,
        ],
    )


def sample_command() -> click.Command:
    def sample(output: str, as_json: bool, **options: Any) -> int:
        import dataclasses
        from pathlib import Path

        from corpus.sample.make import write_sample

        summary = write_sample(Path(output), **options)
        click.echo(str(summary), err=True)
        if as_json:
            click.echo(json.dumps(dataclasses.asdict(summary), indent=1, default=str))
        return 0

    options: list[click.Parameter] = [
        OUTPUT,
        click.Option(["--pages"], type=click.IntRange(1), help="documentation pages [default: 2000]"),
        click.Option(["--shards"], type=click.IntRange(1), default=2, show_default=True, help="WARC files"),
        click.Option(["--seed"], type=int, default=1, show_default=True, help="another seed, another sample"),
        JSON,
    ]
    return make_command(
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

        from corpus.commands.console import FetchProgress, say
        from corpus.config import check
        from corpus.crawl.download import FetchError, Forbidden
        from corpus.crawl.fetch import fetch

        try:
            config = check(FetchConfig(**{name.partition("__")[2]: value for name, value in settings.items()}))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
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

    from corpus.commands.flags import config_options
    from corpus.crawl.fetch import FetchConfig

    return make_command(
        fetch,
        """Download whole WARC files of a Common Crawl dump, some 1 GB each; what is cut off resumes.

        CRAWL is a name like CC-MAIN-2026-43.

        \b
        corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/
        corpus fetch CC-MAIN-2026-43 --sample 10 --seed 7 -o crawl/
        corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/ --base http://mirror.example/
        """,
        [click.Argument(["crawl"]), OUTPUT, *config_options("fetch", FetchConfig), JSON],
    )
