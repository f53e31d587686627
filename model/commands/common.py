"""The options that several commands of `model` have."""

from __future__ import annotations

from pathlib import Path

import click

from bpe.terminal.help import WORK

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

device_option = WORK.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="auto (CUDA if there is a GPU), cpu or cuda"
)
run_argument = click.argument("run", type=PATH)
