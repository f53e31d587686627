"""PAGES -> DOCUMENTS: the main text of each HTML page, by trafilatura, or by resiliparse where time matters more.

In: the body of a page as bytes, with the charset that its HTTP header names. Out: text without navigation, comments
and boilerplate, or one reason why there is none, and the encoding that the page was read in. A page that is plain
text, because somebody extracted it before (a WET file), is taken as it is.

Trafilatura's F1 is the best of the pure-Python extractors in its own and in others' evaluations
(github.com/scrapinghub/article-extraction-benchmark), and FineWeb and RefinedWeb were made with it. Its text is what
comes out here, byte for byte; `corpus.extract.trafilatura_fast` finds it in half the time where the installed
trafilatura is the version that it was made for, and any other version is called as it is.

Two of its habits would let the answer depend on more than the page, and are ruled out here: its memory of segments
seen before is given anew to each page, and a page too large to be worth its time is dropped by its count of tags, or
of a tag's attributes, which are facts of the page, and not first by the clock. `time_limit` is for whoever runs this:
the stage itself watches no clock.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from corpus.config import setting
from corpus.extract import trafilatura_fast
from corpus.schema import DOCUMENTS, PAGES, Drop, Outcome, outcome
from corpus.stage import Stage
from corpus.text.charset import Decoded, decode

NAME = "extract"
ENCODING = pa.field("encoding", pa.string())  # as the WHATWG Encoding Standard names it; "utf-8", "windows-1252"

# lone surrogates cannot be written as UTF-8; NUL is refused by many readers of text
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_IN_TAG = re.compile("<[A-Za-z][^<>]*")
_QUOTED = re.compile("\"[^\"]*\"|'[^']*'")
_SEGMENTS_REMEMBERED = 4096  # of one page; trafilatura's own default


@dataclass(frozen=True)
class Config:
    extractor: str = setting(
        "trafilatura",
        "trafilatura (as FineWeb), or resiliparse: five times as fast, with more boilerplate and fewer whole texts;"
        " of the settings below it knows tables, comments and min_chars, and the limits",
        choices=("trafilatura", "resiliparse"),
        flag="--extractor",
    )
    accelerated: bool = setting(
        True, "find trafilatura's text the fast way, if its version is the one that this was made for; the same text"
    )
    favor: str = setting(
        "precision",
        "when unsure, less text (precision, as FineWeb), more (recall), or neither (balanced)",
        choices=("precision", "balanced", "recall"),
    )
    tables: bool = setting(True, "keep the text of tables")
    comments: bool = setting(False, "keep readers' comments")
    deduplicate: bool = setting(True, "drop the fourth and later copies of a segment within a page (as FineWeb)")
    min_chars: int = setting(1, "shortest text to keep, in characters", low=1)
    max_tags: int = setting(
        100_000, "drop a page with more `<` than this; real pages have some 1,400, and 20,000 at the most", low=1
    )
    max_attributes: int = setting(
        10_000, "drop a page with a tag of more attributes than this: parsing takes the square of their number", low=1
    )
    time_limit: float = setting(
        30.0,
        "processor seconds of a page before it is given up (FineWeb: 1, by the clock)",
        low=0.001,
        flag="--page-seconds",
    )

    def __post_init__(self) -> None:
        """Raises ValueError if the extractor is not installed: before any page is read."""
        if self.extractor == "resiliparse":
            _load(self)


def resources(config: Config) -> dict[str, str]:
    """What decides the text besides the settings and trafilatura's version: resiliparse's, where that is chosen."""
    if config.extractor != "resiliparse":
        return {}
    return {"resiliparse": importlib.metadata.version("resiliparse")}


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Extract every page of a PAGES batch.

    `kept` is DOCUMENTS, then the columns that an earlier stage added to the pages, then `encoding`; language, its
    score and token_count are null.
    """
    _load(config)  # here, and not first when a page's time is running
    drops: dict[int, Drop] = {}
    texts, encodings = [], []
    plain = [media == "text/plain" for media in batch.column("media").to_pylist()]
    for row, (html, charset) in enumerate(zip(batch.column("html"), batch.column("charset").to_pylist(), strict=True)):
        page = decode(html.as_py() or b"", charset)
        text = written(page, config) if plain[row] else main_text(page, config)
        if isinstance(text, Drop):
            drops[row] = text
        else:
            texts.append(text)
            encodings.append(page.encoding)
    split = outcome(batch, NAME, drops)
    kept = split.kept
    schema = pa.schema([*DOCUMENTS, *(field for field in kept.schema if field.name not in PAGES.names)])
    columns = [
        kept.column(field.name) if field.name in kept.schema.names else pa.nulls(kept.num_rows, field.type)
        for field in schema
    ]
    columns[0] = pa.array(texts, pa.string())
    encoded = pa.record_batch(columns, schema=schema).append_column(ENCODING, pa.array(encodings, pa.string()))
    return split._replace(kept=encoded)


