"""`corpus run`: a whole recipe, from WARC files to token shards."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from corpus.commands.common import (
    check_apart,
    columns_of,
    columns_options,
    execute,
    index_options,
    keep_text_option,
    output_option,
    partition_memory_option,
    work_options,
)

RECIPE = Heading("Changes of the recipe")


@command()
@click.argument("recipe")
@FILES.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    help="WARC files or documents: a file, pattern, folder (repeatable)",
)
@output_option
@keep_text_option
@RECIPE.option("--language", multiple=True, help="language to keep, or all, instead of the recipe's (repeatable)")
@RECIPE.option("--lid-model", metavar="FILE", help="lid.176.bin or lid.176.ftz of fastText, instead of the recipe's")
@RECIPE.option("--no-prescreen", is_flag=True, help="extract every page, whatever language it seems to be in")
@RECIPE.option("--set", "changes", multiple=True, metavar="STAGE.SETTING=VALUE", help="change a setting (repeatable)")
@index_options
@partition_memory_option
@columns_options
@work_options
@json_option
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
    """Run a whole recipe: WARC files or documents -> clean documents, a vocabulary and token shards.

    Examples:
      corpus run recipes/fineweb.toml --input 'crawl/*.warc.gz' -o out/
      corpus run recipes/fineweb.toml --input crawl/ -o out/ --set language.threshold=0.5
      corpus run recipes/fineweb-text.toml --input fineweb/ -o out/
      corpus run recipes/fineweb.toml --input crawl/ -o out/ --units 3/100 --wait 60
      corpus run recipes/fineweb.toml --input s3://bucket/crawl/ -o s3://bucket/out --engine ray

    A run that was interrupted goes on when the command is repeated.
    """
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
    check_apart(inputs, output)
    if not loaded.steps and not loaded.tokenizer:
        raise click.UsageError(f"{recipe}: names no stage, so nothing can run; add one, such as [extract]")
    options = {"dedup": IndexOptions(flags["against"], flags["update_index"])}
    if flags["keep_dropped_text"]:
        loaded = dataclasses.replace(loaded, keep_dropped_text=True)
    plans = passes(loaded, inputs, output, flags["share"], flags["memory"], options, columns_of(flags))
    return execute(plans, flags, report=output)
