"""The subcommand of `corpus` that keeps good documents: the quality rules, and a classifier."""

from __future__ import annotations

import itertools
from typing import Any

import click

from corpus.commands.stages import (
    bare_recipe,
    documents_command,
    documents_source,
    execute,
    given_option,
    stage_command,
    stage_steps,
)


def filter_command() -> click.Command:
    from corpus.stage import stages_of

    offered = stages_of("filter")

    def filter_(inputs: tuple[str, ...], output: str, recipe: str | None, only: tuple[str, ...], **flags: Any) -> int:
        stages = [stage for stage in offered if stage != "classifier" or _wanted("classifier", recipe) or stage in only]
        steps = stage_steps(tuple(stages), recipe, own=True)
        known = [step.stage for step in steps]
        if wrong := [name for name in only if name not in known]:
            raise click.UsageError(f"--only {wrong[0]}: should be one of {', '.join(known)}")
        steps = [step for step in steps if not only or step.stage in only]
        *before, last = steps
        if not last.contract.barrier_of(last.config):
            return documents_command("filter", steps, inputs, output, flags)
        return _best_command(before, last, inputs, output, flags)

    only = click.Option(["--only"], multiple=True, metavar="STAGE", help="run just this stage (repeatable)")
    return stage_command(
        filter_,
        offered,
        """Quality rules: Gopher repetition, Gopher quality, C4, FineWeb, with their published constants; a classifier.

        INPUT is the output folder of an earlier command. A threshold that is "off" drops nothing. The classifier runs
        where --classifier names a model, after the rules; with --keep-top, what is found out on the way is kept below
        OUTPUT/_scores. With --recipe, the stages are those that the recipe names, in its order, with its own rules:
        [loud] with module = "loud" asks loud.py in this folder.

        \b
        corpus filter docs/ -o filtered/
        corpus filter docs/ -o filtered/ --only gopher_quality --min-words 30 --max-hash-ratio off
        corpus filter docs/ -o filtered/ --recipe mine.toml
        corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-above 0.5
        corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-top 10%
        """,
        only,
    )


def _best_command(
    before: list[Any], classifier: Any, inputs: tuple[str, ...], output: str, flags: dict[str, Any]
) -> int:
    """The share of the best, of all documents or of what the stages before leave."""
    from corpus.classifier.passes import score_passes
    from corpus.pipeline import documents_pass, source_keys
    from corpus.run.barrier import BarrierJob

    source = documents_source("filter", inputs)
    keys, plans = source_keys(source), []
    documents = source.dataset
    if before:
        documents = f"{output}/_scores/filtered"
        plans.append(documents_pass("filter", source, keys, before, documents, bare_recipe(before, flags)))
    job = BarrierJob(documents, keys, bare_recipe([classifier], flags), f"{output}/_scores", flags["share"])
    return execute(itertools.chain(plans, score_passes(job, [classifier], output)), flags)


def _wanted(stage: str, recipe: str | None) -> bool:
    """Whether a setting of a stage that not every call has is on the command line, or the recipe has the stage."""
    from corpus.run.recipe import load_recipe

    if given_option(f"{stage}__"):
        return True
    try:
        return recipe is not None and load_recipe(recipe).config(stage) is not None
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
