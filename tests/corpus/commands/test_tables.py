"""The tables of the three programs, and the options that commands get from the settings of stages."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest

import bpe.cli
import corpus.cli
import model.cli
from bpe.terminal.help import WIDTH, Heading, command
from bpe.terminal.program import Program
from corpus.commands.flags import config_from_flags, config_options
from corpus.config import setting
from corpus.stage import STAGES, load_stage, stages_of

PROGRAMS = (bpe.cli.main, corpus.cli.main, model.cli.main)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_every_line_of_a_table_leads_to_its_command(program: Program) -> None:
    context = click.Context(program, info_name=program.name)
    for name in program.table:
        found = program.get_command(context, name)
        assert found is not None
        assert found.name == name
        inside = found.context_class(found, info_name=name, parent=context)
        page = found.get_help(inside)
        long = [line for line in page.splitlines() if len(line) > WIDTH and not line.startswith(f"    {program.name} ")]
        assert not [line for line in long if "&&" not in line and not line.lstrip().startswith(("python", "torchrun"))]
        assert "\b" not in page
        assert page.index("\n  Examples:\n") < page.index("\nInput and output:\n" if "Input" in page else "\nCommands")


def test_every_stage_that_names_a_command_names_one_there_is() -> None:
    commands = {load_stage(name).command for name in STAGES} - {""}
    assert commands <= set(corpus.cli.COMMANDS)
    assert "gopher_quality" in stages_of("filter")


@dataclass(frozen=True)
class Config:
    most: int | None = setting(100, "most words", low=1)
    share: float = setting(0.5, "share of the documents", low=0, high=1)
    kinds: tuple[str, ...] = setting(("a", "b"), "kinds to keep", flag="--kind")
    words: str | None = setting(None, "file of words", path=True)
    strict: bool = setting(True, "drop what is unknown")


@command()
@config_options(Heading("Settings"), Config)
def example(**flags: object) -> None:
    print(config_from_flags(Config, flags))


def test_settings_become_options() -> None:
    page = example.get_help(example.context_class(example, info_name="example"))
    assert page.partition("Settings:\n")[2].splitlines()[:-1] == [
        "  --most 100     most words",
        "  --share 0.5    share of the documents",
        "  --kind TEXT    kinds to keep (repeatable)  [default: a, b]",
        "  --words PATH   file of words",
        "  --[no-]strict  drop what is unknown  [default: on]",
    ]


def test_values_become_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--most", "off", "--kind", "c", "--no-strict"], standalone_mode=False)
    assert capsys.readouterr().out == f"{Config(None, 0.5, ('c',), None, False)}\n"
    with pytest.raises(click.UsageError, match=r"share = 2.0: should be between 0 and 1"):
        example.main(["--share", "2"], standalone_mode=False)
    with pytest.raises(click.BadParameter, match="'many' is not a valid integer, nor off"):
        example.main(["--most", "many"], standalone_mode=False)
