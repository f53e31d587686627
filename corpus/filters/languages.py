"""A language -> the settings that its documents are judged by, from languages.toml.

A stage whose setting `language_tables` is true judges a document by the table of the document's language: each figure
in the table replaces a setting of the stage, and the stop words are words of that language. Settings that the table
does not name stay as they are, and a document in a language without a table is judged by the settings alone.
`language_file` names another file of such tables, whose figures replace the built-in ones.
"""

from __future__ import annotations

import dataclasses
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from bpe.parse import brief, parse_toml
from bpe.whole import unreadable
from corpus.config import check, setting

_MOST_BYTES = 16 << 20  # of a file of tables
Config = TypeVar("Config")
Tables = dict[str, dict[str, dict[str, Any]]]  # language, stage, setting


def tables_setting() -> Any:
    """The setting `language_tables` of every stage that has tables of languages."""
    return setting(False, "judge documents by the table of their language (FineWeb-2; corpus/filters/languages.toml)")


def file_setting() -> Any:
    """The setting `language_file` of every stage that has tables of languages."""
    return setting("", "TOML file of tables of languages, whose figures replace the built-in ones", path=True)


def for_language(stage: str, config: Config, language: str | None) -> Config:
    """The settings for a document in `language`. Raises ValueError if its table is wrong."""
    if language is None or not config.language_tables:  # type: ignore[attr-defined]
        return config
    merged: Config = _merged(stage, config, language)
    return merged


def check_tables(stage: str, config: Any) -> None:
    """Raises ValueError if a table is wrong, naming file, language and setting, or if no setting reads the file."""
    if config.language_file and config.language_tables is False:
        raise ValueError("language_file: is read only with language_tables = true; set that as well")
    if config.language_tables is True and (not config.language_file or Path(config.language_file).is_file()):
        for language in _tables(config.language_file):
            for_language(stage, config, language)


def tables_resources(config: Any) -> dict[str, Any]:
    """The built-in tables, if the settings read them: what decides besides the settings."""
    return {"languages": _tables("")} if config.language_tables else {}


@lru_cache(maxsize=4096)
def _merged(stage: str, config: Any, language: str) -> Any:
    table = _tables(config.language_file).get(language, {}).get(stage)
    if table is None:
        return config
    where = f"{config.language_file or 'languages.toml'}: [{language}.{stage}]"
    settings = {field.name for field in dataclasses.fields(config)}
    for name in table:
        if name not in settings or name.startswith("language"):
            raise ValueError(f"language_file: {where} {name}: unknown setting")
    figures = dict(table)
    if "stop_words" in figures:
        figures["stop_words_language"] = language
    try:
        return check(dataclasses.replace(config, **figures, language_tables=False, language_file=""))
    except ValueError as error:
        raise ValueError(f"language_file: {where} {error}") from None


@cache
def _tables(path: str) -> Tables:
    """The built-in tables; the figures of the file at `path`, if there is one, replace theirs."""
    if not path:
        text = files(__package__).joinpath("languages.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)
    if fault := unreadable(Path(path), _MOST_BYTES):
        raise ValueError(f"language_file: {path}: {fault}")
    try:
        own = parse_toml(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"language_file: {path}: not TOML: {brief(error)}") from None
    merged = {language: dict(stages) for language, stages in _tables("").items()}
    for language, stages in own.items():
        if not isinstance(stages, dict) or not all(isinstance(figures, dict) for figures in stages.values()):
            raise ValueError(f"language_file: {path}: {language}: should be tables [{language}.STAGE]")
        for stage, figures in stages.items():
            merged.setdefault(language, {})[stage] = merged.get(language, {}).get(stage, {}) | figures
    return merged
