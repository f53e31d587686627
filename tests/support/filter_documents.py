"""Real documents for the filters: texts that our extract stage finds in the test crawl, and English text in pages."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from corpus.extract import stage as extract
from corpus.schema import Drop
from corpus.warc.pages import Page, read_pages

PAGE_CHARACTERS = 4500

_CODES = {
    "arabic": "ar", "chinese": "zh", "czech": "cs", "esperanto": "eo", "french": "fr", "german": "de", "greek": "el",
    "hebrew": "he", "hindi": "hi", "japanese": "ja", "korean": "ko", "persan": "fa", "portuguese": "pt",
    "russian": "ru", "thai": "th", "turkish": "tr", "vietnamese": "vi",
}  # fmt: skip
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?:[^()\\]|\\.|\([^()]*\))*\)", re.DOTALL)
_NOTE = re.compile(r"\[\d+\]")
_NO_PROSE = re.compile(r"https?:|www\.|\^|\|| \* |/wiki/|//|%[0-9A-F]{2}|^\s*(?:\d+\.|#)")


def crawled(testdata: Path, files: int = 6) -> Iterator[str]:
    """The texts of the pages in the first WARC files, in all languages."""
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
        with gzip.open(testdata / "text" / name, "rt", encoding="utf-8") as stream:
            for document in stream.read().split("<|endoftext|>"):
                yield from _pages(document)
    yield from _pages((testdata / "text/tinyshakespeare.txt").read_text(encoding="utf-8"))


def articles(testdata: Path) -> dict[str, str]:
    """The running text of one encyclopedia article in many languages, by language.

    The file has Markdown. Links become their text, wrapped lines become paragraphs, and all but prose is left out.
    """
    parts: dict[str, list[str]] = {}
    with gzip.open(testdata / "text/mixed_multilingual_code.jsonl.gz", "rt", encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["kind"] == "wiki":
                parts.setdefault(_CODES[row["lang"]], []).append(row["text"])
    return {language: _prose("".join(texts)) for language, texts in parts.items()}


def samples(testdata: Path) -> dict[str, str]:
    """Some paragraphs of the Universal Declaration of Human Rights in each language, joined by line breaks."""
    by_language: dict[str, list[str]] = {}
    with (testdata / "lid/lid_samples.jsonl").open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if not row.get("short"):
                by_language.setdefault(row["lang"], []).append(row["text"])
    return {language: "\n".join(texts) for language, texts in by_language.items()}


def _prose(markdown: str) -> str:
    markdown = _NOTE.sub("", _LINK.sub(r"\1", _LINK.sub(r"\1", markdown)))
    paragraphs = (" ".join(part.split()) for part in markdown.split("\n\n"))
    return "\n".join(part for part in paragraphs if len(part) > 80 and not _NO_PROSE.search(part))


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
