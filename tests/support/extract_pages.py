"""Real pages as text, and every combination of settings of the extractor."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

from corpus.extract import stage as extract
from corpus.text.charset import decode_html
from corpus.warc import pages as warc

ANY_SIZE = extract.Config(max_tags=10**9, max_attributes=10**9)
FINEWEB = replace(ANY_SIZE, count_retries=True)
# The first are FineWeb's. Without deduplication, count_retries changes nothing.
SETTINGS = [
    replace(ANY_SIZE, favor=favor, tables=tables, comments=comments, deduplicate=deduplicate, count_retries=retries)
    for favor, tables, comments, (deduplicate, retries) in product(
        ("precision", "balanced", "recall"), (True, False), (False, True), ((True, True), (True, False), (False, False))
    )
]


def decoded(path: Path) -> list[str]:
    with path.open("rb") as file:
        pages = [page for page in warc.read_pages(file, path.name) if isinstance(page, warc.Page)]
    return [decode_html(page.html, page.charset) for page in pages]
