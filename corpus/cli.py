"""The `corpus` command: a subcommand a stage, plus run and report.

Commands are made when they are called, so that `corpus --help` loads no stage. Exit codes: 0 done, 1 failed,
2 wrong usage or settings, 4 a server forbids us to go on, 130 interrupted.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterable

import click

from corpus import __version__

COMMANDS = {
    "sample": "Write a small crawl made on this machine, to try everything on.",
    "records": "What is in a WARC file, whether it is whole, and one record of it.",
    "fetch": "Download WARC files of a Common Crawl dump.",
    "optout": "What hosts say about use for AI, from a crawl's robots records.",
    "extract": "WARC files -> documents: URL filter, text extraction, language ID.",
    "filter": "Documents -> documents: quality rules, a classifier.",
    "classify": "Train a classifier of good texts, for filter.",
    "dedup": "Documents -> documents: exact and MinHash deduplication.",
    "decontaminate": "Documents -> documents: without what benchmarks ask.",
    "scrub": "Documents -> documents: mask personal data.",
    "mix": "Documents by weights of sources, languages or scores.",
    "tokenize": "Documents -> token shards.",
    "clusters": "Why a page was dropped, and who its twins are.",
    "run": "A whole recipe in one command, fused and resumable.",
    "verify": "Check every committed file: rows, checksums, accounts.",
    "gc": "Remove what no commit record names.",
    "report": "The funnel: read, kept, dropped by rule; and report.html.",
}


OUTPUT = click.Option(
    ["-o", "--output"],
    required=True,
    metavar="DIR",
    help="folder to write to",
    callback=lambda context, option, value: value.rstrip("/") or "/",
)
JSON = click.Option(["--json", "as_json"], is_flag=True, help="a summary as JSON on stdout")


def make_command(callback: Callable[..., int], help: str, params: Iterable[click.Parameter]) -> click.Command:
    name = callback.__name__.rstrip("_")
    return click.Command(name, callback=callback, help=inspect.cleandoc(help), params=list(params))


class _Lazy(click.Group):
    """A group that knows its commands' names, and makes the one that is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from corpus.commands import around as commands_around
        from corpus.commands import classify as commands_classify
        from corpus.commands import clusters as commands_clusters
        from corpus.commands import filter as commands_filter
        from corpus.commands import optout as commands_optout
        from corpus.commands import records as commands_records
        from corpus.commands import select as commands_select
        from corpus.commands import stages as commands

        maker = f"{name}_command"
        modules = (
            *(commands, commands_around, commands_classify, commands_clusters, commands_filter),
            *(commands_optout, commands_records, commands_select),
        )
        command: click.Command = getattr(next(module for module in modules if hasattr(module, maker)), maker)()
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="corpus")
def cli() -> None:
    """From Common Crawl to clean, deduplicated, tokenized Parquet shards.

    \b
    corpus run recipes/fineweb.toml --input 'crawl/*.warc.gz' -o out/
    corpus report out/
    """


def main() -> None:
    """Entry point: errors become one line and an exit code."""
    for signum in (signal.SIGINT, signal.SIGTERM):  # SIGTERM is Ctrl-C from a machine; also where SIGINT was ignored
        signal.signal(signum, signal.default_int_handler)
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        click.echo(f"corpus: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("corpus: interrupted; committed units are kept, the same command goes on from there", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        click.echo(
            f"corpus: {error.name} is not installed; pip install '.[data]' brings what the data side needs",
            err=True,
        )
        sys.exit(1)
    except (ValueError, OSError) as error:
        click.echo(f"corpus: {error}", err=True)
        sys.exit(1)
