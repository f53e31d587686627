"""The settings of stages as options, made from the declarations that also check recipes (corpus.config)."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import click
from click.core import ParameterSource

from bpe.terminal.help import Decorator, Heading, as_text, together
from corpus.config import OFF, check, element_type
from corpus.run.chain import Step
from corpus.run.recipe import in_force, load_recipe, make_step
from corpus.stage import STAGES, load_stage


def stage_options(*stages: str) -> Decorator[Any]:
    """Adds an option for every setting of the stages, under a heading for each stage.

    The destination is `stage__setting`. A flag that two stages would share begins with the stage's name.
    """
    classes = {stage: load_stage(stage).config for stage in stages}
    names = Counter(field.name for cls in classes.values() for field in _own_fields(cls) if not field.metadata["flag"])
    shared = {name for name, count in names.items() if count > 1}
    options = []
    for stage, cls in classes.items():
        source = _source(cls)
        heading = Heading(f"Settings of {stage}, with their defaults{source}")
        if presets := load_stage(stage).presets:
            help = "settings to begin with, which the options below change"
            options.append(heading.option("--preset", f"{stage}__preset", type=click.Choice(list(presets)), help=help))
        options += _options(heading, stage, cls, shared, source)
    return together(*options)


def config_options(heading: Heading, cls: type) -> Decorator[Any]:
    """Adds an option for every setting of a Config; destinations are `config__setting`."""
    return together(*_options(heading, "config", cls))


def _options(
    heading: Heading, prefix: str, cls: type, shared: Collection[str] = (), source: str = ""
) -> list[Decorator[Any]]:
    hints = typing.get_type_hints(cls)
    options = []
    for field in _own_fields(cls):
        name = f"{prefix}-{field.name}" if field.name in shared else field.name
        flag = field.metadata["flag"] or f"--{name.replace('_', '-')}"
        help = field.metadata["help"].removesuffix(source)
        options.append(_option(heading, flag, f"{prefix}__{field.name}", hints[field.name], field, help))
    return options


def _source(cls: type) -> str:
    """` (Gopher, Table A1)`, if the help of most settings ends so: the heading says it once for all."""
    fields = _own_fields(cls)
    ends = [re.search(r" \([A-Z][^()]*\)$", field.metadata["help"]) for field in fields]
    source, count = Counter(end[0] if end else "" for end in ends).most_common(1)[0]
    return source if 2 * count > len(fields) else ""


def config_from_flags(cls: type, flags: dict[str, Any]) -> Any:
    """The Config that the options of `config_options` make. Raises UsageError naming the setting."""
    try:
        return check(cls(**{name.removeprefix("config__"): value for name, value in flags.items()}))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def steps_from_flags(
    context: click.Context, stages: Sequence[str], recipe: str | None, own: bool = False
) -> list[Step]:
    """The stages with the settings of the command line, else of the recipe, else the defaults.

    With `own`, a recipe that names any of the stages, or rules of its own, decides which stages run and in which order.
    Raises ValueError naming the setting or its option.
    """
    base: dict[str, dict[str, Any]] = {stage: {} for stage in stages}
    rules: dict[str, Step] = {}
    order: list[str] = []
    if recipe:
        for step in load_recipe(recipe).written:
            if step.stage in base:
                base[step.stage] = {
                    field.name: getattr(step.config, field.name) for field in _own_fields(type(step.config))
                }
                order.append(step.stage)
            elif own and step.stage not in STAGES:
                rules[step.stage] = step
                order.append(step.stage)
    order = (order if own else []) or list(stages)
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    for name in sorted(given, key=lambda name: not name.endswith("__preset")):
        stage, _, setting = name.partition("__")
        if setting and stage in base and stage not in order:
            raise ValueError(f"{setting}: {recipe} has no stage [{stage}]")
        if setting and stage in base:
            if setting == "preset":  # instead of a recipe's settings
                base[stage] = {}
            base[stage][setting] = context.params[name]
    return list(in_force([rules[stage] if stage in rules else _step(context, stage, base[stage]) for stage in order]))


def _step(context: click.Context, stage: str, settings: dict[str, Any]) -> Step:
    """A stage with its settings. Raises ValueError naming the setting, and its option where that has another name."""
    try:
        return make_step(stage, settings)
    except (ValueError, FileNotFoundError) as error:
        setting = re.match(r"\w*", str(error))
        name = setting[0] if setting else ""
        options = [option.opts[0] for option in context.command.params if option.name == f"{stage}__{name}"]
        if options and options[0] != f"--{name.replace('_', '-')}":
            raise ValueError(f"{options[0]}: {error}") from None
        raise


def _own_fields(cls: type) -> list[dataclasses.Field[Any]]:
    """The fields that are settings of this stage, not copies of another stage's."""
    return [field for field in dataclasses.fields(cls) if not field.metadata.get("of")]


class _OrOff(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number, or `off`."""

    def __init__(self, scalar: type) -> None:
        self.scalar = scalar
        self.name = {int: "N|off", float: "X|off"}[scalar]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == OFF or isinstance(value, self.scalar):
            return value
        try:
            return self.scalar(value)
        except ValueError:
            kind = "integer" if self.scalar is int else "float"
            self.fail(f"{value!r} is not a valid {kind}, nor {OFF}", param, ctx)


def _option(
    heading: Heading, flag: str, destination: str, hint: Any, field: dataclasses.Field[Any], help: str
) -> Decorator[Any]:
    scalar, many, optional = element_type(hint)
    if scalar is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    choices = field.metadata["choices"]
    kind: Any = click.Choice(choices) if choices else scalar
    if optional and not choices and scalar in (int, float):
        kind = _OrOff(scalar)
    default: Any = field.default
    shown = as_text(default)
    is_number = isinstance(default, int | float) and scalar is not bool
    return heading.option(
        flag,
        destination,
        type=kind,
        multiple=many,
        metavar=shown if is_number else "PATH" if field.metadata["path"] else None,
        default=default,
        show_default=not is_number and len(shown) < 60,
        help=help + (" (repeatable)" if many else ""),
    )
