"""`corpus export`: a corpus as few large files, with a card and checksums."""

from __future__ import annotations

import difflib
import json
import shlex
import sys
from pathlib import PurePosixPath
from typing import Any

import click

from bpe.terminal.help import FILES, SIZE, Heading, command, json_option
from bpe.terminal.text import counted, megabytes, say
from corpus.commands.common import check_apart, output_option
from corpus.export import FORMATS, load_format

LAYOUT = Heading("Files")
CARD = Heading("Card")


@command()
@click.argument("dataset")
@output_option
@FILES.option(
    "--to",
    type=click.Choice(list(FORMATS)),
    default="parquet",
    show_default=True,
    help="; ".join(f"{name}: {listed.about}" for name, listed in FORMATS.items()),
)
@LAYOUT.option(
    "--file-size",
    type=SIZE,
    metavar="SIZE",
    show_default="500MB",
    help="size of a file, roughly: the bytes that its rows take in the dataset",
)
@LAYOUT.option("--row-group", type=click.IntRange(1), default=1024, show_default=True, help="rows of a row group")
@LAYOUT.option("--columns", metavar="NAME,...", show_default="all", help="the columns to export")
@CARD.option("--name", metavar="TEXT", show_default="the last part of DIR", help="name of the corpus")
@CARD.option("--licence", "--license", metavar="ID", help="licence of the corpus, as the Hub names it: odc-by")
@json_option
def export(
    dataset: str,
    output: str,
    to: str,
    file_size: int | None,
    row_group: int,
    columns: str | None,
    name: str | None,
    licence: str | None,
    as_json: bool,
) -> int:
    """Write a dataset, or the documents of a run, as few large files with a card and checksums.

    Examples:
      corpus export out/ -o hf/ --licence odc-by --name "My corpus"
      corpus export out/clean -o hf/ --file-size 1GB --columns text,url,language
      corpus export out/ -o dolma/ --to dolma
      corpus export out/ -o megatron/ --to megatron

    README.md is the card: how the corpus was made, what was dropped and why, how to load it. SHA256SUMS has the
    checksum of every file. An export that was interrupted goes on when the command is repeated.
    """
    from corpus.export.source import find_source
    from corpus.export.write import FILE_SIZE, Plan
    from corpus.export.write import export as write

    form = load_format(to)
    if file_size and not form.splits:
        raise click.UsageError(f"--file-size: {to} is one file of ids; leave it out")
    _check_licence(licence)
    folder = dataset.rstrip("/") or "/"
    check_apart((folder,), output)
    source = find_source(folder, form.kinds)
    check_apart((source.dataset.path,), output)
    plan = Plan(
        to,
        name or PurePosixPath(output).name,
        licence or "",
        tuple(part.strip() for part in columns.split(",")) if columns else (),
        file_size or FILE_SIZE,
        row_group,
        shlex.join(["corpus", *sys.argv[1:]]),
    )
    done = write(source, plan, output, say)
    before = f", {counted(done.before, 'file')} written before" if done.before else ""
    say(f"export: {done.rows:,} documents, {counted(done.files, 'file')}, {megabytes(done.bytes)} -> {output}{before}")
    if not licence:
        say("export: the card states no licence; --licence ID states one")
    if as_json:
        summary: dict[str, Any] = {"output": output, "to": to, "licence": licence, **done._asdict()}
        click.echo(json.dumps(summary, indent=1))
    return 0


def _check_licence(licence: str | None) -> None:
    """Raises UsageError for a licence that the Hub does not know, naming the nearest ones."""
    from corpus.export.card import LICENCES

    if licence is None or licence in LICENCES:
        return
    near = difflib.get_close_matches(licence.lower(), sorted(LICENCES), 3) or ["odc-by", "cc-by-4.0", "other"]
    raise click.UsageError(
        f"--licence {licence}: the Hub does not know this licence; use its identifier, such as {', '.join(near)}"
    )
