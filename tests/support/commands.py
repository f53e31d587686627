"""The commands of the three programs, found by walking their groups."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache

import click

PROGRAMS = ("corpus", "bpe", "model")


@cache
def commands() -> tuple[tuple[str, ...], ...]:
    """The words of every command that is not a group, such as ("corpus", "classify", "train")."""
    return tuple(words for program in PROGRAMS for words in _below(_group(program), (program,)))


def _group(program: str) -> click.Group:
    names = vars(importlib.import_module(f"{program}.cli"))
    (group,) = [value for value in names.values() if isinstance(value, click.Group)]
    return group


def _below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield words
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below, (*words, name)
        yield from _below(below, (*words, name))
