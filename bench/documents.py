"""Real documents for the quality rules: the pages of the test crawl as our extract stage gives them, and English text
cut into pages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bench.harness import read_documents
from corpus.extract import stage as extract
from corpus.schema import Drop
from corpus.warc.pages import Page, read_pages

PAGE_CHARACTERS = 4500


def crawled(testdata: Path, files: int = 6) -> Iterator[str]:
    """The texts of the pages of the first `files` WARC files, in all languages."""
    for path in sorted((testdata / "warc").glob("DEV-*.warc.gz"))[:files]:
        yield from _texts(path)


@cache
def _texts(path: Path) -> tuple[str, ...]:
    config = extract.Config(favor="precision")
    with path.open("rb") as stream:
        pages = [page for page in read_pages(stream, path.name) if isinstance(page, Page)]
    texts = (extract.extract(page.html, page.charset, config) for page in pages)
    return tuple(text for text in texts if not isinstance(text, Drop))


def english(testdata: Path) -> Iterator[str]:
    """Books, news, web text and plays, in pages of some 3,000 to 6,000 characters that end with a line."""
    for name in ("en_gutenberg.txt.gz", "en_news_web.txt.gz"):
        for document in read_documents(testdata / "text" / name):
            yield from _pages(document)
    yield from _pages((testdata / "text/tinyshakespeare.txt").read_text(encoding="utf-8"))


def _pages(document: str) -> Iterator[str]:
    page: list[str] = []
    size = 0
    for line in document.strip().splitlines():
        page.append(line)
        size += len(line) + 1
        if size >= PAGE_CHARACTERS:
            yield "\n".join(page)
            page, size = [], 0
    if size:
        yield "\n".join(page)
