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

A table with `module = "..."` is a rule of one's own (corpus.run.own).

Every setting is declared once, in its stage's `Config` (corpus.config.setting). Here they are only looked up,
checked, hashed and, for a flag or a `--set`, replaced. A stage that takes its settings from another one needs no
table: [prescreen] comes before [extract] by itself, and is left out where it has nothing to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from corpus import __version__
from corpus.config import check, setting
from corpus.crawl.lists import fetched, is_address
from corpus.run.chain import Step
from corpus.store.files import sha256


class Stage(NamedTuple):
    """Where a stage lives, whether it takes one row at a time, which libraries' versions show in its output."""

    module: str
    alone: bool = False
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenizerConfig:
    """The vocabulary: trained on the clean documents, or read from `path`."""

    vocab_size: int = setting(32768, "symbols to train, with the 256 bytes and <|endoftext|>", low=257, high=2**20)
    pattern: str = setting("cl100k", "split rule", choices=("gpt2", "cl100k", "o200k"))
    sample: float = setting(1.0, "share of the documents to train on; a hash of the text decides", low=1e-6, high=1)
    path: str = setting("", "use this vocabulary instead of training one", path=True)


STAGES = {
    "urls": Stage("corpus.filters.urls", alone=True),
    "optout": Stage("corpus.filters.optout", alone=True),
    "prescreen": Stage("corpus.language.prescreen", alone=True, libraries=("fasttext", "charset-normalizer")),
    "extract": Stage("corpus.extract.stage", alone=True, libraries=("trafilatura", "lxml", "charset-normalizer")),
    "language": Stage("corpus.language.stage", libraries=("fasttext",)),
    "gopher_repetition": Stage("corpus.filters.gopher_repetition"),
    "gopher_quality": Stage("corpus.filters.gopher_quality"),
    "c4": Stage("corpus.filters.c4"),
    "fineweb": Stage("corpus.filters.fineweb"),
    "classifier": Stage("corpus.classifier.score", libraries=("fasttext",)),
    "dedup": Stage("corpus.dedup"),
    "lines": Stage("corpus.dedup.lines.config"),
    "decontaminate": Stage("corpus.decontaminate"),
    "scrub": Stage("corpus.pii.scrub", libraries=("phonenumbers",)),
    "token_count": Stage("corpus.tokens.count"),
    "tokenizer": Stage("corpus.run.recipe"),
}
_IMPLIED = {"prescreen": "extract"}  # a stage that runs without being named, and the one that it comes before
_OF_PAGES = {"urls", "optout", "prescreen"}  # stages before the extraction


@dataclass(frozen=True)
class Recipe:
    """What to do, in order. `tokenizer` None: stop at documents.

    `written` are the stages as the recipe has them, `steps` those that run.
    """

    name: str
    steps: tuple[Step, ...]
    written: tuple[Step, ...] = ()
    tokenizer: TokenizerConfig | None = None
    keep_dropped_text: bool = False
    text: str = ""  # the file as it was written

    def config(self, stage: str) -> Any:
        """The configuration of a stage, None if the recipe has no such stage."""
        return next((step.config for step in self.steps if step.stage == stage), None)


def config_class(stage: str) -> type:
    """The Config of a stage."""
    if stage == "tokenizer":
        return TokenizerConfig
    cls: type = importlib.import_module(STAGES[stage].module).Config
    return cls


def make_step(stage: str, settings: Mapping[str, Any] | None = None) -> Step:
    """A stage with its settings checked. Raises ValueError naming the setting and the fix.

    A stage that is none of ours has its module among its settings.
    """
    if stage not in STAGES:
        return _own_step(stage, dict(settings or {}))
    return Step(stage, STAGES[stage].module, _checked(stage, config_class(stage), settings), STAGES[stage].alone)


def _own_step(stage: str, settings: dict[str, Any]) -> Step:
    from corpus.run import own

    name = settings.pop("module")
    module = own.load(name)
    config = _checked(stage, module.Config, settings)
    if hasattr(module, "process"):
        return Step(stage, name, config)
    return Step(stage, own.__name__, own.Config(stage, name, config))


def _checked(stage: str, cls: type, settings: Mapping[str, Any] | None) -> Any:
    known = [field.name for field in dataclasses.fields(cls) if not field.metadata.get("of")]
    settings = _with_preset(cls, dict(settings or {}))
    for name in settings:
        if name not in known:
            raise ValueError(f"{name}: unknown setting of [{stage}]{_suggestion(name, known)}")
    config = _with_lists(check(cls(**settings)))
    for field in dataclasses.fields(cls):
        if field.metadata.get("path"):
            _check_paths(field.name, getattr(config, field.name))
    return config


