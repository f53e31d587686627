"""The extractor `trafilatura`: the text that trafilatura finds, the fast way where that is possible.

Trafilatura's F1 is the best of the pure-Python extractors in its own and in others' evaluations
(github.com/scrapinghub/article-extraction-benchmark), and FineWeb and RefinedWeb were made with it.
`corpus.extract.trafilatura_fast` finds the text of trafilatura 2.3.1, byte for byte, in half the time. Where another
version is installed, or where `accelerated` is off, trafilatura itself is called.

Trafilatura remembers the segments of all pages that a process has read, so that its answer depends on the order of
pages. Here each page starts with an empty memory, and so does each pass over the page: trafilatura searches one part of
the page after another until it finds text, counts the segments each time, and may take the only copy of a segment for
its fourth. The setting `count_retries` brings this back, because FineWeb was made so.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from corpus.extract import trafilatura_fast
from corpus.extract.extractors import Extract, Extractor, Settings
from corpus.extract.trafilatura_fast import private

_SEGMENTS_REMEMBERED = 4096  # of one page; trafilatura's own default


def _load(settings: Settings) -> Extract:
    if settings.accelerated and _is_fast():
        return _by_fast_path
    import trafilatura  # noqa: F401

    if not settings.deduplicate or settings.count_retries:
        return _by_trafilatura
    try:
        private.load_forgetful()
    except private.Unknown as reason:
        fix = f"set count_retries = true, or install trafilatura {private.VERSION}"
        raise ValueError(f"count_retries = false: {reason}; {fix}") from reason
    return _by_forgetful_trafilatura


@functools.cache
def _is_fast() -> bool:
    """Whether the fast path knows the installed trafilatura; one warning says why it does not."""
    reason = trafilatura_fast.available()
    if reason is not None:
        logging.getLogger(__name__).warning("%s: it is called as it is, with the same results but slower", reason)
    return reason is None


def _by_fast_path(html: str, settings: Settings) -> str | None:
    remembered = _SEGMENTS_REMEMBERED if settings.deduplicate else 0
    return trafilatura_fast.main_text(
        html, settings.favor, settings.tables, settings.comments, remembered, settings.count_retries
    )


def _by_trafilatura(html: str, settings: Settings) -> str | None:
    import trafilatura

    _silence("trafilatura")
    return _extracted(trafilatura, html, settings)


def _by_forgetful_trafilatura(html: str, settings: Settings) -> str | None:
    return _extracted(private.load_forgetful(), html, settings)


def _extracted(package: Any, html: str, settings: Settings) -> str | None:
    """The answer of the trafilatura that is in `package`."""
    text: str | None = package.core.extract(
        html,
        favor_precision=settings.favor == "precision",
        favor_recall=settings.favor == "recall",
        include_comments=settings.comments,
        include_tables=settings.tables,
        deduplicate=package.deduplication.LRUCache(_SEGMENTS_REMEMBERED) if settings.deduplicate else False,
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
    follows=("favor", "tables", "comments", "deduplicate", "count_retries"),
    libraries=("trafilatura", "lxml"),
    errors=_errors,
)
