"""`corpus dedup`: drops copies of documents, and lines that many documents have."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import click

from bpe.terminal.help import Command
from corpus.commands.common import (
    DUPLICATES,
    bare_recipe,
    columns_options,
    dataset_of,
    documents_options,
    execute,
    given_option,
    index_options,
    partition_memory_option,
    stage_steps,
)

_MATCHES = ("folded", "numbers", "exact")


class _Dedup(Command):
    """The command, whose option --lines may have a value: `--lines` alone, or `--lines exact`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bare = [arg == "--lines" and following not in _MATCHES for arg, following in itertools.pairwise([*args, ""])]
        return super().parse_args(ctx, ["--lines=" if alone else arg for arg, alone in zip(args, bare, strict=True)])


@click.command(cls=_Dedup)
@index_options
@DUPLICATES.option(
    "--lines",
    type=click.Choice(("", *_MATCHES)),
    metavar="[exact]",
    help="then remove lines that many of the remaining documents have; --lines exact: compare all their bytes",
)
@DUPLICATES.option(
    "--labels-only", is_flag=True, help="instead of documents, write a row for each: kept, or whose duplicate it is"
)
@documents_options("dedup", "lines")
@columns_options
@partition_memory_option
def dedup(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
    """Drop copies: equal texts, and near-duplicates that MinHash finds and a comparison verifies.

    Examples:
      corpus dedup docs/ -o unique/
      corpus dedup docs/ -o unique/ --preset fineweb
      corpus dedup docs/ -o unique/ --threshold 0.8 --keep score:language_score
      corpus dedup new/ -o unique-new/ --against index/ --update-index
      corpus dedup docs/ -o labels/ --labels-only
      corpus dedup docs/ -o unique/ --lines
      corpus dedup docs/ -o unique/ --lines exact
      corpus dedup 'fineweb/**/*.parquet' -o unique/

    A document is dropped only if it is itself similar enough to one that stays. OUTPUT/_dedup keeps the intermediate
    results, such as signatures and decisions.
    """
    from corpus.dedup.lines.passes import lines_passes
    from corpus.dedup.passes import check_score, dedup_passes
    from corpus.dedup.published import IndexOptions
    from corpus.run.barrier import BarrierJob

    wanted: str | None = flags["lines"]
    if wanted is not None and flags["labels_only"]:
        raise click.UsageError("give --labels-only or --lines, not both: labels are about whole documents")
    if wanted is None and (given := given_option("lines__")):
        raise click.UsageError(f"{given}: is a setting of --lines; say --lines as well")
    if wanted and given_option("lines__match"):
        raise click.UsageError(f"give --lines {wanted} or --line-match, not both")
    dedup, lines = stage_steps(("dedup", "lines"), recipe)
    if wanted:
        lines = lines._replace(config=dataclasses.replace(lines.config, match=wanted))
    documents = dataset_of("dedup", inputs, output, flags, [dedup] if wanted is None else [dedup, lines])
    if documents.source.files:
        check_score(documents.source.files.schema, dedup.config)
    job = BarrierJob(
        documents.dataset,
        documents.keys,
        bare_recipe([dedup], flags),
        f"{output}/_dedup",
        flags["share"],
        flags["memory"],
        IndexOptions(flags["against"], flags["update_index"], flags["labels_only"]),
    )
    if wanted is None:
        return execute(itertools.chain(documents.passes, dedup_passes(job, [dedup], output)), flags)
    unique = f"{output}/_dedup/unique"
    plans = (
        documents.passes,
        dedup_passes(job, [dedup], unique),
        lines_passes(dataclasses.replace(job, documents=unique), [lines], output),
    )
    return execute(itertools.chain(*plans), flags)
