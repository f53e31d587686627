"""`corpus filter`: keeps the documents that pass quality rules and a classifier."""

from __future__ import annotations

import itertools
from typing import Any

import click

from bpe.terminal.help import FILES, command
from corpus.commands.common import (
    bare_recipe,
    documents_command,
    documents_options,
    documents_source,
    execute,
    given_option,
    stage_steps,
)
from corpus.stage import stages_of

STAGES = stages_of("filter")


@command("filter")
@FILES.option("--only", multiple=True, metavar="STAGE", help="run this stage alone (repeatable)")
@documents_options(*STAGES)
def filter_(inputs: tuple[str, ...], output: str, recipe: str | None, only: tuple[str, ...], **flags: Any) -> int:
    """Keep good documents: rules of Gopher, C4 and FineWeb with their published constants, and a classifier.

    Examples:
      corpus filter docs/ -o filtered/
      corpus filter docs/ -o filtered/ --only gopher_quality --min-words 30 --max-hash-ratio off
      corpus filter docs/ -o filtered/ --recipe mine.toml
      corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-above 0.5
      corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-top 10%

    INPUTS are the output folder of an earlier command. A threshold that is "off" drops nothing. The classifier runs
    after the rules, if --classifier names its model; with --keep-top, OUTPUT/_scores keeps the scores. With --recipe,
    the stages of the recipe run in its order, including rules of your own: for a table [loud] with module = "loud",
    loud.py in this folder decides.
    """
    stages = [stage for stage in STAGES if stage != "classifier" or _wanted("classifier", recipe) or stage in only]
    steps = stage_steps(tuple(stages), recipe, own=True)
    known = [step.stage for step in steps]
    if wrong := [name for name in only if name not in known]:
        raise click.UsageError(f"--only {wrong[0]}: should be one of {', '.join(known)}")
    steps = [step for step in steps if not only or step.stage in only]
    *before, last = steps
    if not last.contract.barrier_of(last.config):
        return documents_command("filter", steps, inputs, output, flags)
    return _keep_top(before, last, inputs, output, flags)


def _keep_top(before: list[Any], classifier: Any, inputs: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    """Keep the documents of the highest scores, among those that the stages before the classifier keep."""
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
    """Whether a setting of the stage is on the command line, or the recipe has the stage."""
    from corpus.run.recipe import load_recipe

    if given_option(f"{stage}__"):
        return True
    try:
        return recipe is not None and load_recipe(recipe).config(stage) is not None
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