def _with_preset(cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, over those of the preset that they name, where the stage has presets."""
    presets: dict[str, dict[str, Any]] = getattr(cls, "PRESETS", {})
    if not presets or "preset" not in settings:
        return settings
    name = settings.pop("preset")
    if name not in presets:
        raise ValueError(f"preset = {name!r}: should be one of {', '.join(presets)}")
    return presets[name] | settings


def in_force(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The stages that run: with settings that are another stage's filled in, without those that have nothing to do."""
    configs = {step.stage: step.config for step in steps}
    filled = []
    for step in steps:
        fields = [field for field in dataclasses.fields(step.config) if field.metadata.get("of") in configs]
        taken = {field.name: getattr(configs[field.metadata["of"]], field.name) for field in fields}
        filled.append(step._replace(config=dataclasses.replace(step.config, **taken)) if taken else step)
    return tuple(step for step in filled if not getattr(step.config, "idle", False))


def _with_lists(config: Any) -> Any:
    """The settings with local files in the place of those lists that are named by a web address."""
    for name in getattr(config, "FETCHED", ()):
        paths = getattr(config, name)
        if any(map(is_address, paths)):
            try:
                local = tuple(str(fetched(path)) if is_address(path) else path for path in paths)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            config = dataclasses.replace(config, **{name: local})
    return config


def load_recipe(path: str | Path, overrides: Sequence[tuple[str, str, Any]] = ()) -> Recipe:
    """Read a recipe and apply overrides (stage, setting, value).

    Raises ValueError `FILE:LINE: ...` for a key, a type or a value that is wrong, and for damaged TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    top = {"name": str, "keep_dropped_text": bool}
    steps: list[Step] = []
    for key, value in data.items():
        where = f"{path}:{_line(text, None, key)}"
        if key in top:
            if not isinstance(value, top[key]):
                raise ValueError(
                    f"{where}: {key} = {value!r}: should be {'a string' if top[key] is str else 'true or false'}"
                )
        elif not isinstance(value, dict) or (key not in STAGES and "module" not in value):
            raise ValueError(f"{where}: {key}: no such stage or setting{_suggestion(key, [*top, *STAGES])}")
        elif not re.fullmatch(r"\w+", key):
            raise ValueError(f"{where}: {key}: a rule's name should be of letters, digits and _")
        else:
            steps.append(_step_from(str(path), text, key, value, overrides))
    for stage, before in _IMPLIED.items():
        if before in data and stage not in data:
            at = [step.stage for step in steps].index(before)
            steps.insert(at, _step_from(str(path), text, stage, {}, overrides))
    stages = [step.stage for step in steps]
    for stage, name, _ in overrides:
        if stage not in stages:
            raise ValueError(f"{stage}.{name}: {path} has no stage [{stage}]")
    _check_order(str(path), text, stages)
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


def describe(steps: Sequence[Step], **more: Any) -> dict[str, Any]:
    """Everything that decides the bytes a pass writes: settings, the content of files they name, versions.

    Its canonical JSON is what the config hash of a commit record is taken over.
    """
    described: dict[str, Any] = {"order": [step.stage for step in steps], **more}
    versions = {"corpus": __version__}
    for step in steps:
        if step.stage not in STAGES:
            described[step.stage] = _described_own(step)
            continue
        settings = _settings(step.config)
        resources = getattr(importlib.import_module(step.module), "resources", None)
        if resources:
            settings["resources"] = resources(step.config)
        described[step.stage] = settings
        versions |= {library: importlib.metadata.version(library) for library in STAGES[step.stage].libraries}
    return described | {"versions": versions}


def _settings(config: Any) -> dict[str, Any]:
    """The settings, with the content of files for their names."""
    settings = dataclasses.asdict(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("path"):
            settings[field.name] = _contents(settings[field.name])
    return settings


def _described_own(step: Step) -> dict[str, Any]:
    from corpus.run import own

    wrapped = isinstance(step.config, own.Config)
    module, config = (step.config.module, step.config.settings) if wrapped else (step.module, step.config)
    settings = _settings(config)
    resources = getattr(importlib.import_module(module), "resources", None)
    if resources:
        settings["resources"] = resources(config)
    return {"module": module, "source": own.source_hash(module), **settings}


def parse_override(text: str) -> tuple[str, str, Any]:
    """`stage.setting=value` with a TOML value; a bare word is a string. Raises ValueError with the right form."""
    match = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text, re.DOTALL)
    if not match:
        raise ValueError(f"{text}: should be STAGE.SETTING=VALUE, as in language.threshold=0.5")
    stage, name, value = match.groups()
    try:
        return stage, name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
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
    """What must come before what, whatever else a recipe shuffles: stages of pages, extract, the others, tokenizer."""

    def refuse(stage: str, fix: str) -> None:
        raise ValueError(f"{path}:{_line(text, None, stage)}: [{stage}] should {fix}")

    if "tokenizer" in stages[:-1]:
        refuse("tokenizer", "be the last stage")
    if "extract" in stages:
        at = stages.index("extract")
        for stage in stages[at:]:
            if stage in _OF_PAGES:
                refuse(stage, "come before [extract]")
        for stage in stages[:at]:
            if stage not in _OF_PAGES:
                refuse("extract", f"come before [{stage}]")


def _check_paths(name: str, value: Any) -> None:
    for path in (value,) if isinstance(value, str) else value or ():
        if path and not Path(path).exists():
            raise FileNotFoundError(f"{name} = {path!r}: no such file")


def _contents(value: Any) -> Any:
    """A path setting by what it names: the hash of the file, or of the files of a folder and those below it."""
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
    """The hash of a file, taken once where several settings name it, as long as it does not change."""
    return sha256(path)


def _line(text: str, table: str | None, key: str) -> int:
    """The line of `key` in `[table]` (of the table's header if the key is the table), 1 if it is not to be seen."""
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
