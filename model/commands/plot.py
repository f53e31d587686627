"""`model plot`: runs side by side on one HTML page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bpe.terminal.help import FILES, command, json_option
from model.commands.common import PATH


@command()
@click.argument("runs", type=PATH, nargs=-1, required=True)
@FILES.option(
    "-o", "--output", type=PATH, default="plot.html", show_default=True, help="page to write, replaced if it exists"
)
@json_option
def plot(runs: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Compare runs on one HTML page: curves, figures, differing settings and samples.

    Examples:
      model plot runs/first
      model plot runs/lr-1e-3 runs/lr-3e-3 -o compared.html

    The page needs no network and no server. Runs may still be training; call again for a newer page.
    """
    from model.history import read_runs
    from model.plot import summary, write_page

    histories = read_runs(runs)
    write_page(histories, output)
    click.echo(json.dumps(summary(histories, output), ensure_ascii=False) if as_json else str(output))
