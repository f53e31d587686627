"""PAGES -> DOCUMENTS: the main text of each HTML page.

In: the body of a page as bytes, and the charset that its HTTP header names. Out: the text without navigation, comments
and boilerplate, with the encoding that the page was read in; or one reason why there is no text. A page that is plain
text already, as in a WET file, is not searched: all of it is the text.

Which library finds the text is the setting `extractor`; `corpus.extract.extractors` has the table. The answer depends
on the page and the settings alone. So an extractor forgets one page before it reads the next, and a page that would
take too long is dropped by its number of tags, or by the number of attributes of its largest tags: both are facts of
the page, and the clock is not. The stage itself watches no clock; `time_limit` is for the run that calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import pyarrow as pa

from bpe import arguments
from corpus.config import setting
from corpus.extract.extractors import EXTRACTORS, find_extractor, load_extractor
from corpus.run.recipe import step_with
from corpus.schema import DOCUMENTS, PAGES, Drop, Outcome, outcome
from corpus.stage import Rule, Stage
from corpus.text.charset import Decoded, decode

NAME = "extract"
ENCODING = pa.field("encoding", pa.string())  # as the WHATWG Encoding Standard names it; "utf-8", "windows-1252"

# Part of the config hash of every extraction, whichever extractor finds the text.
_LIBRARIES = ("trafilatura", "lxml", "charset-normalizer")
# What odd markup can raise. MemoryError and OSError are left out: they are faults of the machine, and not of the page.
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

# UTF-8 has no lone surrogates, and many readers of text refuse NUL.
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
# A tag as HTML parsers read it: it ends at a `>` outside of the values that are quoted, and a `<` does not end it.
_VALUE = r"""=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>]*+)"""
_VALUES = re.compile(_VALUE)
_TAG = re.compile(rf"<[A-Za-z](?:[^>=]++|{_VALUE})*+")
_COMMENT_OR_TAG = re.compile(rf"<!--.*?(?:-->|\Z)|<([A-Za-z]+)(?:[^>=]++|{_VALUE})*+", re.DOTALL)
_MANY = 200  # attributes: the tags with more than these are counted together


@dataclass(frozen=True)
class Config:
    extractor: str = setting(
        "trafilatura",
        "what finds the main text: "
        + "; ".join(f"{name} ({extractor.about})" for name, extractor in EXTRACTORS.items()),
        choices=EXTRACTORS,
        flag="--extractor",
    )
    accelerated: bool = setting(
        True, "find trafilatura's text by a faster way, which gives the same text and knows version 2.3.1 alone"
    )
    favor: str = setting(
        "precision",
        "when in doubt, take less text (precision, as FineWeb), more text (recall), or neither (balanced)",
        choices=("precision", "balanced", "recall"),
    )
    tables: bool = setting(True, "keep the text of tables")
    comments: bool = setting(False, "keep readers' comments")
    deduplicate: bool = setting(True, "drop the fourth and later copies of a segment within a page")
    count_retries: bool = setting(
        False,
        "count the copies over all of trafilatura's passes over a page, as FineWeb: a page that it searches four times"
        " may be emptied, though nothing in it is repeated",
    )
    min_chars: int = setting(1, "shortest text to keep, in characters", low=1)
    max_tags: int = setting(
        100_000, "drop a page with more tags (`<`) than this; real pages have some 1,400, and 20,000 at the most", low=1
    )
    max_attributes: int = setting(
        10_000,
        "drop a page whose tags with more than 200 attributes have, all together, more attributes than this: parsing a"
        " tag takes the square of their number",
        low=1,
    )
    time_limit: float = setting(
        30.0,
        "processor seconds after which a page is given up (FineWeb: 1 second by the clock)",
        low=0.001,
        flag="--page-seconds",
    )

    def __post_init__(self) -> None:
        """Raises ValueError, before any page is read, if the extractor's library is to be installed first."""
        known = self.extractor in list(EXTRACTORS)  # the settings are checked later: this may be of any type
        if known and find_extractor(self.extractor).requirement:
            load_extractor(self)


