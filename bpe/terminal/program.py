"""A program of subcommands: a table says where each lives, and one place turns errors into lines and exit codes.

`corpus`, `bpe` and `model` are a `Program` each. To add a command, write its function under `<package>/commands/` and
give it a line in the table of `<package>/cli.py`:

    "extract": ("corpus.commands.extract:extract", "WARC files -> documents."),

The module is imported when the command is called, so that `--help` of the program answers at once.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 4 a server forbids to go on, 130 interrupted. Data and
summaries in JSON go to standard output, everything else to standard error. An error is one line, `corpus: ...`, which
names the file and the fix (`bpe.terminal.failures`).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from bpe.terminal.failures import OURS, said, unexpected
from bpe.terminal.help import Context, verbatim_examples, write_options
from bpe.terminal.text import say

DISTRIBUTION = "corpus-toolkit"
FAILED, WRONG_USAGE, FORBIDDEN, INTERRUPTED = 1, 2, 4, 130
_AGAIN = 0.5  # seconds
_NO_FIX = (click.MissingParameter, click.NoSuchOption, click.BadOptionUsage, click.BadArgumentUsage)

Table = Mapping[str, tuple[str, str]]  # name -> (module:function, one line of help)


class Forbidden(click.ClickException):
    """A server forbids to go on: exit code 4."""

    exit_code = FORBIDDEN


class Commands(click.Group):
    """A group that finds its commands through a table and imports a command's module when it is called."""

    context_class = Context

    def __init__(self, name: str, table: Table, *, help: str, **attributes: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"]}
        super().__init__(name, help=verbatim_examples(help), context_settings=settings, **attributes)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, function = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.table and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}; choose one of {', '.join(self.table)}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            say(ctx.get_help())
            ctx.exit(WRONG_USAGE)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.table.items()])
        write_options(self.get_params(ctx), ctx, formatter)


class Program(Commands):
    """A whole program; calling it is the entry point.

    `extra` is the part of the distribution that brings the program's packages (`[model]`). `signals` become
    KeyboardInterrupt, as Ctrl-C is; SIGTERM is Ctrl-C from a machine. A command that says what Ctrl-C leaves behind
    raises KeyboardInterrupt with that text. `start` is called before a command runs.
    """

    def __init__(
        self,
        name: str,
        table: Table,
        *,
        help: str,
        extra: str = "",
        signals: Sequence[signal.Signals] = (signal.SIGTERM,),
        start: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(name, table, help=help, callback=start)
        click.version_option(package_name=DISTRIBUTION, prog_name=name)(self)
        self.extra = extra
        self.signals = signals

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command in `args` (default: the process's) and exit; if not `standalone_mode`, return its value."""
        if not standalone_mode:
            return super().main(args, self.name, standalone_mode=False, **extra)
        for number in self.signals:
            signal.signal(number, signal.default_int_handler)
        sys.unraisablehook = _interrupt_again
        sys.exit(self._exit_code(args, extra))

    def _exit_code(self, args: Sequence[str] | None, extra: dict[str, Any]) -> int:
        try:
            return super().main(args, self.name, standalone_mode=False, **extra) or 0
        except click.ClickException as error:
            return self._end(_explained(error), error.exit_code)
        except (click.Abort, KeyboardInterrupt) as error:
            cause = error.__cause__ if isinstance(error, click.Abort) else error
            if isinstance(cause, EOFError):  # which click takes for Ctrl-D; none of our commands asks a person
                return self._end(unexpected(cause, f"{self.name}"), FAILED)
            return self._end(str(cause or "") or "interrupted", INTERRUPTED)
        except BrokenPipeError:  # whoever read the output has left: `corpus records a.warc.gz | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except Exception as error:  # noqa: BLE001 - the last net: a line, and the traceback in a file
            return self._end(self._missing(error) or said(error) or unexpected(error, f"{self.name}"), FAILED)

    def _missing(self, error: Exception) -> str | None:
        """The line for a package of others that is not installed; None for every other exception."""
        if not isinstance(error, ModuleNotFoundError) or not error.name or error.name.partition(".")[0] in OURS:
            return None
        return f"{error.name} is not installed; pip install '.{self.extra}' brings what {self.name} needs"

    def _end(self, message: str, code: int) -> int:
        say(f"{self.name}: {' '.join(line.strip() for line in message.splitlines())}")
        return code


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _explained(error: click.ClickException) -> str:
    """click's message; where it names what is wrong but no fix, the way to the list of options too."""
    message = error.format_message()
    no_fix = isinstance(error, _NO_FIX) or message.startswith("Got unexpected extra argument")
    if no_fix and isinstance(error, click.UsageError) and error.ctx:
        end = "" if message.endswith((".", "?")) else "."
        return f"{message}{end} See {error.ctx.command_path} --help."
    return message


def _interrupt_again(error: sys.UnraisableHookArgs) -> None:
    """Python drops an exception that comes up in a callback, such as a finalizer. Ctrl-C there must not be lost."""
    if error.exc_type is KeyboardInterrupt:
        threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGINT)).start()  # when the callback has returned
    else:
        sys.__unraisablehook__(error)
