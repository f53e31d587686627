"""The options that several commands of `model` have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bpe.terminal.help import WORK

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def device_name(text: str) -> str:
    """The name of a device: auto, cpu, cuda or cuda:N."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise click.BadParameter(f"device = {text!r}: should be auto, cpu or cuda")
    return text


device_option = WORK.option(
    "--device",
    type=device_name,
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto (CUDA if there is a GPU), cpu or cuda",
)
run_argument = click.argument("run", type=PATH)


@contextmanager
def usage() -> Iterator[None]:
    """Makes a ValueError in the body, which names an option and the fix, an error of usage: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