def resources(config: Config) -> dict[str, str]:
    """What decides the text besides the settings and `_LIBRARIES`: the versions of the extractor's own libraries."""
    libraries = find_extractor(config.extractor).libraries
    return {library: version(library) for library in libraries if library not in _LIBRARIES}


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Extract every page of a PAGES batch.

    `kept` is DOCUMENTS, then the columns that an earlier stage added to the pages, then `encoding`; language, its
    score and token_count are null.
    """
    load_extractor(config)  # also of an empty batch: no page's time is running yet
    drops: dict[int, Drop] = {}
    texts, encodings = [], []
    media, charsets = batch.column("media").to_pylist(), batch.column("charset").to_pylist()
    for row, (html, charset) in enumerate(zip(batch.column("html"), charsets, strict=True)):
        page = decode(html.as_py() or b"", charset)
        text = text_of(page, media[row], config)
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


class Fetched(Protocol):
    """What `extract_text` reads of a page; the pages of `corpus.read_pages` have it."""

    @property
    def html(self) -> bytes: ...
    @property
    def charset(self) -> str | None: ...
    @property
    def media(self) -> str | None: ...


def extract_text(
    page: str | bytes | Fetched, *, charset: str | None = None, extractor: str = "trafilatura", **settings: Any
) -> str | None:
    """The main text of a page, as the stage `extract` finds it; None if the stage drops the page.

    page       HTML as bytes or as text; or a page of `read_pages`, of which the text of a WET file is all text
    charset    the charset that the HTTP header names, for bytes. Without it, marks in the bytes decide, as the WHATWG
               Encoding Standard says; a page of `read_pages` has its own
    extractor  what finds the text: trafilatura (as FineWeb), or resiliparse, which is faster
    settings   other settings of [extract] by their names, such as favor="recall" or comments=True

    A page is dropped if it has no text, too many tags or too many attributes, or makes the extractor fail. The clock is
    not looked at: only a run gives up a page that takes too long. Raises ValueError naming a setting that is wrong, or
    the library to install; TypeError for what is no page.

    >>> from corpus import extract_text
    >>> article = "<p>A ship came home to the old harbour at dawn, and nobody was there to see it.</p>"
    >>> extract_text(f"<html><body><nav><a href='/'>Home</a></nav><article>{article}</article></body></html>")
    'A ship came home to the old harbour at dawn, and nobody was there to see it.'
    >>> extract_text("<html><body></body></html>") is None
    True
    """
    config = step_with(NAME, {"extractor": extractor, **settings}).config
    charset = None if charset is None else arguments.string("charset", charset)
    media = None
    if isinstance(page, str):
        decoded = Decoded(page, "utf-8")
    elif isinstance(page, bytes):
        decoded = decode(page, charset)
    elif hasattr(page, "html"):
        decoded, media = decode(page.html, charset or page.charset), page.media
    else:
        raise arguments.of_type("page", page, "HTML as bytes or str, or a page of read_pages")
    text = text_of(decoded, media, config)
    return None if isinstance(text, Drop) else text


def text_of(page: Decoded, media: str | None, config: Config) -> str | Drop:
    """The text of a page of a media type: all of a page of plain text, else the main text; or why there is none."""
    return written(page, config) if media == "text/plain" else main_text(page, config)


def extract(html: bytes, charset: str | None, config: Config) -> str | Drop:
    """The main text of one page, or why there is none.

    `charset` is the charset that the HTTP header names, or None. The text has no NUL, no lone surrogate, and no white
    space at its ends.
    """
    return main_text(decode(html, charset), config)


def main_text(page: Decoded, config: Config) -> str | Drop:
    """The main text of a page whose bytes are decoded, or why there is none."""
    tags = page.text.count("<")
    if tags > config.max_tags:
        return Drop(f"{NAME}.too_many_tags", tags, config.max_tags)
    attributes = most_attributes(page.text, config.max_attributes)
    if attributes > config.max_attributes:
        return Drop(f"{NAME}.too_many_attributes", attributes, config.max_attributes)
    text = _main_text(page.text, config)
    return text if isinstance(text, Drop) else _checked(text, config)


def most_attributes(html: str, limit: int) -> int:
    """The number of attributes of the tags with more than `_MANY` attributes, in sum; 0 if it is not above `limit`.

    A lower limit than `_MANY` takes its place. Tags are searched twice: first anywhere, which is fast, and if there are
    enough of them, outside of comments, scripts and styles.
    """
    many = min(_MANY, limit)
    if len(html) <= 2 * limit or _attributes(_TAG.finditer(html), many) <= limit:
        return 0
    count = _attributes(_tags(html), many)
    return count if count > limit else 0


def _attributes(tags: Iterable[re.Match[str]], many: int) -> int:
    """The sum of the attributes of all tags that have more than `many`."""
    total = 0
    for tag in tags:
        if tag.end() - tag.start() > 2 * many:  # an attribute and what stands before it are two characters at least
            count = len(_VALUES.sub(" ", tag[0]).replace("/", " ").split()) - 1  # the first word is the tag's name
            total += count if count > many else 0
    return total


def _tags(html: str) -> Iterator[re.Match[str]]:
    """The tags outside of comments, scripts and styles."""
    lower, at = html.lower(), 0
    while found := _COMMENT_OR_TAG.search(html, at):
        at = found.end()
        if found[1]:
            yield found
            name = found[1].lower()
            if name in ("script", "style"):
                end = lower.find(f"</{name}", at)
                at = len(html) if end < 0 else end


def written(page: Decoded, config: Config) -> str | Drop:
    """The text of a page that is plain text already, with CR LF and CR turned into LF."""
    return _checked(page.text.replace("\r\n", "\n").replace("\r", "\n"), config)


def _checked(text: str, config: Config) -> str | Drop:
    """The text without characters that cannot be written, or the reason `empty` where it is too short."""
    text = _UNWRITABLE.sub("", text).strip()
    return text if len(text) >= config.min_chars else Drop(f"{NAME}.empty", len(text), config.min_chars)


def _main_text(html: str, config: Config) -> str | Drop:
    """What the extractor answers for the decoded HTML of a page; "" if it finds no text."""
    find_text = load_extractor(config)
    errors: tuple[type[Exception], ...] = (*_BUGS, *find_extractor(config.extractor).errors())
    try:
        return find_text(html, config) or ""
    except errors as error:
        return Drop(f"{NAME}.error", type(error).__name__, "no exception")


STAGE = Stage(
    NAME,
    Config,
    process,
    rules=(
        Rule("too_many_tags", "the number of `<` in the HTML", "above", "max_tags"),
        Rule("too_many_attributes", "the number of attributes of tags with very many", "above", "max_attributes"),
        Rule("error", "the exception that the extractor raises", "listed"),
        Rule("empty", "characters of the text", "below", "min_chars"),
    ),
    command="extract",
    reads="pages",
    alone=True,
    time_limit=lambda config: config.time_limit,
    libraries=_LIBRARIES,
    implies=("prescreen",),
    columns=lambda config: (ENCODING,),
    resources=resources,
)
