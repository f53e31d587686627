"""FineWeb's four text filters as its authors run them: datatrove's own, one after the other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from corpus.run.recipe import load_recipe
from corpus.schema import DOCUMENTS
from tests.support.paths import REPOSITORY

STAGES = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
Fate = tuple[str, str]  # (stage that drops it, its reason), or ("", the text as kept)


def datatrove_filters() -> dict[str, Any]:
    """datatrove's filters by the names of our stages, in FineWeb's order, with FineWeb's settings."""
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


def our_fates(texts: list[str]) -> list[Fate]:
    """What the four stages of recipes/fineweb.toml decide on these texts, taken for English."""
    rows = [{"text": text, "id": str(row), "language": "en"} for row, text in enumerate(texts)]
    kept = pa.RecordBatch.from_pylist(rows, schema=DOCUMENTS)
    fates: dict[str, Fate] = {}
    for step in load_recipe(REPOSITORY / "recipes/fineweb.toml").steps:
        if step.stage in STAGES:
            kept, dropped, *_ = step.process(kept)
            rules = zip(dropped["id"].to_pylist(), dropped["rule"].to_pylist(), strict=True)
            fates |= {row: (step.stage, rule) for row, rule in rules}
    fates |= {row["id"]: ("", row["text"]) for row in kept.to_pylist()}
    return [fates[str(row)] for row in range(len(texts))]
