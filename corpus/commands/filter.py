"""`corpus filter`: keeps the documents that pass quality rules and a classifier."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import click

from bpe.terminal.help import FILES, command
from corpus.commands.common import (
    bare_recipe,
    columns_of,
    columns_options,
    dataset_of,
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
@FILES.option("--only", multiple=True, metavar="STAGE", help=f"run only this stage: {', '.join(STAGES)} (repeatable)")
@documents_options(*STAGES)
@columns_options
def filter_(inputs: tuple[str, ...], output: str, recipe: str | None, only: tuple[str, ...], **flags: Any) -> int:
    """Keep good documents: rules of Gopher, C4 and FineWeb with their published constants, and a classifier.

    Examples:
      corpus filter docs/ -o filtered/
      corpus filter docs/ -o filtered/ --only gopher_quality --min-words 30 --max-hash-ratio off
      corpus filter docs/ -o filtered/ --recipe mine.toml
      corpus filter mine.jsonl.zst -o filtered/ --text-column content --id-column uid
      corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-above 0.5
      corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-top 10%

    INPUTS are the output folder of an earlier command, or files of your own: Parquet, JSON lines, CSV, text, or folders
    and patterns of them. A threshold that is "off" drops nothing. The classifier runs after the rules, if --classifier
    names its model; with --keep-top, OUTPUT/_scores keeps the scores. With --recipe, the stages of the recipe run in
    its order, including rules of your own: for a table [loud] with module = "loud", loud.py in this folder decides.
    """
    from corpus.pipeline import barrier_of

    stages = [stage for stage in STAGES if _runs_by_default(stage) or _wanted(stage, recipe) or stage in only]
    steps = stage_steps(tuple(stages), recipe, own=True)
    known = [step.stage for step in steps]
    if wrong := [name for name in only if name not in known]:
        choices = dict.fromkeys((*STAGES, *known))
        raise click.UsageError(f"--only {wrong[0]}: should be one of {', '.join(choices)}")
    steps = [step for step in steps if not only or step.stage in only]
    if early := next((step for step in steps[:-1] if barrier_of(step)), None):
        raise click.UsageError(f"[{early.stage}] needs all documents: make it the last stage, or use corpus run")
    if not barrier_of(steps[-1]):
        return documents_command("filter", steps, inputs, output, flags)
    return _keep_top(steps[:-1], steps[-1], inputs, output, flags)


def _keep_top(before: list[Any], last: Any, inputs: tuple[str, ...], output: str, flags: dict[str, Any]) -> int:
    """Run the stages before the last one, then the last one, which needs the scores of all documents."""
    from corpus.inputs import check_added, source_keys, with_languages
    from corpus.pipeline import barrier_of, documents_pass
    from corpus.run.barrier import BarrierJob

    plans: Iterable[Any]
    if before:
        source = documents_source("filter", inputs, output, columns_of(flags))
        check_added(source, [*before, last])
        keys, documents = source_keys(source), f"{output}/_scores/filtered"
        before = list(with_languages(source, before))
        plans = [documents_pass("filter", source, keys, before, documents, bare_recipe(before, flags))]
    else:
        documents, keys, plans, _ = dataset_of("filter", inputs, output, flags, [last])
    job = BarrierJob(documents, keys, bare_recipe([last], flags), f"{output}/_scores", flags["share"])
    barrier = barrier_of(last)
    assert barrier is not None
    return execute(itertools.chain(plans, barrier.passes(job, [last], output)), flags)


def _runs_by_default(stage: str) -> bool:
    """Whether the stage can run with its defaults; the classifier cannot, because it has no model."""
    from corpus.run.recipe import make_step

    try:
        make_step(stage)
    except ValueError:
        return False
    return True


def _wanted(stage: str, recipe: str | None) -> bool:
    """Whether a setting of the stage is on the command line, or the recipe has the stage."""
    from corpus.run.recipe import load_recipe

    if given_option(f"{stage}__"):
        return True
    try:
        return recipe is not None and load_recipe(recipe).config(stage) is not None
    except (ValueError, FileNotFoundError) as error:
        raise click.UsageError(str(error)) from None
