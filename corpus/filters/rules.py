"""What the text filters share: how a rule is declared with its threshold, and the loop over the documents of a batch.

A rule and the setting that holds its threshold are one declaration: `limit` makes the setting, and its help text says
what the rule measures. `Limits` collects the rules of a Config and compares measured numbers with their thresholds, so
that no document can be dropped by a rule that is not declared. A threshold that a recipe turns "off" is None here: it
drops nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pyarrow as pa

from corpus.config import setting
from corpus.filters.languages import for_language, tables_resources
from corpus.filters.statistics import ready
from corpus.filters.words import splitter_resources
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Rule

Answer = TypeVar("Answer")
_RULE = "rule"  # the key of a setting's metadata under which its rule is kept


def limit(
    default: float | None,
    drops: Literal["above", "below"],
    measures: str,
    source: str,
    *,
    rule: str = "",
    high: float | None = None,
) -> Any:
    """The setting that holds the threshold of a rule; it is at least 0, and at most `high`.

    drops     the side of the threshold on which a document is dropped
    measures  what is measured of the document, with its unit
    source    where the rule and its default come from
    rule      the rule's name, if the setting has another one
    """
    item = setting(default, f"drop {drops} this {measures} ({source})", low=0, high=high)
    declared = Rule(rule, measures, drops, source=source)
    return dataclasses.field(default=default, metadata={**item.metadata, _RULE: declared})


class Limits:
    """The rules of a stage that compare a measured number with a setting, in the order of the settings."""

    def __init__(self, stage: str, config: type) -> None:
        """Collect the rules that the fields of `config`, the Config of `stage`, declare."""
        items = [item for item in dataclasses.fields(config) if _RULE in item.metadata]
        declared = [(item.name, item.metadata[_RULE]) for item in items]
        self.rules = tuple(rule._replace(name=rule.name or field, setting=field) for field, rule in declared)
        self._rules = {rule.name: (f"{stage}.{rule.name}", rule.setting, rule.drops == "above") for rule in self.rules}

    def drop(self, rule: str, value: float, config: Any) -> Drop | None:
        """The drop of a document of which `rule` has measured `value`; None if it stays."""
        name, setting, is_above = self._rules[rule]
        threshold = getattr(config, setting)
        if threshold is None or not (value > threshold if is_above else value < threshold):
            return None
        return Drop(name, value, threshold)


def ask_each(batch: pa.RecordBatch, words: str, ask: Callable[[str, str | None], Any]) -> list[Any]:
    """What `ask(text, language)` answers for each document of a batch; a missing text is an empty text.

    The splitter that the setting `words` names is loaded before the first document, whose time limit must not pay for
    it.
    """
    ready(words)
    texts, languages = batch.column("text").to_pylist(), batch.column("language").to_pylist()
    return [ask(text or "", language) for text, language in zip(texts, languages, strict=True)]


def judge_each(
    batch: pa.RecordBatch, stage: str, config: Any, judge: Callable[[str, str | None, Any], Drop | None]
) -> Outcome:
    """Split a batch into the documents that pass and the others; `judge` says why a document is dropped.

    A document is judged by the settings of its language, if `language_tables` asks for it.
    """
    answers = ask_each(batch, config.words, for_text(stage, config, judge))
    return outcome(batch, stage, {row: drop for row, drop in enumerate(answers) if drop is not None})


def for_text(
    stage: str, config: Any, judge: Callable[[str, str | None, Any], Answer]
) -> Callable[[str, str | None], Answer]:
    """(text, language) -> what `judge` answers by the settings of that language, if the stage has tables of them."""
    if not getattr(config, "language_tables", False):
        return lambda text, language: judge(text, language, config)
    return lambda text, language: judge(text, language, for_language(stage, config, language))


def resources(config: Any) -> dict[str, Any]:
    """What decides the answers besides the settings: spaCy's version, and the built-in tables of languages."""
    return splitter_resources(config.words) | tables_resources(config)
