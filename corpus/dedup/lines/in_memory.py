"""Line deduplication of a list of texts in memory: the steps of the passes, without their files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from corpus.dedup.in_memory import text_batches
from corpus.dedup.lines.config import Config
from corpus.dedup.lines.hashes import line_records, lines_of, remove_lines, repeated_records, repeated_table
from corpus.run.recipe import step_with


class RepeatedLine(NamedTuple):
    """A line that many texts have.

    line   as it is in the first text that has it
    texts  the number of texts that have it
    first  the index of the first of them

    >>> from corpus import RepeatedLine
    >>> RepeatedLine("Menu: home, news, about us", texts=9, first=0).texts
    9
    """

    line: str
    texts: int
    first: int


def find_repeated_lines(texts: Iterable[str], *, documents: int = 7, **settings: Any) -> list[RepeatedLine]:
    """The lines that `drop_repeated_lines` removes from texts, those of most texts first.

    The parameters and errors are those of `drop_repeated_lines`.

    >>> from corpus import find_repeated_lines
    >>> texts = ["Menu: home, news, about us\\nA ship came home.", "MENU: home / news / about us\\nIt rained all day."]
    >>> find_repeated_lines(texts, documents=2)
    [RepeatedLine(line='Menu: home, news, about us', texts=2, first=0)]
    """
    config: Config = step_with("lines", {"documents": documents, **settings}).config
    batches = text_batches(texts)
    _, records, _ = line_records(batches, config)
    wanted: defaultdict[int, dict[int, int]] = defaultdict(dict)  # by first text: hash -> number of texts
    for digest, first, count in records[records[:, 2] >= config.documents].tolist():
        wanted[first][digest] = count
    column = pa.chunked_array([batch.column("text") for batch in batches]) if batches else []
    found = []
    for first in sorted(wanted):
        hashes, lines = lines_of(column[first].as_py(), config)
        for digest, line in zip(hashes.tolist(), lines, strict=True):
            if count := wanted[first].pop(digest, 0):
                found.append(RepeatedLine(line, count, first))
    return sorted(found, key=lambda item: -item.texts)


def drop_repeated_lines(texts: Iterable[str], *, documents: int = 7, **settings: Any) -> list[str | None]:
    """The texts without the lines that many of them have, in order, as the stage `lines` leaves them.

    texts      strings, or an Arrow array of strings without nulls; a lone surrogate becomes U+FFFD
    documents  a line is repeated if so many texts have it, such as a menu or a cookie notice (Llama 3: 7)
    settings   other settings of [lines] by their names: keep_first=False, unit="paragraph", min_words=3 (shorter lines
               are ignored), min_kept_words=50, match="numbers" or "exact"

    A text that lost lines and has fewer than `min_kept_words` words left is None; with 0, one of which nothing is left
    is "". A repeated line stays in the first text that has it, unless keep_first=False. Case, digits, punctuation and
    white space make no difference between lines; with match="numbers" digits do, and with match="exact" all of them do
    (but for white space at the end). `corpus.dedup.lines.hashes` has the sources. Raises ValueError naming a setting
    that is wrong, TypeError for what is no text.

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
