"""Line deduplication of a list of texts in memory: the steps of the passes, without their files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from corpus.dedup.in_memory import text_batches
from corpus.dedup.lines.config import Config
from corpus.dedup.lines.hashes import line_records, remove_lines, repeated_records, repeated_table
from corpus.run.recipe import step_with


def drop_repeated_lines(texts: Iterable[str], *, documents: int = 7, **settings: Any) -> list[str | None]:
    """The texts without the lines that many of them have, in order, as the stage `lines` leaves them.

    texts      strings, or an Arrow array of strings
    documents  a line is repeated if so many texts have it, such as a menu or a cookie notice (Llama 3: 7)
    settings   other settings of [lines] by their names: keep_first=False, unit="paragraph", min_words=3 (shorter lines
               are ignored), min_kept_words=50

    A text that lost lines and has fewer than `min_kept_words` words left is None. A repeated line stays in the first
    text that has it, unless keep_first=False. Case, digits, punctuation and white space make no difference between
    lines. `corpus.dedup.lines.hashes` has the sources. Raises ValueError naming a setting that is wrong, TypeError for
    what is no text.

    >>> from corpus import drop_repeated_lines
    >>> texts = ["Menu: home, news, about us\\nA ship came home.", "Menu: home, news, about us\\nIt rained all day."]
    >>> drop_repeated_lines(texts, documents=2, min_kept_words=1)
    ['Menu: home, news, about us\\nA ship came home.', 'It rained all day.']
    """
    config: Config = step_with("lines", {"documents": documents, **settings}).config
    batches = text_batches(texts)
    _, records, _ = line_records(batches, config)
    repeated = repeated_table(*repeated_records(records, config))
    left: list[str | None] = []
    for batch in batches:
        split = remove_lines(batch, len(left), repeated, config)
        kept = iter(split.kept.column("text").to_pylist())
        mask = [True] * batch.num_rows if split.mask is None else split.mask.tolist()
        left += [next(kept) if stays else None for stays in mask]
    return left
