"""Lines for a person: messages on standard error, and numbers, sizes, durations, tables and colours as text.

A page, a dataset or a tokenizer may hold characters that a terminal obeys. Whatever comes from them goes through
`readable`, or `readable_line`, before a person sees it; `say` does this itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import click

BOLD, GREEN, RED, GREY = "1", "32", "31", "2"  # ANSI codes
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

# Control characters but line break and tab (escape sequences begin with one), the direction of writing, line and
# paragraph separators, marks without a shape, and halves of surrogate pairs, which cannot be written in UTF-8.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ud800-\udfff]")


def say(line: str) -> None:
    """Print a `readable` line on standard error: for the person, not for the program that reads standard output."""
    click.echo(readable(line), err=True)


def readable(text: str) -> str:
    """The text with every character that a terminal would obey shown as \\uXXXX; line breaks and tabs stay.

    JSON stays JSON of an equal value: its strings may write any character so.
    """
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def readable_line(text: str) -> str:
    """`readable` text in one line: a line break is shown as \\n, a tab as \\t."""
    return readable(text.replace("\n", "\\n").replace("\t", "\\t"))


def shown(content: str | bytes) -> str | bytes:
    """Text or bytes for standard output: as they are for a program, `readable` where standard output is a terminal."""
    if not sys.stdout.isatty():
        return content
    return readable(content if isinstance(content, str) else content.decode("utf-8", "backslashreplace"))


def size_of(text: str) -> int:
    """Bytes of a size such as 10GB, 4GiB, 1.5M or 4096. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?i?)b?", text.strip().lower())
    if not match or match[2] not in _UNITS or (size := int(float(match[1]) * _UNITS[match[2]])) < 1:
        raise ValueError(f"{text!r} is not a size; write a number of bytes such as 10GB, 4GiB or 500MB")
    return size


def megabytes(size: float) -> str:
    """1234567 -> "1.2 MB"."""
    return f"{size / 1e6:,.1f} MB"


def counted(number: int, noun: str) -> str:
    """(1, "word") -> "1 word"; (2000, "word") -> "2,000 words"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Two units at most: 45s, 3m05s, 1h02m, 4d07h."""
    whole = round(seconds)
    for large, small, size, part in (("d", "h", 86_400, 3_600), ("h", "m", 3_600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size}{large}{whole % size // part:02d}{small}"
    return f"{whole}s"


def table(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Rows of cells -> lines of aligned columns. The first row is the head; `sides` has `<` or `>` for each column.

    A column without any text below its head is left out.
    """
    columns = [
        [f"{cell:{side}{max(map(len, column))}}" for cell in column]
        for column, side in zip(zip(*rows, strict=True), sides, strict=True)
        if any(column[1:])
    ]
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def in_colour() -> bool:
    """Whether standard output is a terminal whose user wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, colours: bool) -> str:
    """`text` in an ANSI style, or as it is where `colours` is false."""
    return f"\x1b[{style}m{text}\x1b[0m" if colours and style else text
