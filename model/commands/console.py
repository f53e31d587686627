"""What the `model` commands share: where lines go, and how an error about input ends a command."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

STOPPED = 130  # exit code after Ctrl-C or SIGTERM

DIRECTORY = click.Path(path_type=Path)


def log(line: str) -> None:
    click.echo(line, err=True)


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors about input, files or the course of training become one line and exit code 1."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, FloatingPointError) as error:
            log(f"error: {error}")
            sys.exit(1)
        except ModuleNotFoundError as error:
            log(f"error: {error.name} is not installed; pip install '.[model]' brings what training needs")
            sys.exit(1)
        except KeyboardInterrupt:
            log("stopped")
            sys.exit(STOPPED)

    return guarded
