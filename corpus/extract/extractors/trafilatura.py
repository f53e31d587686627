"""The extractor `trafilatura`: the text that trafilatura finds, the fast way where that is possible.

Trafilatura's F1 is the best of the pure-Python extractors in its own and in others' evaluations
(github.com/scrapinghub/article-extraction-benchmark), and FineWeb and RefinedWeb were made with it.
`corpus.extract.trafilatura_fast` finds the text of trafilatura 2.3.1, byte for byte, in half the time. Where another
version is installed, or where `accelerated` is off, trafilatura itself is called.

Trafilatura remembers the segments of all pages that a process has read, so that its answer depends on the order of
pages. Here each page starts with an empty memory.
"""

from __future__ import annotations

import functools
import logging

from corpus.extract import trafilatura_fast
from corpus.extract.extractors import Extract, Extractor, Settings

_SEGMENTS_REMEMBERED = 4096  # of one page; trafilatura's own default


def _load(settings: Settings) -> Extract:
    if settings.accelerated and _is_fast():
        return _by_fast_path
    import trafilatura  # noqa: F401

    return _by_trafilatura


@functools.cache
def _is_fast() -> bool:
    """Whether the fast path knows the installed trafilatura; one warning says why it does not."""
    reason = trafilatura_fast.available()
    if reason is not None:
        logging.getLogger(__name__).warning("%s: it is called as it is, with the same results but slower", reason)
    return reason is None


def _by_fast_path(html: str, settings: Settings) -> str | None:
    remembered = _SEGMENTS_REMEMBERED if settings.deduplicate else 0
    return trafilatura_fast.main_text(html, settings.favor, settings.tables, settings.comments, remembered)


def _by_trafilatura(html: str, settings: Settings) -> str | None:
    import trafilatura
    from trafilatura.deduplication import LRUCache

    _silence("trafilatura")
    text: str | None = trafilatura.extract(
        html,
        favor_precision=settings.favor == "precision",
        favor_recall=settings.favor == "recall",
        include_comments=settings.comments,
        include_tables=settings.tables,
        deduplicate=LRUCache(_SEGMENTS_REMEMBERED) if settings.deduplicate else False,
    )
    return text


def _silence(logger_name: str) -> None:
    """Keep a library's remarks on odd pages off stderr, unless the application has set up logging."""
    logger = logging.getLogger(logger_name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _errors() -> tuple[type[Exception], ...]:
    from lxml.etree import LxmlError

    return (LxmlError,)


EXTRACTOR = Extractor(
    _load,
    follows=("favor", "tables", "comments", "deduplicate"),
    libraries=("trafilatura", "lxml"),
    errors=_errors,
)
