"""A language -> the figures that its documents are judged by, from languages.toml.

A stage whose setting `language_tables` is true judges a document by the table of the language in its row: the figures
there take the place of the stage's settings, and the stop words are those of the language. What a table does not name,
and documents in a language without a table, are judged by the settings. `language_file` names a file of one's own in
the same form, laid over ours, figure by figure.
"""

from __future__ import annotations

import dataclasses
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from corpus.config import check, setting

Config = TypeVar("Config")
Tables = dict[str, dict[str, dict[str, Any]]]  # language, stage, setting


def tables_setting() -> Any:
    return setting(False, "judge documents by the figures of their language (FineWeb-2; corpus/filters/languages.toml)")


def file_setting() -> Any:
    return setting("", "figures of languages of one's own, laid over the built-in ones (TOML)", path=True)


def for_language(stage: str, config: Config, language: str | None) -> Config:
    """The settings for a document in `language`. Raises ValueError for a table that is wrong."""
    if language is None or not config.language_tables:  # type: ignore[attr-defined]
        return config
    merged: Config = _merged(stage, config, language)
    return merged


def check_tables(stage: str, config: Any) -> None:
    """Raises ValueError naming file, language, setting and fix if a table is wrong, or a file would go unread."""
    if config.language_file and config.language_tables is False:
        raise ValueError("language_file: is read with language_tables = true; say that as well")
    if config.language_tables is True and (not config.language_file or Path(config.language_file).is_file()):
        for language in _tables(config.language_file):
            for_language(stage, config, language)


def tables_resources(config: Any) -> dict[str, Any]:
    """The built-in tables, where they decide anything."""
    return {"languages": _tables("")} if config.language_tables else {}


@lru_cache(maxsize=4096)
def _merged(stage: str, config: Any, language: str) -> Any:
    found = _tables(config.language_file).get(language, {}).get(stage)
    if found is None:
        return config
    where = f"{config.language_file or 'languages.toml'}: [{language}.{stage}]"
    known = {field.name for field in dataclasses.fields(config)}
    for name in found:
        if name not in known or name.startswith("language"):
            raise ValueError(f"language_file: {where} {name}: unknown setting")
    figures = dict(found)
    if "stop_words" in figures:
        figures["stop_words_language"] = language
    try:
        return check(dataclasses.replace(config, **figures, language_tables=False, language_file=""))
    except ValueError as error:
        raise ValueError(f"language_file: {where} {error}") from None


@cache
def _tables(path: str) -> Tables:
    """The built-in tables, with those of a file of one's own over them."""
    if not path:
        text = files(__package__).joinpath("languages.toml").read_text(encoding="utf-8")
        return _without_notes(tomllib.loads(text))
    try:
        own = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"language_file: {path}: not TOML: {error}") from None
    merged = {language: dict(stages) for language, stages in _tables("").items()}
    for language, stages in own.items():
        if not isinstance(stages, dict) or not all(isinstance(figures, dict) for figures in stages.values()):
            raise ValueError(f"language_file: {path}: {language}: should be tables [{language}.STAGE]")
        for stage, figures in stages.items():
            merged.setdefault(language, {})[stage] = merged.get(language, {}).get(stage, {}) | figures
    return merged


def _without_notes(tables: dict[str, Any]) -> Tables:
    return {language: stages for language, stages in tables.items() if isinstance(stages, dict)}
