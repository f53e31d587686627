"""Recipes: a TOML file becomes frozen stage configurations, or one clear line that says what is wrong where.

A recipe reads like the paper that it follows: a table a stage, in the order in which the stages run.

    name = "mine"
    [urls]
    [extract]
    favor = "precision"
    [language]
    languages = ["en", "de"]
    [dedup]
    [tokenizer]
    vocab_size = 32768

A table with `module = "..."` is a user's own rule (corpus.run.own).

Every setting is declared once, in its stage's `Config` (corpus.config.setting). This module looks settings up, checks
them, hashes them and, for a flag or a `--set`, replaces them. A stage that another stage implies needs no table:
[prescreen] runs before [extract] without being named, and does not run where its settings leave it nothing to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bpe import arguments
from bpe.parse import brief, parse_toml
from bpe.whole import read_whole, unreadable
from corpus import __version__
from corpus.config import check
from corpus.run import own
from corpus.run.chain import Step
from corpus.run.remote import on_this_machine
from corpus.stage import STAGES, Stage, load_stage
from corpus.store.files import sha256

_MOST_TEXT = 16 << 20  # bytes of a recipe
_MOST_BYTES = (
    64 << 30
)  # of a file that a setting names; readers of words, keys and vocabularies have limits of their own
_RECIPES = Path(__file__).parents[1] / "recipes"  # the recipes that come with the toolkit


@dataclass(frozen=True)
class Recipe:
    """Stages with their settings, in order; `load_recipe` makes one of a file.

    steps      the stages that run
    written    the stages that the recipe names, with the settings as written there
    tokenizer  settings of the vocabulary (corpus.tokens.vocabulary.Config); None: the run ends with documents

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from corpus import load_recipe
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.toml")
    ...     _ = path.write_text("[gopher_quality]\\nmin_words = 30")
    ...     recipe = load_recipe(path)
    >>> recipe.name, [step.stage for step in recipe.steps], recipe.config("gopher_quality").min_words
    ('mine', ['gopher_quality'], 30)
    """

    name: str
    steps: tuple[Step, ...]
    written: tuple[Step, ...] = ()
    tokenizer: Any | None = None
    keep_dropped_text: bool = False
    text: str = ""  # the file as it was written

    def config(self, stage: str) -> Any:
        """The configuration of a stage, None if the recipe has no such stage."""
        return next((step.config for step in self.steps if step.stage == stage), None)


def make_step(stage: str, settings: Mapping[str, Any] | None = None) -> Step:
    """A stage with its settings checked. Raises ValueError naming the setting and the fix.

    A stage that is not in STAGES is a user's own rule, which has its module among its settings.
    """
    settings = dict(settings or {})
    module = STAGES[stage] if stage in STAGES else settings.pop("module")
    if stage not in STAGES:
        own.load(module)
    return Step(stage, module, _checked(stage, own.declared(stage, module), settings))


def step_with(stage: str, settings: Mapping[str, Any]) -> Step:
    """The answer of `make_step`, remembered: for functions that are called for one text after the other."""
    try:
        return _remembered(
            stage, **{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        )
    except TypeError:  # a value that has no hash
        return make_step(stage, settings)


@lru_cache(maxsize=64, typed=True)  # typed: 1 and True are different settings
def _remembered(of: str, /, **settings: Any) -> Step:
    return make_step(of, settings)


def _checked(name: str, stage: Stage, settings: dict[str, Any]) -> Any:
    fields = dataclasses.fields(stage.config)
    known = [field.name for field in fields if not field.metadata.get("of")]
    settings = _with_preset(stage, settings)
    for setting in settings:
        if setting not in known:
            raise ValueError(f"{setting}: unknown setting of [{name}]{_suggestion(setting, known)}")
    config = stage.localize(check(stage.config(**settings)))
    local = on_this_machine(config)
    for field in fields:
        if field.metadata.get("path"):
            _check_paths(field.name, getattr(local, field.name))
    return config


def _with_preset(stage: Stage, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, over the settings of the preset that they name, where the stage has presets."""
    if not stage.presets or "preset" not in settings:
        return settings
    name = settings.pop("preset")
    if not isinstance(name, str) or name not in stage.presets:
        raise ValueError(f"preset = {brief(repr(name))}: should be one of {', '.join(stage.presets)}")
    return {**stage.presets[name], **settings}


