"""The text of trafilatura itself, whose memory of segments is cleared before each pass over the page.

`corpus.extract` finds this text with its default settings. Trafilatura remembers how often it has met a segment, drops
the fourth and later copies, and never forgets. It searches a page in passes: for the parts of the page where the text
may be, one after another, then for the whole page. Each pass begins with `prune_unwanted_sections`; at the end
`duplicate_test` judges the whole text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import trafilatura
from trafilatura import core, main_extractor
from trafilatura.deduplication import LRUCache


def main_text(html: str, favor: str, tables: bool, comments: bool) -> str | None:
    """The main text of a page, without the fourth and later copies of a segment in one pass."""
    memory = LRUCache(4096)

    def forgetting(step: Callable[..., Any]) -> Callable[..., Any]:
        def forget_first(*arguments: Any, **named: Any) -> Any:
            memory.clear()
            return step(*arguments, **named)

        return forget_first

    with (
        mock.patch.object(
            main_extractor, "prune_unwanted_sections", forgetting(main_extractor.prune_unwanted_sections)
        ),
        mock.patch.object(core, "duplicate_test", forgetting(core.duplicate_test)),
    ):
        text: str | None = trafilatura.extract(
            html,
            favor_precision=favor == "precision",
            favor_recall=favor == "recall",
            include_comments=comments,
            include_tables=tables,
            deduplicate=memory,
        )
    return text
