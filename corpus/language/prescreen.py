"""PAGES -> PAGES that may be in the wanted languages: a cheap look at the text, before the text is extracted.

Extraction takes nine tenths of the time that a page costs, and most pages are dropped after it for their language
alone. So this stage reads the long lines of a page's text from its bytes (corpus.language.kernels.page_text), up to
some 2,000 characters, and asks a language model how probable the wanted languages are. It drops the page only if they
are hardly possible; the stage `language` judges all other pages by the extracted text. A page with too little text to
judge is kept.

A run measures how many documents this loses. A share of the pages that would be dropped, chosen by a hash of their ids,
is kept, with the probability in the column `prescreen_score`. The share of them that all stages keep is the share of
the dropped pages that was lost. The answer depends on the page and the settings alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from html.entities import name2codepoint
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.config import setting
from corpus.language.models import load_model, resources
from corpus.schema import Drop, Outcome, outcome
from corpus.stage import Rule, Stage
from corpus.text.charset import decode_html
from corpus.text.fasttext_model import DISTRIBUTION

NAME = "prescreen"
SCORE = "prescreen_score"
SCORE_FIELD = pa.field(SCORE, pa.float64())  # null for a page that was not judged
MOST_LANGUAGES = 5  # where more languages are wanted, the stage can rule out hardly any page
_LIBRARIES = (DISTRIBUTION, "charset-normalizer")  # part of the config hash, whichever language model is used

# Elements that do not break a line (HTML standard, "phrasing content").
_INLINE = (
    *("a", "abbr", "acronym", "b", "basefont", "bdi", "bdo", "big", "blink", "cite", "code", "data", "del", "dfn"),
    *("em", "font", "i", "img", "ins", "kbd", "label", "mark", "meter", "nobr", "output", "q", "rb", "rp", "rt"),
    *("ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"),
)
# Elements whose content is no text of the page: scripts, other documents, the title, and what browsers without scripts
# show.
_SKIPPED = (
    *("script", "style", "noscript", "template", "title", "textarea", "iframe", "noembed", "noframes", "xmp"),
    *("select", "object", "canvas", "audio", "video"),
)
_FOREIGN = ("svg", "math")  # drawings and formulas: their content is no text either, and they alone can end with />


@dataclass(frozen=True)
class Config:
    enabled: bool = setting(
        True,
        "judge a page's language before its text is extracted, if 1 to 5 languages are wanted",
        flag="--prescreen",
    )
    threshold: float = setting(
        0.1,
        "drop a page if all wanted languages together are less probable than this",
        low=0,
        high=1,
        flag="--prescreen-threshold",
    )
    sample: float = setting(
        0.01,
        "share of the pages to drop that is kept all the same, to estimate how many documents are lost",
        low=0,
        high=1,
        flag="--prescreen-sample",
    )
    line_chars: int = setting(
        60,
        "judge a page by its lines of at least so many characters",
        low=1,
        high=10_000,
        flag="--prescreen-line-chars",
    )
    max_chars: int = setting(
        2000,
        "judge a page by at most so many characters of such lines",
        low=100,
        high=1_000_000,
        flag="--prescreen-max-chars",
    )
    min_chars: int = setting(
        200, "keep a page with fewer characters than this in such lines", low=1, flag="--prescreen-min-chars"
    )
    languages: tuple[str, ...] = setting((), "the wanted languages, as [language] names them", of="language")
    model: str | None = setting(None, "the language model, as [language] names it", of="language", path=True)


def is_idle(config: Config) -> bool:
    """Whether the stage has nothing to do: it is switched off, or all languages or too many are wanted."""
    return not config.enabled or not 1 <= len(config.languages) <= MOST_LANGUAGES


def process(batch: pa.RecordBatch, config: Config) -> Outcome:
    """Split a PAGES batch by the probability of the wanted languages, which kept rows get as `prescreen_score`.

    The sum `sampled` counts the pages that are kept only because they are in the sample.
    """
    model = load_model(config.model)
    scores: list[float | None] = []
    drops: dict[int, Drop] = {}
    pages = zip(*(batch.column(name) for name in ("html", "charset", "id", "media")), strict=True)
    for row, (html, charset, identifier, media) in enumerate(pages):
        # Plain text needs no extraction, so that nothing is saved by judging it here.
        plain = media.as_py() == "text/plain"
        text = "" if plain else snippet(html.as_buffer() or b"", charset.as_py(), config)
        score = model.probability(text, config.languages) if len(text) >= config.min_chars else None
        if score is not None and score < config.threshold and not is_sampled(identifier.as_py() or "", config.sample):
            drops[row] = Drop(f"{NAME}.language", score, config.threshold)
        scores.append(score)
    split = outcome(batch.append_column(SCORE_FIELD, pa.array(scores, pa.float64())), NAME, drops)
    return split._replace(sums={"sampled": under_threshold(split.kept, config)})


def under_threshold(batch: pa.RecordBatch, config: Config) -> int:
    """The number of rows that are there only because they are in the sample."""
    return pc.sum(pc.less(batch.column(SCORE), config.threshold)).as_py() or 0


def is_sampled(identifier: str, share: float) -> bool:
    """Whether the page with this id is in the sample, which has the `share` of all ids; every run gives one answer."""
    digest = hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=8, person=b"prescreen").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def snippet(html: bytes | pa.Buffer, charset: str | None, config: Config) -> str:
    """The lines of a page's text with at least `line_chars` characters, up to `max_chars` in all, each with a newline.

    `charset` is the charset that the HTTP header names, or None. A page that is not in UTF-8 is decoded as a whole.
    """
    page = np.frombuffer(html, np.uint8)  # no copy of the Arrow buffer: pages have 150 kB
    if page[:2].tobytes() not in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):  # UTF-16
        lines = _long_lines(page, config)
        # ESC and ~{ begin other characters in encodings that look like ASCII (ISO-2022-JP, HZ).
        if b"\x1b" not in lines and b"~{" not in lines:
            try:
                return lines.decode()
            except UnicodeDecodeError:
                pass
    whole = decode_html(page.tobytes(), charset).encode("utf-8", "replace")
    return _long_lines(np.frombuffer(whole, np.uint8), config).decode("utf-8", "replace")


def _long_lines(page: np.ndarray[Any, Any], config: Config) -> bytes:
    """The long lines of a page in UTF-8 (uint8, one value a byte), in UTF-8, as the kernel finds them."""
    from corpus.language.kernels.page_text import long_lines

    tags, entities = (table.ctypes.data for table in tables())
    room = np.empty(4 * (config.max_chars + config.line_chars) + 16, np.uint8)
    begin, out = page.ctypes.data, room.ctypes.data
    end, out_end = begin + page.size, out + room.size
    size = long_lines(begin, end, tags, entities, out, out_end, config.line_chars, config.max_chars)
    return room[:size].tobytes()


@cache
def tables() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The two tables of the kernel: name of a tag -> its kind; named reference of HTML 4 -> its character plus 1."""
    from corpus.language.kernels.page_text import BODY, FOREIGN, INLINE, SKIPPED, table

    kinds = {INLINE: _INLINE, SKIPPED: _SKIPPED, FOREIGN: _FOREIGN, BODY: ("body",)}
    entities = [(name, code + 1) for name, code in name2codepoint.items() if len(name) <= 8]
    return table((name, kind) for kind, names in kinds.items() for name in names), table([*entities, ("apos", 40)])


STAGE = Stage(
    NAME,
    Config,
    process,
    rules=(Rule("language", "the probability, from 0 to 1, of all wanted languages together", "below", "threshold"),),
    command="extract",
    reads="pages",
    alone=True,
    libraries=_LIBRARIES,
    columns=lambda config: (SCORE_FIELD,),
    resources=lambda config: resources(config.model, _LIBRARIES),
    is_idle=is_idle,
    count_kept=lambda batch, config: {"sampled_kept": under_threshold(batch, config)},
)
