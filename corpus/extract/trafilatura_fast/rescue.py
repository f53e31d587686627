"""jusText's first opinion of each paragraph, which trafilatura asks for if it found little: the same, asking less.

The original reads every paragraph's text, cleaned anew, five times, counts its stop words even where its links or its
length have decided already, and hashes the stop words of a hundred languages a page to find them prepared.
"""

from __future__ import annotations

import functools
from typing import Any

from corpus.extract.trafilatura_fast.private import load

_external = load().external


@functools.cache
def stop_words() -> frozenset[str]:
    """Those of all languages."""
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
    """Set `cf_class` of each paragraph by itself: bad, short, neargood or good; as justext.core does without headings.

    The stop words are all there are: trafilatura has no other list when it is not told a language.
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