def in_force(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The stages that run: settings that belong to another stage are filled in, and idle stages are left out."""
    configs = {step.stage: step.config for step in steps}
    filled = []
    for step in steps:
        fields = [field for field in dataclasses.fields(step.config) if field.metadata.get("of") in configs]
        taken = {field.name: getattr(configs[field.metadata["of"]], field.name) for field in fields}
        filled.append(step._replace(config=dataclasses.replace(step.config, **taken)) if taken else step)
    return tuple(step for step in filled if not step.contract.is_idle(step.config))


def load_recipe(
    path: str | os.PathLike[str], overrides: Mapping[str, Any] | Iterable[tuple[str, str, Any]] = ()
) -> Recipe:
    """Read a recipe, a TOML file with a table for each stage, and change settings of it.

    path       the file, or the name of a recipe that comes with the toolkit: fineweb, fineweb2, fineweb-text or demo
    overrides  settings that replace the recipe's: {"STAGE.SETTING": value}, or (stage, setting, value)

    Raises ValueError `FILE:LINE: ...` for a key, a type or a value that is wrong, and for damaged TOML; ValueError
    naming the stage and the setting for an override that is wrong.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from corpus import load_recipe
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.toml")
    ...     _ = path.write_text("[language]\\nlanguages = ['en', 'de']")
    ...     recipe = load_recipe(path, {"language.threshold": 0.5})
    >>> recipe.config("language").languages, recipe.config("language").threshold
    (('en', 'de'), 0.5)
    """
    path, overrides = _recipe_file(arguments.path("path", path)), _overrides(overrides)
    try:
        text = read_whole(Path(path), _MOST_TEXT).decode("utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such recipe{_known_recipes(path)}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder; name the file of the recipe in it") from None
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise ValueError(f"{path}: not TOML: {brief(error)}") from None
    top = {"name": str, "keep_dropped_text": bool}
    steps: list[Step] = []
    for key, value in data.items():
        where = f"{path}:{_line(text, None, key)}"
        if key in top:
            if not isinstance(value, top[key]):
                kind = "a string" if top[key] is str else "true or false"
                raise ValueError(f"{where}: {key} = {brief(repr(value))}: should be {kind}")
        elif isinstance(value, list) and key in STAGES:
            raise ValueError(f"{where}: {key}: should be one table, [{key}], and neither a list nor [[{key}]]")
        elif not isinstance(value, dict) or (key not in STAGES and "module" not in value):
            raise ValueError(f"{where}: {key}: no such stage or setting{_suggestion(key, [*top, *STAGES])}")
        elif not re.fullmatch(r"\w+", key):
            raise ValueError(f"{where}: {key}: a rule's name should be of letters, digits and _")
        else:
            steps.append(_step_from(str(path), text, key, value, overrides))
    for step in tuple(steps):
        for stage in step.contract.implies:
            if stage not in data:
                steps.insert(steps.index(step), _step_from(str(path), text, stage, {}, overrides))
    stages = [step.stage for step in steps]
    for stage, name, _ in overrides:
        if stage not in stages:
            raise ValueError(f"{stage}.{name}: {path} has no stage [{stage}]")
    _check_order(str(path), text, stages)
    _check_barriers(str(path), text, in_force(steps))
    tokenizer = next((step.config for step in steps if step.stage == "tokenizer"), None)
    written = tuple(step for step in steps if step.stage != "tokenizer")
    return Recipe(
        name=data.get("name", Path(path).stem),
        steps=in_force(written),
        written=written,
        tokenizer=tokenizer,
        keep_dropped_text=data.get("keep_dropped_text", False),
        text=text,
    )


def _recipe_file(path: str | os.PathLike[str]) -> str | Path:
    """The file of a recipe. A bare name that is no file is a recipe of the toolkit; ValueError lists these."""
    if not re.fullmatch(r"[\w-]+", os.fspath(path)) or Path(path).is_file():
        return os.fspath(path)
    known = _RECIPES / f"{path}.toml"
    if not known.is_file():
        raise ValueError(f"{path}: no such recipe{_known_recipes(path)}")
    return known


def _known_recipes(path: str | os.PathLike[str]) -> str:
    """The names of the toolkit's recipes, for the message about a file that is not there; "" for a file in a folder."""
    names = ", ".join(sorted(item.stem for item in _RECIPES.glob("*.toml")))
    return "" if Path(path).name != str(path) else f"; name a file, or one of {names}"


def describe(steps: Sequence[Step], **more: Any) -> dict[str, Any]:
    """Everything that decides the bytes that a pass writes: settings, the contents of files that they name, versions.

    The config hash of a commit record is the hash of this, as canonical JSON.
    """
    described: dict[str, Any] = {"order": [step.stage for step in steps], **more}
    versions = {"corpus": __version__}
    for step in steps:
        stage = step.contract
        local = on_this_machine(step.config)
        settings = _settings(local)
        if stage.resources:
            settings["resources"] = stage.resources(local)
        if own.is_own(step.module):
            settings = {"module": step.module, "source": own.source_hash(step.module), **settings}
        described[step.stage] = settings
        versions |= {library: importlib.metadata.version(library) for library in stage.libraries}
    return described | {"versions": versions}


def _settings(config: Any) -> dict[str, Any]:
    """The settings, with hashes of files in the place of the files' names."""
    settings = dataclasses.asdict(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("path"):
            settings[field.name] = _contents(settings[field.name])
    return settings


def _overrides(changes: Mapping[str, Any] | Iterable[tuple[str, str, Any]]) -> list[tuple[str, str, Any]]:
    """The changes as (stage, setting, value). Raises ValueError for a name that is not STAGE.SETTING."""
    if not isinstance(changes, Mapping):
        triples = list(arguments.several("overrides", changes, '{"STAGE.SETTING": value}'))
        if wrong := [item for item in triples if not isinstance(item, tuple | list) or len(item) != 3]:
            raise TypeError(f"overrides: {brief(repr(wrong[0]))}: should be (stage, setting, value)")
        return triples
    return [(*stage_and_setting(name), value) for name, value in changes.items()]


def stage_and_setting(name: str) -> tuple[str, str]:
    """The two parts of `STAGE.SETTING`. Raises ValueError naming the right form."""
    if not isinstance(name, str) or not re.fullmatch(r"\w+\.\w+", name):
        raise ValueError(f"{name}: should be STAGE.SETTING, as in language.threshold")
    stage, _, setting = name.partition(".")
    return stage, setting


def parse_override(text: str) -> tuple[str, str, Any]:
    """`stage.setting=value` with a TOML value; a bare word is a string. Raises ValueError with the right form."""
    match = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text, re.DOTALL)
    if not match:
        raise ValueError(f"{text}: should be STAGE.SETTING=VALUE, as in language.threshold=0.5")
    stage, name, value = match.groups()
    try:
        return stage, name, parse_toml(f"value = {value}")["value"]
    except ValueError:
        return stage, name, value


def _step_from(
    path: str, text: str, stage: str, settings: dict[str, Any], overrides: Sequence[tuple[str, str, Any]]
) -> Step:
    try:
        make_step(stage, settings)
    except (ValueError, FileNotFoundError) as error:
        name = re.match(r"\w+", str(error))
        line = _line(text, stage, name.group() if name else stage)
        raise ValueError(f"{path}:{line}: [{stage}] {error}") from None
    replaced = {name: value for of, name, value in overrides if of == stage}
    try:
        return make_step(stage, settings | replaced)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{stage}.{error}") from None


def _check_order(path: str, text: str, stages: list[str]) -> None:
    """Check the order that every recipe must keep: stages of pages, [extract], stages of documents, [tokenizer]."""

    def refuse(stage: str, fix: str) -> None:
        raise ValueError(f"{path}:{_line(text, None, stage)}: [{stage}] should {fix}")

    if "tokenizer" in stages[:-1]:
        refuse("tokenizer", "be the last stage")
    if "extract" in stages:
        at = stages.index("extract")
        for stage in stages[at:]:
            if stage != "extract" and _reads_pages(stage):
                refuse(stage, "come before [extract]")
        for stage in stages[:at]:
            if not _reads_pages(stage):
                refuse("extract", f"come before [{stage}]")


def _check_barriers(path: str, text: str, steps: Sequence[Step]) -> None:
    """Check that no barrier stands before a barrier that it follows."""
    barriers = [(step.stage, barrier) for step in steps if (barrier := step.contract.barrier_of(step.config))]
    for at, (stage, barrier) in enumerate(barriers):
        behind = [name for name, _ in barriers[at + 1 :]]
        if wrong := [name for name in barrier.follows if name in behind]:
            line = _line(text, None, stage)
            raise ValueError(f"{path}:{line}: [{stage}]{barrier.when} should come after [{wrong[0]}]")


def _reads_pages(stage: str) -> bool:
    return stage in STAGES and load_stage(stage).reads == "pages"


def _check_paths(name: str, value: Any) -> None:
    for path in (value,) if isinstance(value, str) else value or ():
        if path and not Path(path).exists():
            raise FileNotFoundError(f"{name} = {path!r}: no such file")
        if path and (fault := unreadable(Path(path), _MOST_BYTES)):
            raise ValueError(f"{name} = {path!r}: {fault}")


def _contents(value: Any) -> Any:
    """What a path setting names: the hash of the file, or the hashes of all files in and below a folder, by name."""
    if isinstance(value, list | tuple):
        return [_contents(item) for item in value]
    if not value:
        return value
    path = Path(value)
    if path.is_dir():
        files = {item.relative_to(path).as_posix(): item for item in path.rglob("[!_]*") if item.is_file()}
        return {name: sha256(files[name]) for name in sorted(files) if not name.startswith("_") and "/_" not in name}
    status = path.stat()
    return _content(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _content(path: Path, *state: int) -> str:
    """The hash of a file. It is computed once as long as `state` (inode, size, time of change) stays the same."""
    return sha256(path)


def _line(text: str, table: str | None, key: str) -> int:
    """The line of `key` in `[table]`, or of the table's header if `key` is the table itself; 1 if neither is found."""
    current: str | None = None
    header = 1
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*\[\s*([\w-]+)", line)
        if match:
            current = match.group(1)
            if (table is None and current == key) or current == table:
                header = number
                if table is None or key == table:
                    return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
    return header


def _suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
