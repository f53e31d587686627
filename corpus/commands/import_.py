"""`corpus import`: anybody's documents -> one dataset of documents."""

from __future__ import annotations

from typing import Any

import click

from bpe.terminal.help import command, json_option
from corpus.commands.common import (
    check_apart,
    columns_of,
    columns_options,
    execute,
    inputs_argument,
    keep_text_option,
    output_option,
    say_left_out,
    work_options,
)


@command("import")
@inputs_argument
@output_option
@keep_text_option
@columns_options
@work_options
@json_option
def import_(inputs: tuple[str, ...], output: str, **flags: Any) -> int:
    """Make one dataset of documents from Parquet, JSON lines, CSV, text, WARC files and datasets of ours.

    Examples:
      corpus import fineweb/ -o docs/
      corpus import 'books/*.txt' papers.csv dump.warc.gz -o docs/ --map url=link --keep-columns
      corpus import dump.txt -o docs/ --split '<|endoftext|>'

    INPUTS are files, folders with all that is below them, and patterns. A row without an id gets one, made of its file
    and its place there. The text of WARC files is extracted with the defaults of corpus extract. The other commands
    read such files too: import them if several commands should, or to join them.
    """
    from corpus.inputs import find_sources
    from corpus.pipeline import joined_passes

    check_apart(inputs, output)
    sources = find_sources(inputs, columns_of(flags))
    for source in sources:
        say_left_out(source)
    try:
        plans = joined_passes(sources, output, flags["share"], flags["keep_dropped_text"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return execute(plans, flags)
