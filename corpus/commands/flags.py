"""Stage settings as command-line flags, made from the same declarations that recipes are checked by."""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from corpus.config import OFF, element_type
from corpus.run.chain import Step
from corpus.run.recipe import in_force, load_recipe, make_step
from corpus.stage import STAGES, load_stage


def stage_options(stages: Sequence[str]) -> list[click.Option]:
    """An option for every setting of the stages; one that two stages share carries its stage's name."""
    fields = [(stage, field) for stage in stages for field in _own_fields(load_stage(stage).config)]
    shared = Counter(field.name for _, field in fields if not field.metadata["flag"])
    options = []
    for stage, field in fields:
        name = field.name.replace("_", "-")
        if shared[field.name] > 1:
            name = f"{stage.replace('_', '-')}-{name}"
        hint = typing.get_type_hints(load_stage(stage).config)[field.name]
        options.append(_option(field.metadata["flag"] or f"--{name}", f"{stage}__{field.name}", hint, field))
    return [*(option for stage in stages for option in _preset(stage)), *options]


def _preset(stage: str) -> list[click.Option]:
    """The option that names a preset, for a stage that has some."""
    presets = load_stage(stage).presets
    help = "settings to begin with, which the flags below change"
    choice = click.Choice(list(presets))
    return [click.Option(["--preset", f"{stage}__preset"], type=choice, help=help)] if presets else []


def config_options(name: str, cls: type) -> list[click.Option]:
    """An option for every setting of one Config; destinations are `name__setting`."""
    hints = typing.get_type_hints(cls)
    return [
        _option(
            field.metadata["flag"] or f"--{field.name.replace('_', '-')}",
            f"{name}__{field.name}",
            hints[field.name],
            field,
        )
        for field in dataclasses.fields(cls)
    ]


def steps_from_flags(
    context: click.Context, stages: Sequence[str], recipe: str | None, own: bool = False
) -> list[Step]:
    """The stages with the recipe's settings (or defaults) and the flags that were given.

    With `own`, a recipe that names any of the stages, or rules of its own, decides which there are and in which order.
    Raises ValueError naming the setting; a flag wins over the recipe.
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
    return list(in_force([rules[stage] if stage in rules else make_step(stage, base[stage]) for stage in order]))


def _own_fields(cls: type) -> list[dataclasses.Field[Any]]:
    """Fields that are no other stage's settings."""
    return [field for field in dataclasses.fields(cls) if not field.metadata.get("of")]


class _OrOff(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number, or `off`."""

    def __init__(self, scalar: type) -> None:
        self.scalar = scalar
        self.name = {int: "integer", float: "float"}[scalar] + "|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == OFF or isinstance(value, self.scalar):
            return value
        try:
            return self.scalar(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid {self.name.partition('|')[0]}, nor {OFF}", param, ctx)


def _option(flag: str, destination: str, hint: Any, field: dataclasses.Field[Any]) -> click.Option:
    scalar, many, optional = element_type(hint)
    if scalar is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    choices = field.metadata["choices"]
    kind: Any = click.Choice(choices) if choices else {int: int, float: float, bool: bool, str: str}[scalar]
    if optional and not choices and scalar in (int, float):
        kind = _OrOff(scalar)
    default: Any = field.default
    shown = ", ".join(map(str, default)) if many else default
    return click.Option(
        [flag, destination],
        type=kind,
        multiple=many,
        default=default,
        show_default=shown not in (None, "", ()) and len(str(shown)) < 60,
        help=field.metadata["help"],
    )
