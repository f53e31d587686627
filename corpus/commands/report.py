"""`corpus report`: how many documents each stage and rule kept and dropped."""

from __future__ import annotations

import json

import click

from bpe.terminal.help import FILES, command, json_option
from bpe.terminal.text import in_colour, say
from corpus.commands.common import folders_argument


@command()
@folders_argument
@FILES.option("--model", "training", metavar="RUN", show_default="FOLDER/model", help="training run to show as well")
@json_option
def report(folders: tuple[str, ...], training: str | None, as_json: bool) -> int:
    """Show how many documents each stage and rule dropped, and write report.html into the last folder.

    Examples:
      corpus report out/
      corpus report docs/ filtered/ unique/ clean/ --json

    FOLDERS are the output of corpus run, or the outputs of single commands in their order.
    """
    from corpus.report.estimate import estimate, estimate_json, estimate_text
    from corpus.report.funnel import funnel_json, funnel_text
    from corpus.report.gather import write_report

    path, funnel = write_report(folders, training)
    if as_json:
        click.echo(json.dumps(funnel_json(funnel) | {"prescreen": estimate_json(estimate(funnel))}, indent=1))
    else:
        click.echo(funnel_text(funnel, color=in_colour()), nl=False)
        if lost := estimate(funnel):
            click.echo(estimate_text(lost))
    say(f"report: {path}")
    return 1 if funnel.errors else 0