def extract(html: bytes, charset: str | None, config: Config) -> str | Drop:
    """The main text of one page, or why there is none.

    `charset` is the HTTP header's, None if it names none. The text has no NUL, no lone surrogate, and no white space
    at its ends.
    """
    return main_text(decode(html, charset), config)


def main_text(page: Decoded, config: Config) -> str | Drop:
    """`extract`, of a page that is decoded."""
    tags = page.text.count("<")
    if tags > config.max_tags:
        return Drop(f"{NAME}.too_many_tags", tags, config.max_tags)
    attributes = most_attributes(page.text, config.max_attributes)
    if attributes > config.max_attributes:
        return Drop(f"{NAME}.too_many_attributes", attributes, config.max_attributes)
    text = _main_text(page.text, config)
    return text if isinstance(text, Drop) else _checked(text, config)


def most_attributes(html: str, at_least: int) -> int:
    """Attributes of the first tag that has more than `at_least`; 0 if none has, or only between quoted `<` or `>`.

    An attribute and what separates it from the next are two characters, so that such a tag is found without reading
    the page: it lies across one of the marks that stand as far apart as it is long.
    """
    length = 2 * at_least
    end = 0
    for mark in range(length, len(html), length):
        if mark < end:
            continue
        start = html.rfind("<", end, mark)
        inside = _IN_TAG.match(html, start) if start >= 0 else None
        end = inside.end() if inside else mark
        if inside and end - start > length:
            count = len(_QUOTED.sub("", inside.group()).split()) - 1  # the first is the tag's name
            if count > at_least and not _in_script(html, start):
                return count
    return 0


def _in_script(html: str, at: int) -> bool:
    before = html[:at].lower()
    return before.rfind("<script") > before.rfind("</script")


def written(page: Decoded, config: Config) -> str | Drop:
    """The text of a page that was plain text already: lines ended by a newline alone, else as it is."""
    return _checked(page.text.replace("\r\n", "\n").replace("\r", "\n"), config)


def _checked(text: str, config: Config) -> str | Drop:
    text = _UNWRITABLE.sub("", text).strip()
    return text if len(text) >= config.min_chars else Drop(f"{NAME}.empty", len(text), config.min_chars)


def _main_text(html: str, config: Config) -> str | Drop:
    from lxml.etree import LxmlError

    # What odd markup can raise. Not MemoryError or OSError: those are the machine's fault and not the page's.
    bugs = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
    try:
        return _load(config)(html, config) or ""
    except (LxmlError, *bugs) as error:
        return Drop(f"{NAME}.error", type(error).__name__, "no exception")


def _load(config: Config) -> Callable[[str, Config], str | None]:
    """The function that extracts, with its library loaded; ValueError says what to install for it."""
    if config.extractor == "resiliparse":
        try:
            import resiliparse.extract.html2text  # noqa: F401
        except ImportError:
            raise ValueError(
                "extractor = 'resiliparse': the library is not installed: pip install 'resiliparse>=2,<3'"
            ) from None
        return _by_resiliparse
    return _by_fast_trafilatura if config.accelerated and _is_fast() else _by_trafilatura


@functools.cache
def _is_fast() -> bool:
    reason = trafilatura_fast.available()
    if reason is not None:
        logging.getLogger(__name__).warning("%s: it is called as it is, with the same results but slower", reason)
    return reason is None


def _by_fast_trafilatura(html: str, config: Config) -> str | None:
    remembered = _SEGMENTS_REMEMBERED if config.deduplicate else 0
    return trafilatura_fast.main_text(html, config.favor, config.tables, config.comments, remembered)


def _by_trafilatura(html: str, config: Config) -> str | None:
    import trafilatura
    from trafilatura.deduplication import LRUCache

    _silence("trafilatura")
    text: str | None = trafilatura.extract(
        html,
        favor_precision=config.favor == "precision",
        favor_recall=config.favor == "recall",
        include_comments=config.comments,
        include_tables=config.tables,
        deduplicate=LRUCache(_SEGMENTS_REMEMBERED) if config.deduplicate else False,
    )
    return text


def _by_resiliparse(html: str, config: Config) -> str | None:
    """The text that resiliparse takes for the main content, with the line breaks that a browser shows."""
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(
        html,
        main_content=True,
        preserve_formatting=True,
        alt_texts=False,
        comments=config.comments,
        skip_elements=None if config.tables else ["table"],
    )
    return text


def _silence(logger_name: str) -> None:
    """Keep a library's remarks on odd pages off stderr, unless the application has set up logging."""
    logger = logging.getLogger(logger_name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


STAGE = Stage(
    NAME,
    Config,
    process,
    command="extract",
    reads="pages",
    alone=True,
    libraries=("trafilatura", "lxml", "charset-normalizer"),
    implies=("prescreen",),
    columns=lambda config: (ENCODING,),
    resources=resources,
)
