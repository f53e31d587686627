"""Texts in many languages for the quality rules: an encyclopedia article and the Declaration of Human Rights."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

_CODES = {
    "arabic": "ar", "chinese": "zh", "czech": "cs", "esperanto": "eo", "french": "fr", "german": "de", "greek": "el",
    "hebrew": "he", "hindi": "hi", "japanese": "ja", "korean": "ko", "persan": "fa", "portuguese": "pt",
    "russian": "ru", "thai": "th", "turkish": "tr", "vietnamese": "vi",
}  # fmt: skip
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?:[^()\\]|\\.|\([^()]*\))*\)", re.DOTALL)
_NOTE = re.compile(r"\[\d+\]")
_NO_PROSE = re.compile(r"https?:|www\.|\^|\|| \* |/wiki/|//|%[0-9A-F]{2}|^\s*(?:\d+\.|#)")


def articles(testdata: Path) -> dict[str, str]:
    """The running text of one encyclopedia article in many languages, by language.

    The file holds Markdown. Links become their text, wrapped lines become paragraphs, and parts that are not prose go.
    """
    parts: dict[str, list[str]] = {}
    with gzip.open(testdata / "text/mixed_multilingual_code.jsonl.gz", "rt", encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if row["kind"] == "wiki":
                parts.setdefault(_CODES[row["lang"]], []).append(row["text"])
    return {language: _prose("".join(texts)) for language, texts in parts.items()}


def samples(testdata: Path) -> dict[str, str]:
    """Some paragraphs of the Universal Declaration of Human Rights in each language, joined by line breaks."""
    paragraphs: dict[str, list[str]] = {}
    with (testdata / "lid/lid_samples.jsonl").open(encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            if not row.get("short"):
                paragraphs.setdefault(row["lang"], []).append(row["text"])
    return {language: "\n".join(texts) for language, texts in paragraphs.items()}


def _prose(markdown: str) -> str:
    markdown = _NOTE.sub("", _LINK.sub(r"\1", _LINK.sub(r"\1", markdown)))
    paragraphs = (" ".join(part.split()) for part in markdown.split("\n\n"))
    return "\n".join(part for part in paragraphs if len(part) > 80 and not _NO_PROSE.search(part))
