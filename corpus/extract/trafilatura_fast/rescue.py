"""jusText's first class of each paragraph, which trafilatura asks for where it finds little text itself.

The classes are equal to jusText's, in less time. The original reads and cleans the text of every paragraph five times,
counts stop words even where the links or the length have decided already, and hashes the stop words of a hundred
languages for each page, only to find the list that it has prepared.
"""

from __future__ import annotations

import functools
from typing import Any

from corpus.extract.trafilatura_fast.private import load

_external = load().external


@functools.cache
def stop_words() -> frozenset[str]:
    """The stop words of all languages."""
    return frozenset(word.lower() for word in _external.jt_stoplist_init())


def classify_paragraphs(
    paragraphs: list[Any],
    _stoplist: Any,
    length_low: int,
    length_high: int,
    stopwords_low: float,
    stopwords_high: float,
    max_link_density: float,
    _no_headings: bool,
) -> None:
    """Set `cf_class` of each paragraph to bad, short, neargood or good, as justext.core does without headings.

    The parameters are those of `justext.core.classify_paragraphs`. The stop words are those of all languages, which
    trafilatura uses where no language is set.
    """
    known = stop_words()
    for paragraph in paragraphs:
        text = paragraph.text
        paragraph.heading = False
        linked = paragraph.chars_count_in_links
        if (
            (text and linked / len(text) > max_link_density)
            or "\xa9" in text
            or "&copy" in text
            or "select" in paragraph.dom_path
        ):
            paragraph.cf_class = "bad"
        elif len(text) < length_low:
            paragraph.cf_class = "bad" if linked > 0 else "short"
        else:
            words = text.split()
            density = sum(word.lower() in known for word in words) / len(words) if words else 0
            if density >= stopwords_high:
                paragraph.cf_class = "good" if len(text) > length_high else "neargood"
            else:
                paragraph.cf_class = "neargood" if density >= stopwords_low else "bad"
