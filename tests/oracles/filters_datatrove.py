"""FineWeb's four text filters as its authors run them: datatrove's own, one after the other."""

from __future__ import annotations

from typing import Any

from corpus.filters import c4, fineweb, gopher_quality, gopher_repetition
from corpus.schema import Drop

Fate = tuple[str, str]  # (stage that drops it, its reason), or ("", the text as kept)


def datatrove_filters() -> dict[str, Any]:
    """By our stage's name, in FineWeb's order and with its settings."""
    from datatrove.pipeline import filters

    return {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher_quality": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }


def datatrove_fate(text: str, filters: dict[str, Any]) -> Fate:
    from datatrove.data import Document

    document = Document(text=text, id="0")
    for stage, its_filter in filters.items():
        answer = its_filter.filter(document)
        keep, reason = answer if isinstance(answer, tuple) else (answer, "")
        if not keep:
            return stage, reason
    return "", document.text


def our_fate(text: str) -> Fate:
    """The same chain of ours, with the settings of recipes/fineweb.toml (which are the defaults)."""
    drop = gopher_repetition.judge(text, gopher_repetition.Config())
    drop = drop or gopher_quality.judge(text, None, gopher_quality.Config())
    cleaned = drop or c4.clean(text, c4.Config(terminal_punctuation=False))
    if isinstance(cleaned, Drop):
        stage, _, rule = cleaned.rule.partition(".")
        return stage, rule
    drop = fineweb.judge(cleaned, fineweb.Config())
    return ("fineweb", drop.rule.partition(".")[2]) if drop else ("", cleaned)
