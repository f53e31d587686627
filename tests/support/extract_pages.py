"""Real pages as text, and every combination of settings of the extractor."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

from corpus.extract import stage as extract
from corpus.text.charset import decode_html
from corpus.warc import pages as warc

ANY_SIZE = extract.Config(max_tags=10**9, max_attributes=10**9)
SETTINGS = [
    replace(ANY_SIZE, favor=favor, tables=tables, comments=comments, deduplicate=deduplicate)
    for favor, tables, comments, deduplicate in product(
        ("precision", "balanced", "recall"), (True, False), (False, True), (True, False)
    )
]


def decoded(path: Path) -> list[str]:
    with path.open("rb") as file:
        pages = [page for page in warc.read_pages(file, path.name) if isinstance(page, warc.Page)]
    return [decode_html(page.html, page.charset) for page in pages]
