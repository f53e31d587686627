"""How a help page looks: one sentence, examples, description, then the options under headings.

The page comes from the docstring of the command's function and from the headings that its options were made with:

    FILES = Heading("Input and output")

    @command()
    @FILES.option("-o", "--output", required=True, help="folder to write")
    def extract(output: str) -> int:
        \"\"\"Make documents of the pages of WARC files.

        Examples:
          corpus extract crawl/ -o docs/

        Pages that ...
        \"\"\"

Lines are up to 100 characters long: on a terminal of that width a setting with its help and default is one line.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

import click

from bpe.terminal.text import size_of
from bpe.whole import address_fault

WIDTH = 100  # characters of a line
_TERM = 36  # characters of an option and its value beside which its help still begins
_VALUE_NAMES = {"integer": "N", "integer range": "N", "float": "X", "float range": "X", "text": "TEXT"}

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


class Page(click.HelpFormatter):
    """As wide as the terminal, up to WIDTH; WIDTH where there is no terminal."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = shutil.get_terminal_size((WIDTH, 24)).columns
        super().__init__(indent_increment, width or min(columns, WIDTH), max_width)


class Context(click.Context):
    formatter_class = Page


class Command(click.Command):
    """A command whose help page is laid out as above."""

    context_class = Context

    def __init__(self, name: str | None, *, help: str | None = None, **attributes: Any) -> None:
        super().__init__(name, help=verbatim_examples(help), **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self.get_params(ctx), ctx, formatter)


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """A decorator that makes a command of a function. Its return value, if it has one, is the exit code."""
    return click.command(name, cls=Command)


def verbatim_examples(help: str | None) -> str | None:
    """Keeps the lines of the examples as they are; click would fill them up (a paragraph after \\b it leaves alone)."""
    return help and re.sub(r"^Examples:$", "\b\nExamples:", inspect.cleandoc(help), count=1, flags=re.MULTILINE)


def write_options(params: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Writes options under their headings: input and output first, then in the order of the options.

    An option without a heading (--help) is listed under the last one.
    """
    sections: dict[str, list[tuple[str, str]]] = {}
    others = []
    for param in params:
        record = None if isinstance(param, click.Argument) else param.get_help_record(ctx)
        if record and isinstance(param, Option):
            sections.setdefault(param.heading, []).append(record)
        elif record:
            others.append(record)
    titles = sorted(sections, key=lambda title: title != FILES.title) or ["Options"]
    sections.setdefault(titles[-1], []).extend(others)
    for title in titles:
        with formatter.section(title):
            formatter.write_dl(sections[title], col_max=_TERM)


class Option(click.Option):
    """An option that knows the heading under which help lists it.

    Its first long name is shown; further long names are older ones, which still work.
    """

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading
        if self.name == "output" and self.callback is None:
            self.callback = local_only

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        if self.hidden:
            return None
        short = [name for name in self.opts if not name.startswith("--")]
        long = [name for name in self.opts if name.startswith("--")][:1]
        names = ", ".join(short + long)
        if self.secondary_opts:
            names = names.replace("--", "--[no-]", 1)
        value = "" if self.is_flag or self.count else f" {_value_name(self)}"
        return names + value, f"{self.help or ''}{_note(self)}".strip()


def local_only(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """The value of an option that names what to write. Raises BadParameter for an address, such as s3://bucket."""
    if value is not None and (fault := address_fault(value)):
        raise click.BadParameter(fault, context, option)
    return value


def _value_name(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    if isinstance(option.type, click.Path):
        return "PATH"
    return _VALUE_NAMES.get(option.type.name, option.type.name)


def _note(option: click.Option) -> str:
    """What stands in brackets after the help: that the option is required, or its default."""
    if option.required:
        return "  [required]"
    shown = option.show_default if isinstance(option.show_default, str) else _default(option)
    return f"  [default: {shown}]" if option.show_default and shown else ""


def _default(option: click.Option) -> str:
    if option.secondary_opts:
        return "on" if option.default else "off"
    return as_text(option.default) if isinstance(option.default, str | int | float | list | tuple) else ""


def as_text(default: Any) -> str:
    """A default as one would type it: 3.0 is 3; the values of a repeatable option are separated by commas."""
    if isinstance(default, list | tuple):
        return ", ".join(map(as_text, default))
    return str(int(default)) if isinstance(default, float) and default.is_integer() else str(default)


class Heading:
    """A heading of a help page; makes the options that are listed under it."""

    def __init__(self, title: str) -> None:
        self.title = title

    def option(self, *names: str, **attributes: Any) -> Decorator[Any]:
        """A decorator that adds an option to a command's function; the attributes are those of click.option."""
        return click.option(*names, cls=Option, heading=self.title, **attributes)


FILES = Heading("Input and output")
WORK = Heading("Work")
json_option = FILES.option("--json", "as_json", is_flag=True, help="print the result as JSON on standard output")


def together(*decorators: Decorator[Any]) -> Decorator[Any]:
    """One decorator of several: what it decorates gets their options in this order."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """The value of an option that is a number of bytes, written as 10GB, 4GiB or 500MB."""

    name = "SIZE"

    @overload
    def convert(self, value: None, param: click.Parameter | None, ctx: click.Context | None) -> None: ...
    @overload
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int: ...
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        try:
            return value if value is None or isinstance(value, int) else size_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = Size()
